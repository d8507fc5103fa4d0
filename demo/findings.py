"""What a drive showed: frames, scores against the truth, routes, latency; as one record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from adverse_perception.frames import Weather
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.report import machine
from adverse_perception.scores import ConfusionMatrix, Latency
from demo.footage import Footage
from demo.record import Moment, Recording

Routes = Sequence[tuple[Weather | None, Weather | None]]
"""True weather and route taken, frame by frame; None where it is not known."""


class Findings:
    """Collects, moment by moment, what `report.json` says at the end."""

    def __init__(self, rate_hz: float) -> None:
        """Start with nothing; `rate_hz` is the rate at which the frames were played."""
        self._rate_hz = rate_hz
        self._routes: list[tuple[Weather | None, Weather | None]] = []
        self._labelled: list[bool] = []
        self._engines: Counter[str] = Counter()
        self._keyframes = 0
        self._stages: dict[str, Latency] = {}
        self._matrices: dict[str, ConfusionMatrix] = {}
        self._size = (0, 0)

    def add(self, moment: Moment) -> None:
        """Count a frame, and score it where its labels and the truth are there."""
        route = moment.condition.weather if moment.condition else None
        self._routes.append((moment.shot.weather, route))
        self._labelled.append(moment.labels is not None)
        self._size = (moment.shot.image.shape[1], moment.shot.image.shape[0])
        if moment.labels is None:
            return
        self._engines[moment.engine] += 1
        self._keyframes += moment.keyframe
        for stage, duration_ms in moment.timing_ms.items():
            self._stages.setdefault(stage, Latency()).add(duration_ms)
        if moment.shot.labels is not None:
            for name in ("all", moment.shot.weather or route):
                if name is not None:
                    matrix = self._matrices.setdefault(_word(name), ConfusionMatrix())
                    matrix.add(moment.labels, moment.shot.labels)

    def record(self, footage: Footage, recording: Recording) -> dict[str, Any]:
        """Everything as a record for JSON; a score of what was never seen is null.

        Args:
            footage: what was played.
            recording: what came back, with its times.
        """
        names = ("all", *(weather.value for weather in Weather))
        return {
            "source": footage.name,
            "rate_hz": self._rate_hz,
            "size": list(self._size),
            "frames": {**self._frames(recording), "unreadable": footage.unreadable},
            "miou": {name: self._miou(name) for name in names},
            "iou": self._iou("all"),
            "iou_by_weather": {name: self._iou(name) for name in names[1:]},
            "routes": _shares([route for _, route in self._routes]),
            "engines": dict(self._engines),
            "keyframes": {
                "count": self._keyframes,
                "share": _rounded(self._keyframes / max(1, sum(self._labelled))),
            },
            "condition": follow(self._routes, self._rate_hz),
            "latency_ms": {
                **latency(recording),
                "stages": {stage: _summary(kept) for stage, kept in self._stages.items()},
            },
            "player": {"late_ms": _percentiles(recording.late_ms)},
            "node": recording.health[-1] if recording.health else {},
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
        }

    def _frames(self, recording: Recording) -> dict[str, Any]:
        published, labelled = len(recording.stamps_ns), sum(self._labelled)
        told = recording.health[-1] if recording.health else {}
        received = int(told.get("received", labelled))
        after = self._labelled[math.ceil(self._rate_hz) :]
        causes = {
            name.removeprefix("dropped_"): int(count)
            for name, count in told.items()
            if name.startswith("dropped_")
        }
        # what the node never saw and does not count as lost: overtaken in its queue of one, or
        # gone before its first or after its last picture
        unseen = published - received - causes.get("lost_in_transport", 0)
        causes["not_received"] = max(0, unseen)
        causes["lost_on_the_way_back"] = max(0, int(told.get("labelled", labelled)) - labelled)
        return {
            "published": published,
            "received": received,
            "labelled": labelled,
            "dropped": published - labelled,
            "dropped_after_first_second": after.count(False),
            "dropped_by_cause": {name: count for name, count in causes.items() if count},
        }

    def _miou(self, name: str) -> float | None:
        return _rounded(self._matrices[name].miou()) if name in self._matrices else None

    def _iou(self, name: str) -> dict[str, float | None]:
        if name not in self._matrices:
            return {}
        return dict(zip(CLASS_NAMES, map(_rounded, self._matrices[name].iou()), strict=True))


def latency(recording: Recording) -> dict[str, Any]:
    """Milliseconds from the image's stamp, which is the moment it was published, to its labels.

    `p50`, `p95`, `p99`: until they were published and had reached this process. `to_publication`:
    until the node's middleware took them, which on a busy machine is long before they are sent.
    """
    arrivals = recording.arrivals.items()
    published = [(arrival.published_ns - stamp) / 1e6 for stamp, arrival in arrivals]
    received = [(arrival.received_ns - stamp) / 1e6 for stamp, arrival in arrivals]
    return {**_percentiles(received), "to_publication": _percentiles(published)}


def follow(routes: Routes, rate_hz: float) -> dict[str, Any]:
    """How the routes followed the weather: share of frames in agreement, delay of every change.

    Args:
        routes: true weather and route of every frame.
        rate_hz: frames per second.

    Returns:
        `agreement` (0 to 1) and `changes`, each with `to`, `at_s` and `delay_s` (null when the
        route never followed); nothing where the truth is not known.
    """
    known = [truth == route for truth, route in routes if truth is not None]
    if not known:
        return {}
    changes = list(_changes(routes, rate_hz))
    return {
        "agreement": round(sum(known) / len(known), 4),
        "route_changes": sum(a[1] != b[1] for a, b in pairwise(routes)),
        "changes": changes,
        "all_followed": all(change["delay_s"] is not None for change in changes),
    }


def _changes(routes: Routes, rate_hz: float) -> Iterator[dict[str, Any]]:
    starts = [n for n in range(1, len(routes)) if routes[n][0] != routes[n - 1][0]]
    for start, end in zip(starts, [*starts[1:], len(routes)], strict=True):
        weather = routes[start][0]
        waited = (n - start for n in range(start, end) if routes[n][1] == weather)
        frames = next(waited, None)
        yield {
            "to": _word(weather) if weather else None,
            "at_s": round(start / rate_hz, 2),
            "delay_s": None if frames is None else round(frames / rate_hz, 2),
        }


def _shares(routes: Sequence[Weather | None]) -> dict[str, float]:
    return {
        weather.value: round(routes.count(weather) / max(1, len(routes)), 4) for weather in Weather
    }


def _percentiles(values_ms: Iterable[float]) -> dict[str, float | None]:
    kept = Latency()
    for value in values_ms:
        kept.add(value)
    return _summary(kept)


def _summary(kept: Latency) -> dict[str, float | None]:
    return {name: _rounded(value, 2) for name, value in kept.summary().items()}


def _rounded(value: float, digits: int = 4) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def _word(name: Weather | str) -> str:
    return name.value if isinstance(name, Weather) else name
