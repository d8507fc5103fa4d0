"""What came back from the node: kept as it arrives, looked at when the drive is over."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.files import explained
from adverse_perception.frames import Condition, UInt8Array, Weather
from demo.footage import Shot

_ERROR = b"\x02"  # DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Arrival:
    """One label image that came back.

    Attributes:
        offset: where its bytes lie in the spool.
        height: rows.
        width: columns.
        published_ns: when the node's middleware sent it, wall clock.
        received_ns: when it arrived on this side, wall clock.
    """

    offset: int
    height: int
    width: int
    published_ns: int
    received_ns: int


@dataclass(frozen=True)
class Moment:
    """One frame of the drive, with what is true and what the node said.

    Attributes:
        number: 0 for the first frame.
        time_s: seconds since the first frame was due.
        shot: what was played.
        labels: (H, W) uint8 class ids from the node; None when the frame was dropped.
        condition: what the node said of the frame, or of the latest one before it.
        engine: name of the engine that labelled it.
        timing_ms: how long each stage took in the node, by name.
        keyframe: the whole network ran on it.
    """

    number: int
    time_s: float
    shot: Shot
    labels: UInt8Array | None = None
    condition: Condition | None = None
    engine: str = ""
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    keyframe: bool = True


class Recording:
    """Collects frames out and results in; label bytes go to a nameless file beside the report.

    Attributes:
        stamps_ns: header stamp of every published frame, in order, wall clock.
        late_ms: how much after its due time each frame was published.
        weathers: true condition of each, None where it is not known.
        arrivals: label images by the stamp of their frame.
        health: values of the camera's diagnostic status, one record a second.
        failure: what the latest diagnostics say is broken, empty when nothing is.
    """

    def __init__(self, folder: Path) -> None:
        """Keep label bytes in `folder` until the recording is closed.

        Raises:
            FileError: nothing can be written there.
        """
        self.stamps_ns = array("q")
        self.late_ms = array("d")
        self.weathers: list[Weather | None] = []
        self.arrivals: dict[int, Arrival] = {}
        self.health: list[dict[str, str]] = []
        self.failure = ""
        self._conditions: list[str] = []
        self._folder = folder
        with explained(folder):
            self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (see close)
        self._end = 0

    def close(self) -> None:
        """Give the label bytes away."""
        self._spool.close()

    def on_published(self, shot: Shot, stamp_ns: int, late_ms: float) -> None:
        """Note a frame that went out."""
        self.weathers.append(shot.weather)
        self.stamps_ns.append(stamp_ns)
        self.late_ms.append(late_ms)

    def on_labels(self, message: Any, info: dict[str, int]) -> None:
        """Keep a label image; only bytes are moved here, the drive is still running."""
        stamp_ns = _stamp_ns(message.header.stamp)
        with explained(self._folder):
            self._spool.write(message.data)
        self.arrivals[stamp_ns] = Arrival(
            self._end,
            message.height,
            message.width,
            info["source_timestamp"],
            info["received_timestamp"],
        )
        self._end += len(message.data)

    def on_condition(self, message: Any) -> None:
        """Keep what the node says about the weather, unread."""
        self._conditions.append(message.data)

    def on_diagnostics(self, message: Any) -> None:
        """Keep the values of the status that counts the camera's frames, and what is broken."""
        broken = (status.message for status in message.status if status.level == _ERROR)
        self.failure = next(broken, "")
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if "received" in values:
                self.health.append({"message": status.message, **values})

    def has_last(self) -> bool:
        """Whether the label image of the frame published last is here."""
        return bool(self.stamps_ns) and self.stamps_ns[-1] in self.arrivals

    def is_counted(self) -> bool:
        """Whether the latest diagnostics count every label image that is here."""
        return bool(self.health) and int(self.health[-1]["labelled"]) >= len(self.arrivals)

    def moments(self, shots: Iterable[Shot], rate_hz: float) -> Iterator[Moment]:
        """Lay what came back beside what was played, frame by frame.

        Args:
            shots: the played shots once more, in the same order.
            rate_hz: frames per second at which they were played.
        """
        said = {_stamp_ns_told(words): words for words in map(json.loads, self._conditions)}
        condition = None
        for number, (shot, stamp_ns) in enumerate(zip(shots, self.stamps_ns, strict=False)):
            words = said.get(stamp_ns, {})
            condition = _condition(words) if words else condition
            yield Moment(
                number,
                number / rate_hz,
                shot,
                self._labels(stamp_ns),
                condition,
                words.get("engine", ""),
                words.get("timing_ms", {}),
                bool(words.get("keyframe", True)),
            )

    def _labels(self, stamp_ns: int) -> UInt8Array | None:
        arrival = self.arrivals.get(stamp_ns)
        if arrival is None:
            return None
        self._spool.seek(arrival.offset)
        data = self._spool.read(arrival.height * arrival.width)
        return np.frombuffer(data, np.uint8).reshape(arrival.height, arrival.width)


def _stamp_ns(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _stamp_ns_told(words: Mapping[str, Any]) -> int:
    return int(words["stamp"]["sec"]) * 10**9 + int(words["stamp"]["nanosec"])


def _condition(words: Mapping[str, Any]) -> Condition:
    scores = {Weather(name): float(score) for name, score in words["scores"].items()}
    return Condition(Weather(words["weather"]), scores, bool(words["forced"]))
