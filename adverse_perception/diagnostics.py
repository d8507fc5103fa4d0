"""What a camera's frames went through, told once a second: rates, latency, drops and why."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np

from adverse_perception import transport
from adverse_perception.engines import Engines
from adverse_perception.frames import Condition, Segmentation

WINDOW_S = 5.0
"""Rates, latencies and complaints speak of this much of the past."""

LATENCY = "latency"
"""The stage that is all of them: from the picture's stamp to the publication of its labels."""

_ENOUGH_STAMPS = 10
_TOLERATED_LOSS = 0.1
_TOLERATED_LOST = 2
_TOLERATED_SUPERSEDED = 0.05


class Level(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class Trouble(str, Enum):
    """What can befall a camera; the first five leave a frame without labels."""

    SUPERSEDED = "superseded"
    UNUSABLE = "unusable"
    OUT_OF_ORDER = "out_of_order"
    FAILED = "failed"
    LOST = "lost_in_transport"
    RESCUED = "rescued"
    NEW_DRIVE = "new_drive"
    SILENT = "silent"
    UNCORRECTED = "uncorrected"


DROPS = tuple(Trouble)[:5]
_SAID = {
    Trouble.FAILED: (Level.ERROR, "labelling fails"),
    Trouble.RESCUED: (Level.WARN, "the clear-weather engine stands in"),
    Trouble.UNCORRECTED: (Level.WARN, "key frames stand in for the frames between"),
    Trouble.UNUSABLE: (Level.WARN, "unusable pictures"),
    Trouble.OUT_OF_ORDER: (Level.WARN, "pictures come out of order"),
}
"""How the troubles are told of which the reason says all."""


@dataclass(frozen=True)
class Passed:
    """What is kept of a labelled frame for a while; durations by stage in milliseconds."""

    when_s: float
    durations_ms: Mapping[str, float]
    keyframe: bool
    distortion: float | None


@dataclass(frozen=True)
class Status:
    """One diagnostic status: what about, how bad, in one sentence, and the figures."""

    name: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[Trouble, str] = field(default_factory=dict)  # what is wrong, by cause


@dataclass(frozen=True)
class Surroundings:
    """What the node knows beside the camera's own frames.

    Attributes:
        publishers: publishers matched on the camera's topic.
        topic: the camera's topic.
        transport: what the user is to do when pictures are lost on the way.
        silent_after_s: a camera without a picture for this long is silent.
    """

    publishers: int = 0
    topic: str = ""
    transport: str = ""
    silent_after_s: float = 2.0


class CameraHealth:
    """Remembers the last seconds of one camera. Safe between threads; times in seconds."""

    def __init__(self, camera: str) -> None:
        self.camera = camera
        self._lock = threading.Lock()
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=4096)
        self._labelled: deque[Passed] = deque(maxlen=4096)
        self._recent: deque[tuple[float, Trouble]] = deque(maxlen=4096)
        self._troubles: Counter[Trouble] = Counter()
        self._reasons: dict[Trouble, str] = {}
        self._received = self._published = 0
        self._last_arrival_s = -math.inf
        self._segmentation: Segmentation | None = None

    def restart(self, now_s: float) -> None:
        """The camera is listened to from now on: what was before says nothing about its rate."""
        with self._lock:
            self._forget_before(math.inf)
            self._last_arrival_s = now_s

    def received(self, stamp_ns: int, now_s: float) -> None:
        """A picture with this stamp has come in."""
        with self._lock:
            self._arrivals.append((now_s, stamp_ns))
            self._last_arrival_s = now_s
            self._received += 1

    def note(self, cause: Trouble, now_s: float, reason: str = "", count: int = 1) -> None:
        """Something befell `count` frames; `reason` says it in words."""
        with self._lock:
            self._troubles[cause] += count
            self._recent.extend([(now_s, cause)] * min(count, 100))
            self._reasons[cause] = reason

    def labelled(
        self, segmentation: Segmentation, durations_ms: Mapping[str, float], now_s: float
    ) -> None:
        """A frame's labels were published; durations by stage, `LATENCY` from stamp to here."""
        with self._lock:
            self._published += 1
            self._segmentation = segmentation
            self._labelled.append(
                Passed(now_s, durations_ms, segmentation.keyframe, segmentation.distortion)
            )

    def status(self, now_s: float, around: Surroundings) -> Status:
        """Sum up the last seconds; to be called about once a second."""
        with self._lock:
            self._forget_before(now_s - WINDOW_S)
            findings = list(self._findings(now_s, around))
            values = dict(self._values())
        level = max((level for level, _, _ in findings), default=Level.OK)
        said = {cause: text for _, cause, text in findings}
        return Status(self.camera, level, "; ".join(said.values()) or "labelling", values, said)

    def _forget_before(self, then_s: float) -> None:
        for remembered in (self._arrivals, self._recent):
            while remembered and remembered[0][0] < then_s:
                remembered.popleft()
        while self._labelled and self._labelled[0].when_s < then_s:
            self._labelled.popleft()

    def _findings(
        self, now_s: float, around: Surroundings
    ) -> Iterator[tuple[Level, Trouble, str]]:
        recent = Counter(cause for _, cause in self._recent)
        if now_s - self._last_arrival_s > around.silent_after_s:
            yield Level.STALE, Trouble.SILENT, self._silence(now_s, around)
        for cause, (level, text) in _SAID.items():
            if recent[cause]:
                yield level, cause, f"{text}: {self._reasons[cause]}"
        lost = recent[Trouble.LOST]
        missing = max(lost, missing_stamps([stamp for _, stamp in self._arrivals]))
        if missing > max(_TOLERATED_LOST, _TOLERATED_LOSS * (len(self._arrivals) + missing)):
            share = f"{missing / (len(self._arrivals) + missing):.0%} of the pictures"
            fate = "are lost on the way" if lost else "never arrive, by the gaps in their stamps"
            yield Level.WARN, Trouble.LOST, f"{share} {fate}: {around.transport}"
        if recent[Trouble.SUPERSEDED] > _TOLERATED_SUPERSEDED * max(len(self._arrivals), 1):
            text = "the machine is slower than the camera: older pictures are dropped"
            yield Level.WARN, Trouble.SUPERSEDED, text

    def _silence(self, now_s: float, around: Surroundings) -> str:
        since = "yet"
        if self._received:
            since = f"for {now_s - self._last_arrival_s:.0f} s"
        if not around.publishers:
            return f"no picture {since}: nobody publishes {around.topic}"
        return (
            f"no picture {since} from {around.publishers} publisher(s) of {around.topic}:"
            f" the camera is silent, or all is lost on the way: {around.transport}"
        )

    def _values(self) -> Iterator[tuple[str, str]]:
        stamps = [stamp for _, stamp in self._arrivals]
        yield "received", str(self._received)
        yield "labelled", str(self._published)
        yield "received_hz", _number(rate_hz([when for when, _ in self._arrivals]))
        yield "labelled_hz", _number(rate_hz([passed.when_s for passed in self._labelled]))
        period = period_ns(stamps)
        yield "camera_hz", _number(1e9 / period) if period else "unknown"
        for cause in DROPS:
            yield f"dropped_{cause.value}", str(self._troubles[cause])
        for cause, reason in self._reasons.items():
            yield f"last_{cause.value}", reason
        if self._segmentation:
            condition = self._segmentation.condition
            yield "condition", _told(condition)
            for weather, score in condition.scores.items():
                yield f"score_{weather.value}", _number(score)
            yield "engine", self._segmentation.engine
        if self._labelled:
            yield "keyframes", _number(float(np.mean([one.keyframe for one in self._labelled])))
        estimated = [one.distortion for one in self._labelled if one.distortion is not None]
        if estimated:
            yield "distortion", f"{float(np.mean(estimated)):.3f}"
        yield from self._latencies()

    def _latencies(self) -> Iterator[tuple[str, str]]:
        stages: dict[str, list[float]] = {}
        for passed in self._labelled:
            for stage, duration in passed.durations_ms.items():
                stages.setdefault(stage, []).append(duration)
                if passed.keyframe and stage == LATENCY:  # the longest there is, by itself
                    stages.setdefault(f"{LATENCY}_keyframe", []).append(duration)
        for stage, kept in stages.items():
            for percent, value in zip((50, 95), np.percentile(kept, (50, 95)), strict=True):
                yield f"{stage}_p{percent}_ms", _number(float(value))
        if LATENCY in stages:
            yield f"{LATENCY}_mean_ms", _number(float(np.mean(stages[LATENCY])))


