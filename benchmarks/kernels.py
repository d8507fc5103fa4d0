"""What labelling costs, beside the usual ways of doing it: `python -m benchmarks.kernels`.

Every way gets the same logits in the same run on one thread, and its CPU time is taken, which
other programs disturb least: smooth regions with borders, as a
network gives them, with the share of disagreeing cells printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels import label
from adverse_perception.report import describe, machine

try:
    import torch
except ImportError:  # the vehicle has none
    torch = None  # type: ignore[assignment]

Labeller = Callable[[Float32Array, int, int], UInt8Array]
_SIZES = ((11, 360, 480), (11, 512, 1024), (19, 512, 1024), (11, 1024, 2048))
"""Classes, height and width of the pictures."""
_REGION = 20
"""Side of a region in logits: at this, an eighth of the cells disagree, as on streets."""


@dataclass(frozen=True)
class Timing:
    """One way of labelling at one size; durations in milliseconds of CPU time."""

    way: str
    classes: int
    height: int
    width: int
    disagreeing_cells: float
    median_ms: float
    best_ms: float
    wrong_pixels: int


def street_like(classes: int, height: int, width: int) -> Float32Array:
    """Smooth random logits, (classes, height, width) float32, deterministic."""
    generator = np.random.default_rng(0)
    coarse = generator.normal(0, 6, (classes, height // _REGION, width // _REGION))
    planes = [cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.stack(planes).astype(np.float32)


def disagreeing_cells(logits: Float32Array) -> float:
    """Share of cells whose four corners differ in class, 0 to 1."""
    winner = logits.argmax(axis=0)
    corners = (winner[:-1, :-1], winner[:-1, 1:], winner[1:, :-1], winner[1:, 1:])
    return float(1 - np.logical_and.reduce([corners[0] == one for one in corners[1:]]).mean())


def by_kernel(logits: Float32Array, height: int, width: int) -> UInt8Array:
    """Ours; it gives the confidence too, the others do not."""
    return label(logits, height, width)[0]


def by_opencv(logits: Float32Array, height: int, width: int) -> UInt8Array:
    """`cv2.resize` of every class, then argmax."""
    planes = np.stack([cv2.resize(plane, (width, height)) for plane in logits])
    return np.asarray(planes.argmax(axis=0), np.uint8)


def by_torch(logits: Float32Array, height: int, width: int) -> UInt8Array:
    """`interpolate` and argmax: the reference every pixel is compared with."""
    large = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], (height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(large[0].argmax(0).numpy(), np.uint8)


def measure(way: str, labeller: Labeller, logits: Float32Array, size: tuple[int, int]) -> Timing:
    """Time one way until the median is steady enough to print."""
    height, width = size
    reference = by_opencv if torch is None else by_torch
    wrong = int((labeller(logits, height, width) != reference(logits, height, width)).sum())
    durations_ms = []
    for _ in range(15):
        started = time.process_time()
        labeller(logits, height, width)
        durations_ms.append((time.process_time() - started) * 1e3)
    return Timing(
        way,
        len(logits),
        height,
        width,
        round(disagreeing_cells(logits), 4),
        round(statistics.median(durations_ms), 3),
        round(min(durations_ms), 3),
        wrong,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    ways: dict[str, Labeller] = {"kernel": by_kernel, "opencv": by_opencv}
    cv2.setNumThreads(1)
    if torch is not None:
        torch.set_num_threads(1)
        ways["torch"] = by_torch
    timings = []
    print(describe(machine()))
    print(f"{'way':8} {'classes':>7} {'picture':>10} {'cells':>6} {'CPU ms':>10} {'wrong':>6}")
    for classes, height, width in _SIZES:
        logits = street_like(classes, height // 4, width // 4)
        for way, labeller in ways.items():
            one = measure(way, labeller, logits, (height, width))
            timings.append(one)
            print(
                f"{way:8} {classes:7} {f'{width}x{height}':>10} {one.disagreeing_cells:6.1%}"
                f" {one.median_ms:10.2f} {one.wrong_pixels:6}"
            )
    if arguments.json:
        record = {"machine": machine(), "timings": [asdict(one) for one in timings]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
