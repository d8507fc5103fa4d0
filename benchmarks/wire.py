"""Our end of the wire: cameras that send over DDS, somebody who listens, parameters set."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception import transport
from adverse_perception.frames import UInt8Array

try:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rcl_interfaces.srv import SetParameters
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image
    from std_msgs.msg import String
except ImportError as error:
    raise ImportError(
        f"benchmarks of the node need ROS 2 ({error}): source a ROS installation,"
        ' or pip install "adverse-perception[ros]"'
    ) from error

NODE = "adverse_perception"
RESULTS = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
SETTLE_S = 0.3
"""Time for both ends to finish discovery after they know of each other."""


def isolate(folder: Path) -> None:
    """Keep this process and those it starts off other ROS systems.

    Logs go to the folder, unless the environment says where to.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if os.environ.get("ROS_DISTRO") == "humble":  # it knows no range; later ones warn of this
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    os.environ.setdefault("ROS_LOG_DIR", str(folder))
    transport.prepare()


class WireError(RuntimeError):
    """The node does not answer."""


class Observer:
    """Listens to the node and sets its parameters; one thread does everything."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Join the ROS graph; `check` is called while waiting and raises when it is in vain."""
        self._context = rclpy.Context()
        self._context.init(args=[])
        self.node = rclpy.create_node("observer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.check = check
        self._statuses: dict[str, tuple[float, dict[str, str]]] = {}
        self.listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self._parameters = self.node.create_client(SetParameters, f"/{NODE}/set_parameters")

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def listen(self, kind: Any, topic: str, heard: Callable[[Any], None]) -> Any:
        """Subscribe; give what is returned to `ignore` to end it."""
        return self.node.create_subscription(kind, topic, heard, RESULTS)

    def ignore(self, subscription: Any) -> None:
        """End a subscription."""
        self.node.destroy_subscription(subscription)

    def receive_until(self, due_s: float) -> None:
        """Take in what comes until a time of `time.monotonic`."""
        while (left_s := due_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def wait(self, holds: Callable[[], Any], what: str, patience_s: float = 60.0) -> None:
        """Take in what comes until something holds.

        Raises:
            WireError: it does not within the time.
        """
        give_up = time.monotonic() + patience_s
        while not holds():
            self.check()
            if time.monotonic() > give_up:
                raise WireError(f"waited {patience_s:.0f} s in vain for {what}")
            self.receive_until(time.monotonic() + 0.02)

    def counts(self, camera: str, after_s: float = 0.0) -> dict[str, int]:
        """The camera's counters by diagnostics: received, labelled, and drops by cause.

        Args:
            camera: its name.
            after_s: wait for a status later than this time of `time.monotonic`.

        Raises:
            WireError: there is none.
        """
        name = f"{NODE}: {camera}"
        self.wait(lambda: self._statuses.get(name, (0.0,))[0] > after_s, f"diagnostics of {name}")
        values = self._statuses[name][1]
        return {
            key.removeprefix("dropped_"): int(value)
            for key, value in values.items()
            if key in ("received", "labelled") or key.startswith("dropped_")
        }

    def ask_parameter(self, name: str, value: Any) -> Any:
        """Ask the node to set a parameter, by its own service; gives the future of the answer."""
        self.wait(self._parameters.service_is_ready, "the parameter service")
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        return self._parameters.call_async(request)

    def _on_diagnostics(self, message: Any) -> None:
        now_s = time.monotonic()
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._statuses[status.name] = now_s, values


class Sender:
    """A camera driver: a participant of its own in the ROS graph that publishes pictures."""

    def __init__(self, camera: str, frame_id: str) -> None:
        """Join the graph."""
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        name = f"driver_{camera.replace('/', '_')}"
        self._node = rclpy.create_node(name, context=self._context, enable_rosout=False)
        self._images = self._node.create_publisher(Image, f"{camera}/image_raw", _NEWEST)
        self._message = Image()
        self._message.header.frame_id = frame_id

    @property
    def heard(self) -> bool:
        """The node listens to it."""
        return bool(self._images.get_subscription_count())

    def prepare(self, picture: UInt8Array) -> None:
        """Put (H, W, 3) uint8 RGB into the message that goes out next."""
        message = self._message
        if message.width != picture.shape[1] or len(message.data) != picture.nbytes:
            message.encoding = "rgb8"
            message.height, message.width = picture.shape[:2]
            message.step = picture.shape[1] * 3
            del message.data[:]
            message.data.frombytes(bytes(picture.nbytes))
        # rclpy's own setter would copy byte by byte; this is one memcpy into the old buffer
        np.copyto(np.frombuffer(message.data, np.uint8).reshape(picture.shape), picture)

    def send(self, stamp_ns: int) -> None:
        """Publish what was prepared last, with this stamp."""
        stamp = self._message.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp_ns, 10**9)
        self._images.publish(self._message)

    def send_spoilt(self, stamp_ns: int) -> None:
        """Publish what was prepared last with half of its data missing."""
        whole = self._message
        spoilt = Image(
            header=whole.header, height=whole.height, width=whole.width, step=whole.step
        )
        spoilt.encoding = whole.encoding
        spoilt.data = whole.data[: len(whole.data) // 2]
        spoilt.header.stamp.sec, spoilt.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._images.publish(spoilt)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()
        self._context.try_shutdown()


__all__ = ["NODE", "Image", "Observer", "Sender", "String", "WireError", "isolate"]
