"""Inputs that every implementation of a kernel is held to, drawn the same on every run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array

EVERY_CLASS_COUNT = range(2, 33)
_GRIDS = ((1, 1), (1, 7), (5, 1), (3, 4), (8, 13), (17, 31), (33, 20))
_SCALES = ((4, 4), (1, 1), (3, 5), (7, 2))


@dataclass(frozen=True)
class WarpCase:
    """Planes (C, h, w) float32 and the flow (h, w, 2) float32 they are to follow."""

    name: str
    planes: Float32Array
    flow: Float32Array


@dataclass(frozen=True)
class LabelCase:
    """Two sets of logits (K, h, w), the distortion (h, w), float32, and the picture's size."""

    name: str
    warped: Float32Array
    correction: Float32Array
    distortion: Float32Array
    height: int
    width: int

    @property
    def inputs(self) -> tuple[Float32Array, Float32Array, Float32Array, int, int]:
        return self.warped, self.correction, self.distortion, self.height, self.width


def warp_cases() -> Iterator[WarpCase]:
    """Odd sizes; flows within, outside, far outside, of whole pixels, and not numbers at all."""
    for number, (height, width) in enumerate(_GRIDS):
        generator = np.random.default_rng(number)
        planes = _drawn(generator, (number * 5 % 12 + 1, height, width), 3)
        for name, flow in _flows(generator, height, width).items():
            yield WarpCase(f"{name} flow on {height}x{width}", planes, flow)


def _flows(generator: np.random.Generator, height: int, width: int) -> dict[str, Float32Array]:
    shape = (height, width, 2)
    broken = _drawn(generator, shape, 2)
    broken[generator.random(shape) < 0.2] = np.nan
    broken[generator.random(shape) < 0.2] = np.inf
    broken[generator.random(shape) < 0.2] = -np.inf
    return {
        "no": np.zeros(shape, np.float32),
        "small": _drawn(generator, shape, 0.7),
        "outside": _drawn(generator, shape, 2 * max(height, width)),
        "far outside": np.where(generator.random(shape) < 0.5, -3e38, 3e38).astype(np.float32),
        "whole": generator.integers(-3, 4, shape).astype(np.float32),
        "not finite": broken,
    }


def label_cases(classes: int) -> Iterator[LabelCase]:
    """For one class count: odd grids, odd pictures and every extreme of distortion."""
    for number, (height, width) in enumerate(_GRIDS):
        generator = np.random.default_rng((classes, number))
        scale = _SCALES[(classes + number) % len(_SCALES)]
        logits = [_drawn(generator, (classes, height, width), 4) for _ in range(2)]
        distortions = _distortions(generator, height, width)
        name = list(distortions)[(classes * 3 + number) % len(distortions)]
        size = (height * scale[0] + number % 3, width * scale[1] + classes % 4)
        yield LabelCase(
            f"{classes} classes on {height}x{width}, {name} distortion",
            *logits,
            distortions[name],
            *size,
        )


def _distortions(
    generator: np.random.Generator, height: int, width: int
) -> dict[str, Float32Array]:
    shape = (height, width)
    return {
        "no": np.zeros(shape, np.float32),
        "full": np.ones(shape, np.float32),
        "some": _exact(generator.random(shape)),
        "all or nothing": generator.integers(0, 2, shape).astype(np.float32),
        "hardly any": np.full(shape, 2**-20, np.float32),
    }


def street_case(classes: int, height: int, width: int) -> LabelCase:
    """Smooth regions with borders, corrected in some places, at a quarter of (height, width)."""
    generator = np.random.default_rng(classes)
    shape = (height // 4, width // 4)
    warped = np.stack([_smooth(generator, shape, 6) for _ in range(classes)])
    other = np.stack([_smooth(generator, shape, 3) for _ in range(classes)])
    distortion = np.clip(_smooth(generator, shape, 0.5), 0, 1)
    correction = _exact(warped + other)
    return LabelCase("street", warped, correction, distortion, height, width)


def _smooth(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Float32Array:
    coarse = _drawn(generator, (7, 13), size)
    return _exact(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _drawn(generator: np.random.Generator, shape: tuple[int, ...], size: float) -> Float32Array:
    return _exact(generator.normal(0, size, shape))


def _exact(numbers: NDArray[Any]) -> Float32Array:
    """The nearest that fp16 can hold, so that every precision gets the same."""
    return numbers.astype(np.float16).astype(np.float32)
