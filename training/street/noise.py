"""Noise at several scales, made once and cut to size."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array

SIZE = 512
"""Edge of a noise field in texels; fields repeat without a seam."""


@lru_cache(maxsize=64)
def field(seed: int, coarse: int = 2, fine: int = 512, slope: float = 1.0) -> Float32Array:
    """A seamless (512, 512) float32 field of mean 0 and deviation 1.

    Args:
        seed: which one.
        coarse: cells across in the coarsest octave.
        fine: cells across in the finest octave.
        slope: how fast octaves fade: weight is cells ** -slope.
    """
    rng = np.random.default_rng((seed, coarse, fine))
    total = np.zeros((SIZE, SIZE), np.float32)
    cells = coarse
    while cells <= fine:
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        pad = min(cells, 2)
        wrapped = np.pad(grid, pad, mode="wrap")
        scale = SIZE // cells
        large = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        edge = pad * scale
        total += large[edge : edge + SIZE, edge : edge + SIZE] * np.float32(cells**-slope)
        cells *= 2
    total -= total.mean()
    return np.asarray(total / total.std(), np.float32)


def floats(array: NDArray[Any]) -> Float32Array:
    """State that an array holds float32, which stubs do not know; a copy only if not."""
    return np.asarray(array, np.float32)


def texels(array: NDArray[Any]) -> UInt8Array:
    """State that an array holds uint8, which stubs do not know; a copy only if not."""
    return np.asarray(array, np.uint8)


def cut(
    source: Float32Array, height: int, width: int, top: int = 0, left: int = 0
) -> Float32Array:
    """(height, width) of an endlessly repeated field from row `top` and column `left` on."""
    out = np.empty((height, width), np.float32)
    for row in range(-(top % SIZE), height, SIZE):
        for column in range(-(left % SIZE), width, SIZE):
            upper, first = max(row, 0), max(column, 0)
            block = source[upper - row : height - row, first - column : width - column]
            out[upper : upper + block.shape[0], first : first + block.shape[1]] = block
    return out


def cut_anywhere(
    rng: np.random.Generator, source: Float32Array, height: int, width: int
) -> Float32Array:
    """`cut` from a random place."""
    top, left = rng.integers(0, SIZE, 2)
    return cut(source, height, width, int(top), int(left))


def paint(colour: tuple[float, float, float], brightness: Float32Array) -> UInt8Array:
    """(h, w, 3) uint8 of one colour (0 to 255) times a brightness per texel."""
    return texels(cv2.merge([cv2.convertScaleAbs(brightness, alpha=v) for v in colour]))
