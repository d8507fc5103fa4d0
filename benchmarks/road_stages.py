"""Every stage of a frame's road without ROS: from a picture message to the messages to publish.

A drawn street at three sizes down the routes: clear with key frames and the frames between, rain
(the joint engine) and night. One thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import cv2

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import open_pipeline
from adverse_perception.frames import Segmentation, UInt8Array
from adverse_perception.messages import fill_image, to_frame
from adverse_perception.pipeline import Pipeline
from adverse_perception.report import table
from adverse_perception.scores import Latency
from benchmarks.asked import Asked, progress
from benchmarks.street_pictures import CAMERA_SIZES, RATE_HZ, street

_ROUTES = ("auto", "rain", "night")
_WARM_UP = 3


def measure(asked: Asked) -> dict[str, Any]:
    """Time the stages; durations in milliseconds of wall time."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as the node does
    sizes, routes = (CAMERA_SIZES[:1], _ROUTES[:1]) if asked.quick else (CAMERA_SIZES, _ROUTES)
    frames = 6 if asked.quick else 60
    plan = [(size, route) for size in sizes for route in routes]
    try:
        rows = [
            row
            for size, route in progress(plan, "stages", "road")
            for row in _driven(asked, size, route, frames)
        ]
    finally:
        cv2.setNumThreads(threads)
    return {"rows": rows}


def told(record: Mapping[str, Any]) -> str:
    """One line for each size, route and kind of frame; stages beside each other."""
    stages = list(dict.fromkeys(name for row in record["rows"] for name in row["stages_ms"]))
    rows = [
        (
            row["size"],
            row["route"],
            row["engine"],
            "key" if row["keyframe"] else "between",
            *(_short(row["stages_ms"].get(stage)) for stage in stages),
        )
        for row in record["rows"]
    ]
    header = ("size", "route", "engine", "frame", *stages)
    return f"p50 / p95, ms\n{table(header, rows)}"


def _driven(asked: Asked, size: tuple[int, int], route: str, count: int) -> list[dict[str, Any]]:
    config = PipelineConfig(engines_folder=asked.engines, condition=route, threads=1)
    pipeline, pictures = open_pipeline(config), street(size)
    kept: dict[tuple[str, bool], dict[str, Latency]] = {}
    for number in range(count + _WARM_UP):
        times, said = _one(pipeline, pictures[number % len(pictures)], number)
        if number < _WARM_UP:
            continue
        stages = kept.setdefault((said.engine, said.keyframe), {})
        for stage, duration_ms in times.items():
            stages.setdefault(stage, Latency()).add(duration_ms)
    return [
        {
            "size": f"{size[0]}x{size[1]}",
            "route": route,
            "engine": engine,
            "keyframe": keyframe,
            "frames": len(stages["all"]),
            "stages_ms": {name: _rounded(kept.summary()) for name, kept in stages.items()},
        }
        for (engine, keyframe), stages in kept.items()
    ]


def _one(
    pipeline: Pipeline, picture: UInt8Array, number: int
) -> tuple[dict[str, float], Segmentation]:
    message = _message(picture, round(number * 1e9 / RATE_HZ))
    begun = time.perf_counter()
    frame = to_frame(message)
    decoded = time.perf_counter()
    said = pipeline.process(frame)
    processed = time.perf_counter()
    for drawn in (said.labels, said.confidence):
        fill_image(SimpleNamespace(data=b""), drawn, "mono8", message.header)
    ended = time.perf_counter()
    times = {"decode": (decoded - begun) * 1e3, **said.timing_ms}
    times["fill"] = (ended - processed) * 1e3
    return times | {"all": (ended - begun) * 1e3}, said


def _message(picture: UInt8Array, stamp_ns: int) -> SimpleNamespace:
    """As a sensor_msgs/Image has it."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id="camera"),
        height=picture.shape[0],
        width=picture.shape[1],
        step=picture.shape[1] * 3,
        encoding="rgb8",
        is_bigendian=0,
        data=picture.tobytes(),
    )


def _rounded(times: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in times.items()}


def _short(times: Mapping[str, float] | None) -> str | None:
    return f"{times['p50']:.2f} / {times['p95']:.2f}" if times else None
