"""What every weather and degradation costs: `python -m benchmarks.synthesis`.

Each is drawn anew for every frame, as in training, on one street of the project's renderer with
its exact depth and labels, on one thread. CPU time is taken, which other programs disturb least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.report import describe, machine
from training.street import View, random_view
from training.synthesis import State, draw, estimate_depth, foggy_cityscapes, render
from training.synthesis.preview import FOGGY, NAMES

WANTED_HZ = 30.0
DEPTH = "estimate_depth"
CODECS = ("jpeg2000",)
"""Held to no rate: the time is OpenJPEG's own."""


@dataclass(frozen=True)
class Cost:
    """CPU time of one effect, drawing included, in milliseconds a frame."""

    name: str
    median_ms: float
    slowest_ms: float
    frames_per_s: float


def measure(name: str, view: View, frames: int) -> Cost:
    """Draw and render as many frames, of all strengths; the first few fill caches."""
    durations_ms = []
    for number in range(-2, frames):
        rng = np.random.default_rng(number + 2)
        strength = max(0, number) / max(1, frames - 1)
        started = time.process_time()
        _show(name, view, rng, strength)
        durations_ms.append((time.process_time() - started) * 1e3)
    median = statistics.median(durations_ms[2:])
    slowest = max(durations_ms[2:])
    return Cost(name, round(median, 2), round(slowest, 2), round(1e3 / max(median, 1e-3), 1))


def _show(name: str, view: View, rng: np.random.Generator, strength: float) -> None:
    if name == DEPTH:
        estimate_depth(view.image, view.labels)
        return
    if name == FOGGY:
        state = State((foggy_cityscapes(view.image, 300.0),))
    else:
        state = draw(name, rng, (strength, strength))
    render(view.image, view.depth_m, state, labels=view.labels)


def main() -> int:
    """Measure and print; the exit status is 1 if an effect is slower than 30 frames a second."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synthesis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--frames", type=int, default=24, help="of each (default 24)")
    parser.add_argument("--size", default="480x360", help="WIDTHxHEIGHT (default 480x360)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = (int(side) for side in arguments.size.split("x"))
    view = random_view(np.random.default_rng(8), (width, height))
    print(describe(machine()))
    print(f"{f'{width}x{height}':24}{'CPU ms':>8}{'slowest':>9}{'frames/s':>10}")
    costs = []
    for name in (DEPTH, *NAMES):
        cost = measure(name, view, arguments.frames)
        costs.append(cost)
        slow = "  slow" if cost.frames_per_s < WANTED_HZ else ""
        print(
            f"{name:24}{cost.median_ms:8.1f}{cost.slowest_ms:9.1f}{cost.frames_per_s:10.0f}{slow}"
        )
    if arguments.json:
        rows = [asdict(cost) for cost in costs]
        record = {"machine": machine(), "size": arguments.size, "costs": rows}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    held = [cost for cost in costs if cost.name not in CODECS]
    return int(any(cost.frames_per_s < WANTED_HZ for cost in held))


if __name__ == "__main__":
    sys.exit(main())
