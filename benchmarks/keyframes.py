"""What key frames save: `python -m benchmarks.keyframes`.

The same drawn drive frame by frame through three segmenters in turns: one runs the whole network
every time, one carries key frames on and corrects them, one carries them on by flow alone. Wall
time of a whole frame, from picture to labels, for every size, runtime and number of cores. Another
program on the machine slows all.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adverse_perception import kernels
from adverse_perception.config import PipelineConfig
from adverse_perception.files import write_json
from adverse_perception.frames import Condition, Frame, UInt8Array, Weather
from adverse_perception.inference import Engine, EngineError, engines_folder, load_engine
from adverse_perception.keyframes import KeyframeSegmenter
from adverse_perception.report import describe, machine, table
from adverse_perception.segmenters import EngineSegmenter, Segmenter
from training.drive import Drive

_SIZES = ((480, 360), (1024, 512))
_BACKENDS = ("onnxruntime", "openvino")
_RATE_HZ = 15.0
_SEED = 101
_BEFORE = 10
"""Frames that go through first and are not timed."""
_COLUMNS = (
    "size",
    "runtime",
    "cores",
    "every frame, mean ms",
    "p95",
    "with key frames, mean ms",
    "p95",
    "key frame, p95",
    "between, mean",
    "times faster",
    "flow only, mean",
    "times faster",
)


def pictures(size: tuple[int, int], count: int) -> Iterator[UInt8Array]:
    """A drawn drive in clear weather, (H, W, 3) uint8 RGB of a (width, height)."""
    drive = Drive.draw(_SEED, size)
    for number in range(count):
        yield drive.street.render(2.0 + number / _RATE_HZ, 1 / _RATE_HZ).image


def timed(segmenter: Segmenter, frame: Frame) -> tuple[float, bool]:
    """Milliseconds for a frame, and whether it was a key frame."""
    started = time.perf_counter()
    said = segmenter.segment(frame, Condition(Weather.CLEAR))
    return (time.perf_counter() - started) * 1e3, said.keyframe


def played(backend: str, cores: int, frames: list[Frame], interval: int) -> dict[str, Any]:
    """Both segmenters over the frames, in turns, on so many cores."""
    folder = engines_folder()
    clear, correction = (
        load_engine(folder / f"{name}.onnx", backend=backend, threads=cores)
        for name in ("clear", "correction")
    )
    settings = PipelineConfig(keyframe_interval=interval)
    every, some = EngineSegmenter(clear), KeyframeSegmenter(clear, correction, settings)
    flow = KeyframeSegmenter(clear, None, settings)
    whole, mixed, bare = [], [], []
    for frame in frames:
        whole.append(timed(every, frame)[0])
        mixed.append(timed(some, frame))
        bare.append(timed(flow, frame)[0])
    whole, mixed, bare = whole[_BEFORE:], mixed[_BEFORE:], bare[_BEFORE:]
    times = [duration for duration, _ in mixed]
    key = [duration for duration, keyframe in mixed if keyframe]
    between = [duration for duration, keyframe in mixed if not keyframe]
    return {
        "whole_mean": float(np.mean(whole)),
        "whole_p95": float(np.percentile(whole, 95)),
        "mixed_mean": float(np.mean(times)),
        "mixed_p95": float(np.percentile(times, 95)),
        "key_p95": float(np.percentile(key, 95)),
        "between_mean": float(np.mean(between)),
        "faster": float(np.mean(whole) / np.mean(times)),
        "flow_mean": float(np.mean(bare)),
        "flow_faster": float(np.mean(whole) / np.mean(bare)),
    }


def overlapped(backend: str, frames: list[Frame]) -> dict[str, float]:
    """What if the key network ran on a second core while the first goes on with the steps?

    Then no frame would wait for it: the longest latency would be a step's, and the result of a key
    frame would be as many frames old as the network takes.
    """
    cv2.setNumThreads(1)  # its threads are pinned to no core
    folder, cores = engines_folder(), sorted(os.sched_getaffinity(0))
    clear, correction = (
        load_engine(folder / f"{name}.onnx", backend=backend) for name in ("clear", "correction")
    )
    settings = PipelineConfig(keyframe_interval=len(frames) + 1)
    times: dict[str, list[float]] = {}
    over = threading.Event()
    for name, beside in (("alone", False), ("beside", True)):
        segmenter = KeyframeSegmenter(clear, correction, settings)
        segmenter.segment(frames[0], Condition(Weather.CLEAR))
        taken: list[float] = times.setdefault("key", [])
        other = threading.Thread(
            target=_run_on, args=(clear, frames[0], cores[1], over, taken), daemon=True
        )
        if beside:
            other.start()
        os.sched_setaffinity(0, cores[:1])
        times[name] = [timed(segmenter, frame)[0] for frame in frames[1:]]
        os.sched_setaffinity(0, cores)
    over.set()
    other.join()
    return {
        "alone_p95": float(np.percentile(times["alone"], 95)),
        "beside_p95": float(np.percentile(times["beside"], 95)),
        "key_p95": float(np.percentile(times["key"], 95)),
    }


def _run_on(
    engine: Engine, frame: Frame, core: int, over: threading.Event, taken: list[float]
) -> None:
    """Run the key network again and again on one core; the affinity is the thread's own."""
    os.sched_setaffinity(0, [core])
    segmenter = EngineSegmenter(engine)
    while not over.is_set():
        taken.append(timed(segmenter, frame)[0])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.keyframes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=80, help="frames timed (default 80)")
    parser.add_argument("--interval", type=int, default=5, help="of the key frames (default 5)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    kernels.warm_up()
    able = sorted(os.sched_getaffinity(0))
    records: list[dict[str, Any]] = []
    for size in _SIZES:
        images = list(pictures(size, asked.frames + _BEFORE))
        frames = [
            Frame(image, round(number * 1e9 / _RATE_HZ)) for number, image in enumerate(images)
        ]
        for backend in _BACKENDS:
            for cores in (1, 2):
                if cores > len(able):
                    continue
                os.sched_setaffinity(0, able[:cores])
                cv2.setNumThreads(cores)
                try:
                    found = played(backend, cores, frames, asked.interval)
                except EngineError as error:
                    print(f"left out: {error}")
                    continue
                place = {"size": f"{size[0]}x{size[1]}", "backend": backend, "cores": cores}
                records.append({**place, **found})
    os.sched_setaffinity(0, able)
    print(table(_COLUMNS, [tuple(record.values()) for record in records]))
    print(f"\ninterval {asked.interval}; {describe(machine())}")
    beside = overlapped(_BACKENDS[0], frames) if records and len(able) > 1 else {}
    if beside:
        print(
            f"\nthe key network on a second core, {_BACKENDS[0]}, {size[0]}x{size[1]}: p95 of a"
            f" step {beside['beside_p95']:.1f} ms beside it, {beside['alone_p95']:.1f} ms without;"
            f" its result is {beside['key_p95']:.0f} ms old when it comes"
        )
    if asked.json:
        found = {"rows": records, "overlapped": beside, "machine": machine()}
        record = {"interval": asked.interval, **found}
        write_json(asked.json, record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