def node_status(phase: str, failure: str, engines: Engines | None) -> Status:
    """How the node itself fares.

    Args:
        phase: state of its lifecycle.
        failure: why the last transition failed; empty when it did not.
        engines: what is loaded; None while the node is not configured.
    """
    routes, stand_ins = (engines.routes, engines.stand_ins) if engines else ({}, [])
    values = {"state": phase, "transport_profile": transport.profile_in_force() or "none"}
    if engines:
        values["workers"] = str(engines.workers)
    values |= {f"route_{weather.value}": one.metadata.title for weather, one in routes.items()}
    level = Level.ERROR if failure else Level.WARN if stand_ins else Level.OK
    return Status("node", level, failure or "; ".join(stand_ins) or phase, values)


def rate_hz(times_s: Sequence[float]) -> float:
    """Events per second between the first and the last of them; 0 for fewer than two."""
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return 0.0
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def period_ns(stamps_ns: Sequence[int]) -> float:
    """The camera's period by its stamps, 0 when unknown; right while one gap in four is whole."""
    if len(stamps_ns) < _ENOUGH_STAMPS:
        return 0.0
    return max(0.0, float(np.percentile(np.diff(np.array(stamps_ns, np.int64)), 25)))


def missing_stamps(stamps_ns: Sequence[int]) -> int:
    """How many pictures the stamps say there were between those that came in."""
    period = period_ns(stamps_ns)
    if not period:
        return 0
    steps = np.rint(np.diff(np.array(stamps_ns, np.int64)) / period)
    # a longer pause is a camera that stood still or a bag that jumped, not loss
    return int(np.sum(steps[(steps > 1) & (steps <= _ENOUGH_STAMPS)] - 1))


class Complaints:
    """Says whether a complaint is due: once per cause, and again when it still holds later."""

    def __init__(self, again_after_s: float = 30.0) -> None:
        self._again_after_s = again_after_s
        self._said_s: dict[tuple[str, str], float] = {}

    def due(self, camera: str, cause: str, now_s: float) -> bool:
        """True when this has not been said for a while; it counts as said now."""
        if now_s - self._said_s.get((camera, cause), -math.inf) < self._again_after_s:
            return False
        self._said_s[camera, cause] = now_s
        return True


def _told(condition: Condition) -> str:
    """The weather and why it is that one."""
    if condition.alone:
        return f"{condition.weather.value} (by vote; alone {condition.alone.value})"
    return condition.weather.value + (" (forced)" if condition.forced else "")


def _number(value: float) -> str:
    return f"{value:.2f}"
