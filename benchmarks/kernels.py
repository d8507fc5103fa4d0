"""What the kernels cost on the CPU, beside the usual ways: `python -m benchmarks.kernels`.

Every way gets the same arrays in the same run on one thread, and its CPU time is taken, which
other programs disturb least: smooth regions with borders, as a network gives them, and an eighth
of the points with another class in the correction. The share of cells whose corners disagree is
printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels import correct_and_label, label, resize, warp
from adverse_perception.report import describe, machine

try:
    import torch
except ImportError:  # the vehicle has none
    torch = None  # type: ignore[assignment]

_SIZES = ((11, 360, 480), (11, 720, 1280), (11, 512, 1024), (19, 512, 1024), (11, 1024, 2048))
"""Classes, height and width of the pictures."""
_REGION = 20
"""Side of a region in logits: at this, an eighth of the cells disagree, as on streets."""
_SMALLER = 0.52
"""Side of the smaller picture by the larger one's: 1280x720 to the area of the shipped engines."""
_CORRECTION = 0.15
"""Of the logits' size: at this, an eighth of the points has another class in the correction."""


@dataclass(frozen=True)
class Case:
    """Warped logits and their correction (K, h, w), distortion (h, w), flow (h, w, 2), float32.

    The picture is (height, width, 3) uint8; smaller is the size it is brought to.
    """

    picture: UInt8Array
    smaller: tuple[int, int]
    warped: Float32Array
    correction: Float32Array
    distortion: Float32Array
    flow: Float32Array
    height: int
    width: int


Way = Callable[[Case], NDArray[Any]]


@dataclass(frozen=True)
class Timing:
    """One way of doing one task at one size; durations in milliseconds of CPU time."""

    task: str
    way: str
    classes: int
    height: int
    width: int
    disagreeing_cells: float
    median_ms: float
    best_ms: float
    wrong: int


