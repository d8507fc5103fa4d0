"""Plays a drawn plan of troubles on a running node and books what comes of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from adverse_perception.frames import Weather
from adverse_perception.messages import stamp_ns, to_rgb
from benchmarks import marked_pictures, process_figures
from benchmarks.ledger import SETTLING_S, Ledger, Picture, Result
from benchmarks.trial_engines import MARKED_CLASSES
from benchmarks.trouble import Event
from benchmarks.wire import SETTLE_S, Image, Observer, Sender, String

RATE_HZ = 15.0
_SAMPLE_S = 0.5
_ANSWER_S = 10.0
"""A parameter is answered, and a camera listened to, within this time."""
_LATE_S = 0.02


@dataclass
class Driver:
    """What is there of a camera while it sends: its sender, its looks, its coming pictures."""

    sender: Sender
    frame_id: str
    size: tuple[int, int]
    came_s: float
    listened_s: float | None = None
    due_s: float = 0.0
    last_stamp_ns: int = 0
    fails: Collection[int] = ()
    failing: int = 0
    next: str = "good"


@dataclass(frozen=True)
class Sample:
    """The node at one moment of the run, `latency_ms` of the labels published since the last."""

    at_s: float
    figures: process_figures.Figures
    latency_ms: tuple[float, ...]


@dataclass
class Course:
    """Everything that was observed."""

    ledger: Ledger = field(default_factory=Ledger)
    samples: list[Sample] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    engines: Counter[str] = field(default_factory=Counter)
    weathers: Counter[str] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)  # see `_kind`
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    discovered_s: list[float] = field(default_factory=list)  # from coming to being listened to
    cameras_s: float = 0.0  # for how long cameras were listened to, all together


class ReliabilityRun:
    """One run on one node; everything happens in the calling thread."""

    def __init__(
        self, pid: int, observer: Observer, cameras: Sequence[str], *, marked: bool = True
    ) -> None:
        """Listen to everything that is checked all along.

        Args:
            pid: process of the node.
            observer: connected to it.
            cameras: names of the node's cameras.
            marked: the engines are those of `trial_engines.write_marked`.
        """
        self.course = Course()
        self._pid, self._observer, self._marked = pid, observer, marked
        self._drivers: dict[str, Driver] = {}
        self._weathers = dict.fromkeys(cameras, Weather.CLEAR)
        self._numbers: Counter[str] = Counter()
        self._asked: list[tuple[Any, float, bool, str]] = []
        self._listening: list[tuple[float, Any]] = []
        self._latency_ms: list[float] = []
        self._start_s = 0.0
        for camera in cameras:
            observer.listen(Image, f"{camera}/labels", partial(self._on_labels, camera))
            observer.listen(String, f"{camera}/condition", partial(self._on_condition, camera))

    def play(self, events: Sequence[Event], duration_s: float) -> Course:
        """Let the events happen while every camera sends at its rate; gives what was seen.

        Raises:
            DemoError: the node has ended.
            WireError: it does not say how its cameras fare.
        """
        waiting, self._start_s = list(events), time.monotonic()
        sample_due = self._start_s
        try:
            while (now_s := time.monotonic()) < self._start_s + duration_s:
                while waiting and self._start_s + waiting[0].at_s <= now_s:
                    self._happen(waiting.pop(0))
                self._send_due(now_s)
                self._look_after(now_s)
                if now_s >= sample_due:
                    sample_due += _SAMPLE_S
                    self._sample(now_s)
                self._observer.receive_until(self._next_due())
            self._finish()
        finally:
            for camera in list(self._drivers):
                self._drivers.pop(camera).sender.close()
        return self.course

    # What happens

    def _happen(self, event: Event) -> None:
        getattr(self, f"_{event.kind}")(event)
        self.course.happened[event.kind] += 1

    def _come(self, event: Event) -> None:
        number = self.course.happened["come"]
        frame_id = f"{event.camera}_optical_{number}"
        sender, now_s = Sender(event.camera, frame_id), time.monotonic()
        self._drivers[event.camera] = Driver(sender, frame_id, event.value, now_s)

    def _leave(self, event: Event) -> None:
        self.course.ledger.gone(event.camera, time.monotonic())
        self._drivers.pop(event.camera).sender.close()

    def _weather(self, event: Event) -> None:
        for camera in (event.camera,) if event.camera else self._weathers:
            self._weathers[camera] = event.value

    def _fail(self, event: Event) -> None:
        driver = self._drivers[event.camera]
        driver.fails, driver.failing = event.value

    def _spoilt(self, event: Event) -> None:
        self._drivers[event.camera].next = "spoilt"

    def _late(self, event: Event) -> None:
        self._drivers[event.camera].next = "late"

    def _parameter(self, event: Event) -> None:
        self._ask(*event.value, taken=True)

    def _refused(self, event: Event) -> None:
        self._ask(*event.value, taken=False)

    def _ask(self, name: str, value: Any, *, taken: bool) -> None:
        future = self._observer.ask_parameter(name, value)
        self._asked.append((future, time.monotonic(), taken, f"{name}={value}"))

    def _listen(self, event: Event) -> None:
        topic, seconds = event.value
        listener = self.course.happened["listen"]
        heard = partial(self._on_picture, event.camera, topic, listener)
        subscription = self._observer.listen(Image, f"{event.camera}/{topic}", heard)
        self._listening.append((time.monotonic() + seconds, subscription))

    # What goes on all along

    def _send_due(self, now_s: float) -> None:
        for camera, driver in self._drivers.items():
            if driver.listened_s is None:
                self._connect(camera, driver, now_s)
            elif now_s >= driver.due_s:
                self._send(camera, driver, now_s)
                # held up, as by another camera's coming: what was missed is not made up for, a
                # burst would overrun us who listen
                driver.due_s = max(driver.due_s + 1 / RATE_HZ, now_s)

    def _connect(self, camera: str, driver: Driver, now_s: float) -> None:
        if driver.sender.heard:
            driver.listened_s, driver.due_s = now_s, now_s + SETTLE_S
            self.course.ledger.connected(camera, now_s)
            self.course.discovered_s.append(now_s - driver.came_s)
        elif now_s - driver.came_s > _ANSWER_S:
            self.course.ledger.fault(f"{camera}: not listened to for {_ANSWER_S:.0f} s")
            driver.came_s = now_s

    def _send(self, camera: str, driver: Driver, now_s: float) -> None:
        self._numbers[camera] += 1
        number, how = self._numbers[camera] % marked_pictures.NUMBERS, driver.next
        fails = driver.fails if driver.failing else ()
        driver.failing, driver.next = max(0, driver.failing - 1), "good"
        driver.sender.prepare(
            marked_pictures.draw(number, self._weathers[camera], driver.size, fails)
        )
        stamp = time.time_ns()
        if how == "late" and driver.last_stamp_ns:
            stamp = driver.last_stamp_ns - round(_LATE_S * 1e9)
        driver.last_stamp_ns = max(stamp, driver.last_stamp_ns)
        settled = now_s - (driver.listened_s or now_s) > SETTLING_S
        picture = Picture(stamp, driver.frame_id, driver.size, number, settled)
        self.course.ledger.sent(camera, picture)
        (driver.sender.send_spoilt if how == "spoilt" else driver.sender.send)(stamp)

    def _look_after(self, now_s: float) -> None:
        for entry in [one for one in self._listening if one[0] <= now_s]:
            self._observer.ignore(entry[1])
            self._listening.remove(entry)
        for asked in [one for one in self._asked if one[0].done()]:
            future, _, taken, what = asked
            result = future.result().results[0]
            if result.successful != taken:
                said = result.reason or "nothing"
                self.course.ledger.fault(f"parameter {what}: taken={not taken}, it said {said}")
            self._asked.remove(asked)
        for asked in [one for one in self._asked if now_s - one[1] > _ANSWER_S]:
            self.course.ledger.fault(f"parameter {asked[3]}: no answer for {_ANSWER_S:.0f} s")
            self._asked.remove(asked)

    def _sample(self, now_s: float) -> None:
        self._observer.check()
        figures = process_figures.figures(self._pid)
        latency_ms, self._latency_ms = tuple(self._latency_ms), []
        self.course.cameras_s += _SAMPLE_S * sum(
            driver.listened_s is not None for driver in self._drivers.values()
        )
        self.course.samples.append(Sample(now_s - self._start_s, figures, latency_ms))

    def _next_due(self) -> float:
        now_s = time.monotonic()
        due = [driver.due_s for driver in self._drivers.values() if driver.listened_s]
        return min([now_s + 0.02, *due])

    def _finish(self) -> None:
        """Wait for what is still on its way, and for diagnostics that count it."""
        ended_s = time.monotonic()
        self._observer.receive_until(ended_s + 1.0)
        for camera in self._drivers:
            self.course.ledger.gone(camera, ended_s)
        for camera in self._numbers:
            self.course.counts[camera] = self._observer.counts(camera, after_s=ended_s + 1.5)

    # What comes back

    def _on_labels(self, camera: str, message: Any) -> None:
        number = None
        if self._marked:
            labels = to_rgb(message)[:, :, 0]
            seen = marked_pictures.read(np.asarray(labels))
            number = seen.number if _of_an_engine(seen.classes) else None
            if number is None:
                self.course.ledger.fault(f"{camera}/labels: classes {seen.classes} of no engine")
        result = replace(_result(camera, "labels", message), number=number)
        self.course.ledger.came(result, time.monotonic())

    def _on_picture(self, camera: str, topic: str, listener: int, message: Any) -> None:
        result = replace(_result(camera, topic, message), listener=listener)
        self.course.ledger.came(result, time.monotonic())

    def _on_condition(self, camera: str, message: Any) -> None:
        said: Mapping[str, Any] = json.loads(message.data)
        stamp = said["stamp"]["sec"] * 10**9 + said["stamp"]["nanosec"]
        self.course.ledger.came(Result(camera, "condition", stamp), time.monotonic())
        self.course.engines[said["engine"]] += 1
        self.course.weathers[said["weather"]] += 1
        self.course.frames[_kind(said)] += 1
        if "latency" in said["timing_ms"]:
            self._latency_ms.append(said["timing_ms"]["latency"])


def _result(camera: str, topic: str, message: Any) -> Result:
    header, size = message.header, (message.width, message.height)
    return Result(camera, topic, stamp_ns(header), header.frame_id, size)


def _kind(said: Mapping[str, Any]) -> str:
    """What was done with a frame, by the stages it went through."""
    if not said["keyframe"]:
        return "between"
    return "uncorrected" if "correct" in said["timing_ms"] else "key"


def _of_an_engine(classes: tuple[int, int]) -> bool:
    zero, one = classes
    return any(zero == pair[0] and one in pair for pair in MARKED_CLASSES.values())
