"""A real node on a bench: somebody who sends pictures and listens, over real DDS."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from adverse_perception import transport
from adverse_perception.messages import fill_image

pytest.importorskip("rclpy")
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
transport.prepare()

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rcl_interfaces.msg import Log  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from adverse_perception.node import PerceptionNode  # noqa: E402

LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NUMBERS = itertools.count(1)
PATIENCE_S = 60.0  # a waiting process may get little of a busy machine


class Bench:
    """A node under test in this process (or none: then it is in another one) and its user."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.executor = SingleThreadedExecutor(context=self.context)
        self.user = rclpy.create_node("user", context=self.context)
        self.executor.add_node(self.user)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self.node: PerceptionNode | None = None
        self._publishers: dict[str, Any] = {}
        self.time_ns = time.time_ns()
        self.name = "adverse_perception"
        self._fixtures = [
            self.user.create_subscription(kind, topic, self.heard[topic].append, quality)
            for kind, topic, quality in (
                (Log, "/rosout", LATCHED),
                (DiagnosticArray, "/diagnostics", 10),
            )
        ]

    def start(self, engines: Path, **parameters: Any) -> PerceptionNode:
        values = {"engines_folder": str(engines), **parameters}
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
        # A name of its own in the whole process: what is left of an earlier test's node must not
        # answer for this one, and when it is freed at last, /rosout loses whoever has its name.
        self.name = f"perception_{next(NUMBERS)}"
        self.node = PerceptionNode(
            context=self.context,
            parameter_overrides=overrides,
            cli_args=["--ros-args", "-r", f"__node:={self.name}"],
        )
        self.executor.add_node(self.node)
        return self.node

    def listen(self, kind: Any, topic: str, quality: Any = 10) -> list[Any]:
        self.user.create_subscription(kind, topic, self.heard[topic].append, quality)
        return self.heard[topic]

    def until(self, holds: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Spin until something holds, and return it; fail when it does not."""
        end = time.monotonic() + patience_s
        while not (found := holds()):
            assert time.monotonic() < end, f"waited in vain; log: {self.log()}"
            self.executor.spin_once(timeout_sec=0.05)
        return found

    def spin(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def send(self, message: Any, topic: str = "camera/image_raw", step_s: float = 0.1) -> Any:
        """Publish once the topic is listened to; the stamp is `step_s` after the one before."""
        if topic not in self._publishers:
            self._publishers[topic] = self.user.create_publisher(type(message), topic, 1)
        publisher = self._publishers[topic]
        self.until(publisher.get_subscription_count)
        self.time_ns += round(step_s * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self.time_ns, 10**9)
        publisher.publish(message)
        return message

    def answer(self, message: Any, heard: list[Any], **where: Any) -> Any:
        """Send a picture and wait for what is published with its stamp.

        It is sent again after a while: at best effort the first one after matching may be lost.
        """
        for patience_s in (1.0, 2.0, 4.0, 8.0):
            stamp = self.send(message, **where).header.stamp
            end = time.monotonic() + patience_s
            while time.monotonic() < end:
                self.executor.spin_once(timeout_sec=0.05)
                found = [answer for answer in heard if answer.header.stamp == stamp]
                if found:
                    return found[0]
        raise AssertionError(f"no answer; log: {self.log()}")

    def log(self) -> list[str]:
        return [line.msg for line in self.heard["/rosout"] if line.name == self.name]

    def status(self, component: str) -> Any:
        """The newest diagnostic status of a component, or None."""
        name = f"{self.name}: {component}"
        arrays = reversed(self.heard["/diagnostics"])
        return next((s for a in arrays for s in a.status if s.name == name), None)

    def values(self, component: str) -> dict[str, str]:
        status = self.status(component)
        return {pair.key: pair.value for pair in status.values} if status else {}

    def call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.user.create_client(kind, f"/{self.name}/{service}")
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.user.destroy_client(client)
        return future.result()

    def change_state(self, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, "change_state", request).success)

    def set_parameter(self, name: str, value: Any) -> Any:
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        return self.call(SetParameters, "set_parameters", request).results[0]

    def clear(self) -> None:
        """End the node and forget what was said, for the next test."""
        if self.node is not None:
            self.node.close()
            self.executor.remove_node(self.node)
            self.node.destroy_node()
            self.node = None
        for subscription in set(self.user.subscriptions) - set(self._fixtures):
            self.user.destroy_subscription(subscription)
        for publisher in self._publishers.values():
            self.user.destroy_publisher(publisher)
        self._publishers.clear()
        for heard in self.heard.values():
            heard.clear()

    def close(self) -> None:
        self.clear()
        self.user.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()


@pytest.fixture(scope="module")
def one_bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def bench(one_bench: Bench) -> Iterator[Bench]:
    yield one_bench
    one_bench.clear()


def picture(brightness: float = 150, height: int = 96, width: int = 128) -> np.ndarray:
    """A (height, width, 3) uint8 RGB picture with something on it."""
    noise = np.random.default_rng(7).integers(-40, 40, (height // 4, width // 4, 3))
    small = (noise + brightness).clip(0, 255).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def image(pixels: np.ndarray | None = None, encoding: str = "rgb8") -> Image:
    message = Image()
    fill_image(message, picture() if pixels is None else pixels, encoding, message.header)
    message.header.frame_id = "front_optical"
    return message


def jpeg(pixels: np.ndarray | None = None) -> CompressedImage:
    rgb = picture() if pixels is None else pixels
    message = CompressedImage(format="bgr8; jpeg compressed bgr8")
    message.data.frombytes(cv2.imencode(".jpg", rgb[:, :, ::-1])[1].tobytes())
    message.header.frame_id = "front_optical"
    return message


__all__ = ["LATCHED", "Bench", "CameraInfo", "CompressedImage", "Image", "bench", "image", "jpeg",
           "one_bench", "picture"]  # fmt: skip