def street_like(classes: int, height: int, width: int) -> Float32Array:
    """Smooth random logits, (classes, height, width) float32, deterministic."""
    generator = np.random.default_rng(0)
    coarse = generator.normal(0, 6, (classes, height // _REGION, width // _REGION))
    planes = [cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.stack(planes).astype(np.float32)


def draw(classes: int, height: int, width: int) -> Case:
    """Everything a frame between key frames needs, at a quarter of the picture's size."""
    shape = height // 4, width // 4
    drawn = street_like(2 * classes + 3, *shape)
    warped, other, (distortion, u, v) = np.split(drawn, [classes, 2 * classes])
    return Case(
        np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8),
        (round(height * _SMALLER), round(width * _SMALLER)),
        warped,
        warped + _CORRECTION * other,
        np.clip(distortion / 10, 0, 1),
        np.stack([u, v], axis=-1),
        height,
        width,
    )


def disagreeing_cells(*sets: Float32Array) -> float:
    """Share of cells whose four corners differ in class, in one set or between two, 0 to 1."""
    winners = [logits.argmax(axis=0) for logits in sets]
    corners = [
        winner[rows, columns]
        for winner in winners
        for rows in (slice(None, -1), slice(1, None))
        for columns in (slice(None, -1), slice(1, None))
    ]
    return float(1 - np.logical_and.reduce([corners[0] == one for one in corners[1:]]).mean())


def label_by_kernel(case: Case) -> UInt8Array:
    """Ours; it gives the confidence too, the others do not."""
    return label(case.warped, case.height, case.width)[0]


def label_by_opencv(case: Case) -> UInt8Array:
    """`cv2.resize` of every class, then argmax."""
    return np.asarray(_resized(case.warped, case).argmax(axis=0), np.uint8)


def label_by_torch(case: Case) -> UInt8Array:
    """`interpolate` and argmax: the reference every pixel is compared with."""
    return np.asarray(_interpolated(case.warped, case).argmax(0).numpy(), np.uint8)


def correct_by_kernel(case: Case) -> UInt8Array:
    """Ours, with the confidence."""
    arrays = case.warped, case.correction, case.distortion
    return correct_and_label(*arrays, case.height, case.width)[0]


def correct_by_opencv(case: Case) -> UInt8Array:
    """`cv2.resize` of every class twice and of the distortion, blend, argmax."""
    share = _resized(case.distortion[np.newaxis], case)
    large = (1 - share) * _resized(case.warped, case) + share * _resized(case.correction, case)
    return np.asarray(large.argmax(axis=0), np.uint8)


def correct_by_torch(case: Case) -> UInt8Array:
    """`interpolate` three times, blend, argmax."""
    share = _interpolated(case.distortion[np.newaxis], case)
    warped, correction = (_interpolated(one, case) for one in (case.warped, case.correction))
    large = (1 - share) * warped + share * correction
    return np.asarray(large.argmax(0).numpy(), np.uint8)


def shrink_by_kernel(case: Case) -> UInt8Array:
    """Ours, exact."""
    return resize(case.picture, *case.smaller)


def shrink_by_opencv(case: Case) -> UInt8Array:
    """`cv2.resize` with INTER_AREA, off by one grey value at most."""
    size = case.smaller[::-1]
    return np.asarray(cv2.resize(case.picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def warp_by_kernel(case: Case) -> Float32Array:
    """Ours."""
    return warp(case.warped, case.flow)


def warp_by_opencv(case: Case) -> Float32Array:
    """`cv2.remap` in groups of four planes, its fastest."""
    rows, columns = np.indices(case.distortion.shape, np.float32)
    place = np.stack([columns, rows], axis=-1) + case.flow
    warped = np.empty_like(case.warped)
    for first in range(0, len(warped), 4):
        group = cv2.merge(list(case.warped[first : first + 4]))
        moved = cv2.remap(group, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        warped[first : first + 4] = np.atleast_3d(moved).transpose(2, 0, 1)
    return warped


def warp_by_torch(case: Case) -> Float32Array:
    """`grid_sample`, clamped to the border."""
    height, width = case.distortion.shape
    rows, columns = np.indices((height, width), np.float32)
    place = 2 * (np.stack([columns, rows], axis=-1) + case.flow)
    scale = np.array([width - 1, height - 1], np.float32)
    grid = torch.from_numpy(place / scale - 1)[None]
    planes = torch.from_numpy(case.warped)[None]
    moved = torch.nn.functional.grid_sample(
        planes, grid, padding_mode="border", align_corners=True
    )
    return np.asarray(moved[0].numpy(), np.float32)


def _resized(planes: Float32Array, case: Case) -> Float32Array:
    return np.stack([cv2.resize(plane, (case.width, case.height)) for plane in planes])


def _interpolated(planes: Float32Array, case: Case) -> torch.Tensor:
    large = torch.nn.functional.interpolate(
        torch.from_numpy(planes)[None],
        (case.height, case.width),
        mode="bilinear",
        align_corners=False,
    )
    return large[0]


def differences(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Labels that differ, or values by more than rounding can."""
    if one.ndim == 3 and one.dtype == np.uint8:
        return int((np.abs(one.astype(int) - other) > 1).sum())
    if one.dtype == np.uint8:
        return int((one != other).sum())
    return int((np.abs(one - other) > 1e-3 * np.abs(other).max()).sum())


def measure(task: str, way: str, reference: NDArray[Any], case: Case) -> Timing:
    """Time one way until the median is steady enough to print."""
    work = TASKS[task][way]
    wrong = differences(work(case), reference)
    durations_ms = []
    for _ in range(15):
        started = time.process_time()
        work(case)
        durations_ms.append((time.process_time() - started) * 1e3)
    sets = (case.warped, case.correction)[: 2 if task == "correct" else 1]
    return Timing(
        task,
        way,
        len(case.warped),
        case.height,
        case.width,
        round(disagreeing_cells(*sets), 4),
        round(statistics.median(durations_ms), 3),
        round(min(durations_ms), 3),
        wrong,
    )


TASKS: dict[str, dict[str, Way]] = {
    "label": {"kernel": label_by_kernel, "opencv": label_by_opencv, "torch": label_by_torch},
    "correct": {
        "kernel": correct_by_kernel,
        "opencv": correct_by_opencv,
        "torch": correct_by_torch,
    },
    "warp": {"kernel": warp_by_kernel, "opencv": warp_by_opencv, "torch": warp_by_torch},
    "shrink": {"kernel": shrink_by_kernel, "opencv": shrink_by_opencv},
}
"""Ways of doing every task; the last that is installed is what the others are compared with."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if torch is None:
        for ways in TASKS.values():
            ways.pop("torch", None)
    else:
        torch.set_num_threads(1)
    timings = []
    print(describe(machine()))
    print(f"{'task':8} {'way':8} {'classes':>7} {'picture':>10} {'cells':>6} {'CPU ms':>10} wrong")
    for size in _SIZES:
        case = draw(*size)
        for task, ways in TASKS.items():
            reference = list(ways.values())[-1](case)
            for way in ways:
                one = measure(task, way, reference, case)
                timings.append(one)
                print(
                    f"{task:8} {way:8} {one.classes:7} {f'{one.width}x{one.height}':>10}"
                    f" {one.disagreeing_cells:6.1%} {one.median_ms:10.2f} {one.wrong:5}"
                )
    if arguments.json:
        record = {"machine": machine(), "timings": [asdict(one) for one in timings]}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
