"""The ROS 2 node: messages in, the pipeline, messages out. The only file that imports rclpy."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import Field
from typing import Any

try:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from rcl_interfaces.msg import (
        FloatingPointRange,
        IntegerRange,
        ParameterDescriptor,
        SetParametersResult,
    )
    from rclpy.clock import Clock, ClockType
    from rclpy.exceptions import ParameterException
    from rclpy.executors import ExternalShutdownException
    from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
    from rclpy.parameter import Parameter
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from rclpy.qos_overriding_options import QoSOverridingOptions
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from std_msgs.msg import String

    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import SubscriptionEventCallbacks
except ImportError as error:
    raise ImportError(
        f"the node needs ROS 2 ({error}): source a ROS installation,"
        ' or pip install "adverse-perception[ros]"'
    ) from error

from adverse_perception import topics, transport
from adverse_perception.camera import Camera
from adverse_perception.config import ConfigError, NodeConfig, knobs, wanted
from adverse_perception.diagnostics import Complaints, Level, Status, Surroundings, Trouble
from adverse_perception.inference import EngineError
from adverse_perception.labels import CLASS_NAMES, UNLABELLED
from adverse_perception.parameters import constraints, revised, unknown_names
from adverse_perception.pipeline import Engines
from adverse_perception.worker import Surface, Worker

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # not on the package index; the JSON topic says the same
    LabelInfo = VisionClass = None

NODE_NAME = "adverse_perception"
PICTURES = {"raw": (Image, ""), "compressed": (CompressedImage, "/compressed")}
"""By `image_transport`: the message type and what is appended to the topic."""


def _quality(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> dict[str, Any]:
    """A quality of service that the user may override; made anew, since overriding changes it."""
    return {
        "qos_profile": QoSProfile(depth=1, reliability=reliability, durability=durability),
        "qos_overriding_options": QoSOverridingOptions.with_default_policies(),
    }


NEWEST = (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
RESULT = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)
LATCHED = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


class PerceptionNode(LifecycleNode):
    """Labels the pictures of any number of cameras, whatever the weather.

    Callbacks only keep the newest picture of each camera; one worker thread labels and publishes.
    """

    def __init__(self, **options: Any) -> None:
        """Declare the parameters and, by `autostart`, come up; the options are rclpy's."""
        super().__init__(NODE_NAME, **options)
        self._config = NodeConfig()  # always what the parameters say
        self._refused: dict[str, str] = {}
        self._phase, self._failure = "unconfigured", ""
        self._complaints = Complaints()
        self._engines: Engines | None = None
        self._cameras: dict[str, Camera] = {}
        self._topics: dict[str, topics.Topics] = {}
        self._images: dict[str, Any] = {}
        self._camera_infos: list[Any] = []
        self._worker: Worker | None = None
        self._declare_parameters()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation is told of as well
        self._timer = self.create_timer(1.0, self._every_second, clock=steady)
        if self._config.autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engines and offer the topics."""
        self._failure = ""
        return self._transition("inactive", self._configure, super().on_configure, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the cameras and label what comes."""
        return self._transition("active", self._activate, super().on_activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the frame at work is finished first."""
        return self._transition("inactive", self._deactivate, super().on_deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engines; every parameter may be changed now."""
        return self._transition("unconfigured", self.close, super().on_cleanup, state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything for good."""
        return self._transition("finalized", self.close, super().on_shutdown, state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that failed half-way: free everything, be unconfigured again."""
        return self._transition("unconfigured", self.close, super().on_error, state)

    def close(self) -> None:
        """Stop the worker and free engines and topics, in whatever state the node is."""
        self._deactivate()
        for camera in self._topics.values():
            for publisher in camera.publishers.values():
                self.destroy_lifecycle_publisher(publisher)
        self._topics, self._cameras, self._engines = {}, {}, None

    def _transition(
        self,
        phase: str,
        action: Callable[[], None],
        inherited: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
    ) -> TransitionCallbackReturn:
        """Do a step of the lifecycle; rclpy swallows what it raises, so it is logged here."""
        try:
            done = inherited(state)
            action()
        except (EngineError, ConfigError) as error:  # the user's to mend; nothing is half done
            self._failure = str(error)
            self.get_logger().error(self._failure)
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        self._phase = phase
        return done

    def _configure(self) -> None:
        if self._refused:
            raise ConfigError("; ".join(self._refused.values()))
        self._engines = Engines.load(self._config)
        for name in self._config.cameras:
            pipeline, kind = self._engines.pipeline(self._config), self._config.image_transport
            self._cameras[name] = Camera(name, pipeline, self._complain, kind)
            self._topics[name] = self._offer(name)

    def _activate(self) -> None:
        now_ns, log = (lambda: self.get_clock().now().nanoseconds), self.get_logger().error
        surface = Surface(lambda: self._config, now_ns, log)
        self._worker = Worker(self._cameras, self._topics, surface)
        for name in self._cameras:
            self._topics[name].publish_label_info()
            self._listen(name, self._worker)

    def _deactivate(self) -> None:
        for subscription in (*self._images.values(), *self._camera_infos):
            self.destroy_subscription(subscription)
        self._images, self._camera_infos = {}, []
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    # Topics

    def _offer(self, camera: str) -> topics.Topics:
        kinds = {
            **dict.fromkeys(topics.IMAGES, (Image, RESULT)),
            **dict.fromkeys(topics.TEXTS, (String, RESULT)),
            **dict.fromkeys(topics.LATCHED_TEXTS, (String, LATCHED)),
            topics.CAMERA_INFO: (CameraInfo, RESULT),
        }
        if LabelInfo is not None:
            kinds[topics.LABEL_INFO] = (LabelInfo, LATCHED)
        publishers = {
            name: self.create_lifecycle_publisher(kind, f"{camera}/{name}", **_quality(*quality))
            for name, (kind, quality) in kinds.items()
        }
        return topics.Topics(publishers, Image, String, LabelInfo and _label_info)

    def _listen(self, name: str, worker: Worker) -> None:
        camera, offered = self._cameras[name], self._topics[name]

        def on_image(message: Any) -> None:
            worker.put(name, message)

        def on_camera_info(message: CameraInfo) -> None:
            offered.camera_info = message

        def on_lost(event: Any) -> None:
            count = event.total_count_change
            camera.health.note(Trouble.LOST, time.perf_counter(), transport.advice(), count)

        kind, suffix = PICTURES[self._config.image_transport]
        topic = f"{name}/{self._config.image_topic}{suffix}"
        events = SubscriptionEventCallbacks(message_lost=on_lost)
        quality = _quality(*NEWEST)
        self._images[name] = self.create_subscription(
            kind, topic, on_image, event_callbacks=events, **quality
        )
        quality = _quality(*NEWEST)
        self._camera_infos.append(
            self.create_subscription(CameraInfo, f"{name}/camera_info", on_camera_info, **quality)
        )

    # Parameters

    def _declare_parameters(self) -> None:
        self.add_on_set_parameters_callback(self._on_parameters)
        for knob in knobs(NodeConfig):
            default = list(knob.default) if isinstance(knob.default, tuple) else knob.default
            try:
                self.declare_parameter(knob.name, default, _descriptor(knob))
            except ParameterException as error:  # the default stands in until somebody sets it
                self.declare_parameter(knob.name, default, _descriptor(knob), True)
                self._refused[knob.name] = _explained(knob, error)
                self.get_logger().error(self._refused[knob.name])
        names = [knob.name for knob in knobs(NodeConfig)]
        for warning in unknown_names(self._parameter_overrides, names):
            self.get_logger().warning(warning)

    def _on_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """Refuse what does not fit, with the reason; take over what does."""
        values = {change.name: change.value for change in changes}
        try:
            self._config = revised(self._config, values, self._engines)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in values:
            self._refused.pop(name, None)
        for camera in self._cameras.values():
            camera.pipeline.reconfigure(self._config)
        return SetParametersResult(successful=True)

    # What is said about it

    def _every_second(self) -> None:
        statuses = [self._own_status()]
        for name, subscription in self._images.items():
            self._topics[name].publish_label_info()
            statuses.append(self._camera_status(name, subscription))
        message = DiagnosticArray(status=[self._diagnostic(status) for status in statuses])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _own_status(self) -> Status:
        values = {"state": self._phase, "profile": transport.profile_in_force() or "none"}
        if self._engines:
            values |= {f"route_{w.value}": e.name for w, e in self._engines.routes.items()}
        level = Level.ERROR if self._failure else Level.OK
        return Status("node", level, self._failure or self._phase, values)

    def _camera_status(self, name: str, subscription: Any) -> Status:
        around = Surroundings(
            superseded=self._worker.superseded(name) if self._worker else 0,
            publishers=self.count_publishers(subscription.topic_name),
            topic=subscription.topic_name,
            transport=transport.advice(),
            silent_after_s=self._config.silent_after_s,
        )
        status = self._cameras[name].health.status(time.perf_counter(), around)
        for cause, text in status.findings.items():
            self._complain(name, cause, text)
        return status

    def _diagnostic(self, status: Status) -> DiagnosticStatus:
        values = [KeyValue(key=key, value=value) for key, value in status.values.items()]
        return DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{self.get_name()}: {status.name}",
            message=status.message,
            hardware_id=status.name,
            values=values,
        )

    def _complain(self, camera: str, cause: str, reason: str) -> None:
        if self._complaints.due(camera, cause, time.perf_counter()):
            self.get_logger().warning(f"{camera}: {reason}")


def _descriptor(knob: Field[Any]) -> ParameterDescriptor:
    described = ParameterDescriptor(
        description=knob.metadata["description"], additional_constraints=constraints(knob)
    )
    low, high = knob.metadata["low"], knob.metadata["high"]
    if isinstance(knob.default, float):
        described.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        described.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return described


def _explained(knob: Field[Any], error: Exception) -> str:
    hint = "; write 25.0 for 25" if isinstance(knob.default, float) else ""
    return f"{knob.name}: {error}; expected {wanted(knob)}{hint}"


def _label_info() -> Any:
    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(CLASS_NAMES)]
    unlabelled = VisionClass(class_id=UNLABELLED, class_name="unlabelled")
    return LabelInfo(class_map=[*classes, unlabelled])


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; the executable `perception_node`."""
    node: PerceptionNode | None = None
    try:
        transport.prepare()
        rclpy.init(args=args)
        node = PerceptionNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # terminals and launch often send the signal twice; the second must not break the ending
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
