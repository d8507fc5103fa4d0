"""The threads that label: the newest picture of each camera in turn, from mailbox to topics."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adverse_perception import transport
from adverse_perception.camera import Arrival, Camera
from adverse_perception.config import NodeConfig
from adverse_perception.diagnostics import LATENCY, Status, Surroundings
from adverse_perception.mailbox import Mailbox
from adverse_perception.messages import stamp_ns
from adverse_perception.topics import Topics


@dataclass(frozen=True)
class Surface:
    """What the worker needs of the node around it.

    Attributes:
        config: the configuration that holds now.
        now_ns: the node's time in nanoseconds; 0 until a simulated clock has begun.
        complain: told the traceback of what nobody expected.
    """

    config: Callable[[], NodeConfig]
    now_ns: Callable[[], int]
    complain: Callable[[str], None]


class Worker:
    """Labels in threads of its own, so that listening never waits for an engine."""

    def __init__(
        self,
        cameras: Mapping[str, Camera],
        topics: Mapping[str, Topics],
        surface: Surface,
        at_once: int = 1,
    ) -> None:
        """Start at once.

        Args:
            cameras: by name.
            topics: of the cameras, by the same names.
            surface: the node around it.
            at_once: pictures of different cameras that are labelled at the same time.
        """
        self._cameras = cameras
        self._topics = topics
        self._surface = surface
        self._mailbox: Mailbox[Arrival] = Mailbox()
        for camera in cameras.values():
            camera.health.restart(time.perf_counter())
        self._threads = [
            threading.Thread(target=self._work, name=f"labelling {number}", daemon=True)
            for number in range(at_once)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, camera: str, message: Any) -> None:
        """Leave a camera's newest picture message; one that still waits is superseded."""
        if self._mailbox.put(camera, self._cameras[camera].receive(message)):
            self._cameras[camera].superseded()

    def status(self, camera: str, topic: str, publishers: int) -> Status:
        """How a camera fares whose topic has so many publishers."""
        around = Surroundings(
            publishers=publishers,
            topic=topic,
            transport=transport.advice(),
            silent_after_s=self._surface.config().silent_after_s,
        )
        return self._cameras[camera].status(around)

    def stop(self) -> None:
        """Finish the frames at work and end."""
        self._mailbox.close()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            try:
                with self._mailbox.taken() as taken:
                    if taken is None:
                        return
                    self._label(*taken)
            except Exception:  # the worker outlives every frame
                self._surface.complain(traceback.format_exc())

    def _label(self, name: str, arrival: Arrival) -> None:
        camera, topics, config = self._cameras[name], self._topics[name], self._surface.config()
        labelled = camera.label(arrival, config, restore=topics.heard("restored"))
        if labelled is None:
            return
        header = arrival.message.header
        topics.publish_labels(header, labelled)
        if now_ns := self._surface.now_ns():
            labelled.durations_ms[LATENCY] = (now_ns - stamp_ns(header)) / 1e6
        camera.health.labelled(labelled.segmentation, labelled.durations_ms, time.perf_counter())
        topics.publish_rest(header, labelled, config.overlay_opacity)
