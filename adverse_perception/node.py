"""The ROS 2 node: messages in, the pipeline, messages out. The only file that imports rclpy."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import Field
from functools import partial
from typing import Any

try:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from rcl_interfaces import msg as rcl
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
        from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError as error:
    raise ImportError(
        f"the node needs ROS 2 ({error}): source a ROS installation,"
        ' or pip install "adverse-perception[ros]"'
    ) from error

from adverse_perception import topics, transport
from adverse_perception.annotations import label_info
from adverse_perception.camera import Camera
from adverse_perception.config import ConfigError, NodeConfig, knobs
from adverse_perception.diagnostics import Complaints, Status, node_status
from adverse_perception.engines import Engines
from adverse_perception.inference import EngineError
from adverse_perception.parameters import constraints, explained, revised, unknown_names
from adverse_perception.vote import Vote
from adverse_perception.worker import Surface, Worker

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
SILENT = PublisherEventCallbacks(use_default_callbacks=False)
"""A listener whose quality of service does not fit is told so on its own side. To be told here as
well, the executor would go through two more things to wait for, for every topic and picture."""


class PerceptionNode(LifecycleNode):
    """Labels the pictures of any number of cameras, whatever the weather.

    Callbacks only keep the newest picture of each camera; the worker labels and publishes.
    """

    def __init__(self, **options: Any) -> None:
        """Declare the parameters and, by `autostart`, come up; the options are rclpy's."""
        super().__init__("adverse_perception", **options)
        self._config = NodeConfig()  # always what the parameters say
        self._refused: dict[str, str] = {}
        self._phase, self._failure = "unconfigured", ""
        self._warned: set[str] = set()
        self._complaints = Complaints()
        self._engines: Engines | None = None
        self._cameras: dict[str, Camera] = {}
        self._topics: dict[str, topics.Topics] = {}
        self._images: dict[str, Any] = {}
        self._camera_infos: list[Any] = []
        self._worker: Worker | None = None
        self._declare_parameters()
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10, event_callbacks=SILENT
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation is told of as well
        self._timer = self.create_timer(1.0, self._every_second, clock=steady)
        if self._config.autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engines and offer the topics."""
        self._failure = ""
        return self._transition("inactive", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the cameras and label what comes."""
        return self._transition("active", partial(super().on_activate, state), self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the frame at work is finished first."""
        silence = partial(super().on_deactivate, state)
        return self._transition("inactive", self._deactivate, silence)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engines; every parameter may be changed now."""
        return self._transition("unconfigured", self.close)

    on_error = on_cleanup  # after a transition that failed half-way

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything for good."""
        return self._transition("finalized", self.close)

    def close(self) -> None:
        """Stop the worker and free engines and topics, in whatever state the node is."""
        self._deactivate()
        for camera in self._topics.values():
            for publisher in camera.publishers.values():
                self.destroy_lifecycle_publisher(publisher)
        self._topics, self._cameras, self._engines = {}, {}, None

    def _transition(self, phase: str, *actions: Callable[[], Any]) -> TransitionCallbackReturn:
        """Do a step of the lifecycle; rclpy swallows what it raises, so it is logged here."""
        try:
            for action in actions:
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
        return TransitionCallbackReturn.SUCCESS

    def _LifecycleNodeMixin__change_state(self, transition: int) -> TransitionCallbackReturn:
        """Refuse a transition that the state does not allow; see rclpy#1209, it kills the node."""
        try:
            return super()._LifecycleNodeMixin__change_state(transition)
        except Exception as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE

    def _configure(self) -> None:
        if self._refused:
            raise ConfigError("; ".join(self._refused.values()))
        number = len(self._config.cameras)
        self._engines = Engines.load(self._config, self.get_logger().info, number)
        self._warn(self._engines)
        vote, kind = Vote(), self._config.image_transport
        for name in self._config.cameras:
            pipeline = self._engines.pipeline(self._config, vote)
            self._cameras[name] = Camera(name, pipeline, self._complain, kind)
            self._topics[name] = self._offer(name)

    def _activate(self) -> None:
        surface = Surface(
            config=lambda: self._config,
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            complain=partial(self._complain, "worker", "unexpected"),
        )
        for camera in self._cameras.values():
            camera.pipeline.forget()  # what was seen before the node was paused is stale
        at_once = self._engines.workers if self._engines else 1
        self._worker = Worker(self._cameras, self._topics, surface, at_once)
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

    def _offer(self, camera: str) -> topics.Topics:
        kinds = {
            **dict.fromkeys(topics.IMAGES, (Image, RESULT)),
            **dict.fromkeys(topics.TEXTS, (String, RESULT)),
            **dict.fromkeys(topics.LATCHED_TEXTS, (String, LATCHED)),
            topics.CAMERA_INFO: (CameraInfo, RESULT),
        }
        if described := label_info():
            kinds[topics.LABEL_INFO] = (type(described), LATCHED)
        publishers = {
            name: self.create_lifecycle_publisher(
                kind, f"{camera}/{name}", event_callbacks=SILENT, **_quality(*quality)
            )
            for name, (kind, quality) in kinds.items()
        }
        return topics.Topics(publishers, Image, String)

    def _listen(self, name: str, worker: Worker) -> None:
        config, lost = self._config, self._cameras[name].lost
        kind, suffix = PICTURES[config.image_transport]
        topic, put = f"{name}/{config.image_topic}{suffix}", partial(worker.put, name)
        events = SubscriptionEventCallbacks(message_lost=lambda e: lost(e.total_count_change))
        self._images[name] = self.create_subscription(
            kind, topic, put, event_callbacks=events, **_quality(*NEWEST)
        )
        topic, keep = f"{name}/camera_info", self._topics[name].keep_camera_info
        self._camera_infos.append(
            self.create_subscription(CameraInfo, topic, keep, **_quality(*NEWEST))
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
                self._refused[knob.name] = explained(knob, error)
                self.get_logger().error(self._refused[knob.name])
        for warning in unknown_names(self._parameter_overrides):
            self.get_logger().warning(warning)

    def _on_parameters(self, changes: list[Parameter[Any]]) -> rcl.SetParametersResult:
        """Refuse what does not fit, with the reason; take over what does."""
        values = {change.name: change.value for change in changes}
        try:
            self._config = revised(self._config, values, self._engines)
        except ConfigError as error:
            return rcl.SetParametersResult(successful=False, reason=str(error))
        for name in values:
            self._refused.pop(name, None)
        for camera in self._cameras.values():
            camera.pipeline.reconfigure(self._config)
        return rcl.SetParametersResult(successful=True)

    # What is said about it

    def _every_second(self) -> None:
        self._warn(self._engines)
        statuses = [node_status(self._phase, self._failure, self._engines)]
        if self._worker is not None:
            statuses += [self._camera_status(name, self._worker) for name in self._cameras]
        message = DiagnosticArray(status=[self._diagnostic(status) for status in statuses])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _camera_status(self, name: str, worker: Worker) -> Status:
        self._topics[name].publish_label_info()
        topic = self._images[name].topic_name
        return worker.status(name, topic, self.count_publishers(topic))

    def _diagnostic(self, status: Status) -> DiagnosticStatus:
        values = [KeyValue(key=key, value=value) for key, value in status.values.items()]
        level, name = bytes([status.level]), f"{self.get_name()}: {status.name}"
        return DiagnosticStatus(
            level=level, name=name, message=status.message, hardware_id=status.name, values=values
        )

    def _warn(self, engines: Engines | None) -> None:
        """Say once of each thing that it does not go as wished for."""
        for line in engines.stand_ins if engines else ():
            if line not in self._warned:
                self._warned.add(line)
                self.get_logger().warning(line)

    def _complain(self, camera: str, cause: str, reason: str) -> None:
        # a signal takes away what the worker publishes with: that is no news
        if self.context.ok() and self._complaints.due(camera, cause, time.perf_counter()):
            self.get_logger().warning(f"{camera}: {reason}")


def _descriptor(knob: Field[Any]) -> rcl.ParameterDescriptor:
    low, high, about = (knob.metadata[key] for key in ("low", "high", "description"))
    described = rcl.ParameterDescriptor(
        description=about, additional_constraints=constraints(knob)
    )
    if isinstance(knob.default, float):
        described.floating_point_range = [rcl.FloatingPointRange(from_value=low, to_value=high)]
    elif low is not None:
        described.integer_range = [rcl.IntegerRange(from_value=low, to_value=high, step=1)]
    return described


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; the executable `perception_node`."""
    transport.prepare()
    try:
        rclpy.init(args=args)
    except Exception as error:
        raise SystemExit(f"perception_node: {error}") from error
    node: PerceptionNode | None = None
    try:
        node = PerceptionNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # else a signal came while the node came up, and took its ground away
            raise
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
