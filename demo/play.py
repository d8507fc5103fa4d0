"""Our end of the wire: pictures out over DDS at their due time, labels and conditions in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import String

from adverse_perception.frames import UInt8Array
from demo.footage import Shot
from demo.record import Recording

RESULTS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
SETTLE_S = 0.3
"""Time for both ends to finish discovery after they know of each other."""


class Player:
    """Plays shots to the node and keeps what comes back.

    One thread does both: receiving a label image costs less than a millisecond, and a second
    thread would take the processor from the node that is being measured.
    """

    def __init__(self, camera: str, recording: Recording) -> None:
        """Join the ROS graph; `camera` is the namespace of the camera's topics."""
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("demo_player")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._recording = recording
        self._images = self._node.create_publisher(Image, f"{camera}/image_raw", NEWEST)
        listen = self._node.create_subscription
        self._results = (
            listen(Image, f"{camera}/labels", recording.on_labels, RESULTS),
            listen(String, f"{camera}/condition", recording.on_condition, RESULTS),
            listen(DiagnosticArray, "/diagnostics", recording.on_diagnostics, RESULTS),
        )
        self._message = Image()

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def connect(self, check: Callable[[], None], limit_s: float) -> bool:
        """Wait until the active node listens and both ends know of each other.

        Args:
            check: called while waiting; raises when there is no longer any sense in it.
            limit_s: longest wait, seconds.

        Returns:
            Whether the node came up in time.
        """
        self._wait(self._connected, check, limit_s)
        self._receive_until(time.monotonic() + SETTLE_S)
        return self._connected()

    def play(
        self, shots: Iterable[Shot], rate_hz: float, on_frame: Callable[[Shot], None]
    ) -> None:
        """Publish every shot at its due time; a late one does not shift those after it.

        Args:
            shots: pictures in order.
            rate_hz: frames per second.
            on_frame: called after each; raises to stop.
        """
        start = time.monotonic()
        for number, shot in enumerate(shots):
            due = start + number / rate_hz
            self._prepare(shot.image)  # before the due time: the copy is not part of the delay
            self._receive_until(due)
            late_s = time.monotonic() - due
            self._recording.on_published(shot, self._publish(), late_s * 1e3)
            on_frame(shot)

    def settle(self, check: Callable[[], None], limit_s: float = 3.0) -> None:
        """Wait for the label of the last frame, and for diagnostics that count it."""
        self._wait(self._recording.has_last, check, limit_s)
        self._wait(self._recording.is_counted, check, limit_s)

    def _wait(self, done: Callable[[], bool], check: Callable[[], None], limit_s: float) -> None:
        give_up = time.monotonic() + limit_s
        while not done() and time.monotonic() < give_up:
            check()
            self._receive_until(time.monotonic() + 0.05)

    def _connected(self) -> bool:
        return self._images.get_subscription_count() > 0 and all(
            results.get_publisher_count() > 0 for results in self._results
        )

    def _receive_until(self, due: float) -> None:
        while (left_s := due - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _prepare(self, image: UInt8Array) -> None:
        if len(self._message.data) != image.nbytes or self._message.width != image.shape[1]:
            self._message = _blank_message(image)
        # rclpy's own setter would copy byte by byte; this is one memcpy into the old buffer
        np.copyto(np.frombuffer(self._message.data, np.uint8).reshape(image.shape), image)

    def _publish(self) -> int:
        stamp_ns = time.time_ns()
        stamp = self._message.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp_ns, 10**9)
        self._images.publish(self._message)
        return stamp_ns


def _blank_message(image: UInt8Array) -> Any:
    message = Image()
    message.header.frame_id = "camera_optical"
    message.encoding = "rgb8"
    message.height, message.width = image.shape[:2]
    message.step = image.shape[1] * 3
    message.data.frombytes(bytes(image.nbytes))
    return message
