"""What a run found, as one record: frames, routes, scores, latency, and the machine it ran on."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception import __version__
from adverse_perception.files import write_json
from adverse_perception.frames import Segmentation, UInt8Array, Weather
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.scores import ConfusionMatrix, Latency

ALL, KEYFRAME, BETWEEN = "all", "key frame", "between"
"""Kinds of frames: any; those the whole network ran on; those a key frame was carried on to."""
PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "numba",
    "rosbags",
    "ros-rclpy",
)
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "amx_bf16", "asimd", "sve")


class Report:
    """Collects, frame by frame, what `report.json` says at the end."""

    def __init__(self, source: str) -> None:
        """Start with no frames; `source` is what is being read or listened to."""
        self.source = source
        self.frames: Counter[str] = Counter(read=0, labelled=0)
        self.dropped: Counter[str] = Counter()
        self.details: dict[str, Any] = {}  # what one kind of run says beyond the rest
        self._routes: Counter[str] = Counter()
        self._engines: Counter[str] = Counter()
        self._latency: dict[str, Latency] = {}
        self._matrices: dict[str, ConfusionMatrix] = {}
        self._durations_ms: defaultdict[str, list[float]] = defaultdict(list)  # by kind
        self._distortions: list[float] = []

    def add(self, segmentation: Segmentation, truth: UInt8Array | None = None) -> None:
        """Count a labelled frame; score it against its true labels where there are some.

        Args:
            segmentation: what the pipeline said.
            truth: (H, W) uint8 true class ids, 255 = ignore.
        """
        self.frames["labelled"] += 1
        route = segmentation.condition.weather
        self._routes[route.value] += 1
        self._engines[segmentation.engine] += 1
        for stage, duration_ms in segmentation.timing_ms.items():
            self.add_latency(stage, duration_ms)
        self._add_kind(segmentation)
        if truth is not None:
            self.score(segmentation.labels, truth, route)

    def score(self, labels: UInt8Array, truth: UInt8Array, weather: Weather | str) -> None:
        """Score (H, W) uint8 labels against true ones, counted under a weather and under `all`."""
        for key in ("all", Weather(weather).value):
            self._matrices.setdefault(key, ConfusionMatrix()).add(labels, truth)

    def add_latency(self, stage: str, duration_ms: float) -> None:
        """Note how long a stage took for one frame."""
        self._latency.setdefault(stage, Latency()).add(duration_ms)

    def record(self) -> dict[str, Any]:
        """Everything as a record for JSON; a score of what was never seen is null."""
        labelled = sum(self._routes.values())
        return {
            "source": self.source,
            "frames": {
                **self.frames,
                "dropped": self.dropped.total(),
                "causes": dict(self.dropped),
            },
            "routes": {
                weather.value: _rounded(self._routes[weather.value] / max(labelled, 1))
                for weather in Weather
            },
            "engines": dict(self._engines),
            "latency_ms": {stage: _percentiles(kept) for stage, kept in self._latency.items()},
            "keyframes": self._keyframes(),
            "miou": self._mious(),
            "iou": self._ious(),
            **self.details,
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
        }

    def write(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all. Raises `FileError`."""
        write_json(path, self.record())

    def _add_kind(self, segmentation: Segmentation) -> None:
        for kind in (ALL, KEYFRAME if segmentation.keyframe else BETWEEN):
            self._durations_ms[kind].append(sum(segmentation.timing_ms.values()))
        if segmentation.distortion is not None:
            self._distortions.append(segmentation.distortion)

    def _keyframes(self) -> dict[str, Any]:
        """How many frames were key frames, how distorted the rest, how long each kind takes."""
        count = len(self._durations_ms[KEYFRAME])
        return {
            "count": count,
            "share": _rounded(count / max(len(self._durations_ms[ALL]), 1)),
            "distortion": _shares(self._distortions),
            "latency_ms": {
                kind: _summary_ms(durations)
                for kind, durations in self._durations_ms.items()
                if durations
            },
        }

    def _mious(self) -> dict[str, float | None]:
        keys = ("all", *(weather.value for weather in Weather))
        return {
            key: _rounded(self._matrices[key].miou()) if key in self._matrices else None
            for key in keys
        }

    def _ious(self) -> dict[str, float | None]:
        if "all" not in self._matrices:
            return {}
        return dict(zip(CLASS_NAMES, map(_rounded, self._matrices["all"].iou()), strict=True))


def machine() -> dict[str, Any]:
    """Describe the machine, so that a figure can be compared: processor, cores, versions."""
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cpu_features": _cpu_features(),
        "cores": _usable_cores(),
        "memory_gb": _memory_gb(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "adverse_perception": __version__,
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def describe(described: Mapping[str, Any]) -> str:
    """Say a machine in one line: `Intel Xeon, 2 cores, 7.8 GB, Python 3.11.2`."""
    return (
        f"{described['cpu']}, {described['cores']} cores, {described['memory_gb']} GB, "
        f"Python {described['python']}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay rows out in columns; None is written as a dash, a float with three digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def summary(record: Mapping[str, Any]) -> str:
    """Say the record of a `Report` in a few lines for the terminal."""
    frames = ", ".join(
        f"{count} {name}" for name, count in record["frames"].items() if name != "causes"
    )
    latency, mious = record["latency_ms"], record["miou"]
    parts = [f"frames: {frames}"]
    parts += [
        table(
            ("route", "share", "mIoU"),
            [(name, share, mious[name]) for name, share in record["routes"].items()],
        )
    ]
    if mious["all"] is not None:
        parts.append(f"mIoU of all labelled frames: {mious['all']:.4f}")
    if latency:
        rows = [(name, *times.values()) for name, times in latency.items()]
        parts.append(table(("stage, ms", "p50", "p95", "p99"), rows))
    parts += _told_kinds(record["keyframes"])
    parts.append(describe(record["machine"]))
    return "\n\n".join(parts)


def _told_kinds(keyframes: Mapping[str, Any]) -> list[str]:
    """Key frames and the frames between, where there are both."""
    latency = keyframes["latency_ms"]
    if BETWEEN not in latency:
        return []
    distortion = keyframes["distortion"]
    said = "" if distortion is None else f", mean distortion {distortion['p50']:.3f} (p50)"
    rows = [(kind, *times.values()) for kind, times in latency.items()]
    return [
        f"key frames: {keyframes['count']}, share {keyframes['share']:.3f}{said}",
        table(("whole frame, ms", "mean", "p50", "p95", "p99"), rows),
    ]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _percentiles(latency: Latency) -> dict[str, float]:
    return {name: round(value, 3) for name, value in latency.summary().items()}


def _summary_ms(durations_ms: Sequence[float]) -> dict[str, float]:
    latency = Latency()
    for duration_ms in durations_ms:
        latency.add(duration_ms)
    return {"mean": round(float(np.mean(durations_ms)), 3), **_percentiles(latency)}


def _shares(distortions: Sequence[float]) -> dict[str, float] | None:
    if not distortions:
        return None
    median, high = np.percentile(distortions, (50, 95))
    return {"p50": round(float(median), 4), "p95": round(float(high), 4)}


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)


def _cpu_model() -> str:
    lines = _cpu_lines("model name") or _cpu_lines("Model")
    return lines or platform.processor() or platform.machine()


def _cpu_features() -> list[str]:
    flags = (_cpu_lines("flags") or _cpu_lines("Features")).split()
    return [feature for feature in CPU_FEATURES if feature in flags]


def _cpu_lines(key: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _usable_cores() -> int:
    # a container or taskset may leave fewer than the machine has
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return None


def _version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None
