"""Chance made once and reused: cached noise that effects cut their fields from.

Drawing a million normal numbers per picture would cost more than the weather itself, so every
field is a window into a periodic tile made once per process. A seed chooses tile and place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array

_TILE = 256
_VARIANTS = 6
_POOL = 1 << 21


@lru_cache(maxsize=1)
def _pool() -> Float32Array:
    return np.random.default_rng(20240117).standard_normal(_POOL, dtype=np.float32)


def grain(shape: tuple[int, ...], seed: int) -> Float32Array:
    """White noise of mean 0 and deviation 1: float32 of `shape`; not to be written to."""
    count = int(np.prod(shape))
    start = (seed * 7919) % max(1, _POOL - count)
    if count > _POOL:
        return np.resize(_pool(), shape)
    return _pool()[start : start + count].reshape(shape)


@lru_cache(maxsize=_VARIANTS)
def _clouds(variant: int) -> Float32Array:
    """Periodic fractal noise, (256, 256) float32, every value from 0 to 1 equally frequent."""
    rng = np.random.default_rng(variant)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(_TILE) * _TILE] * 2))
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * frequency**-1.6
    field = np.fft.ifft2(spectrum).real
    ranks = np.empty(field.size, np.float32)
    ranks[np.argsort(field, axis=None)] = np.linspace(0.0, 1.0, field.size, dtype=np.float32)
    return ranks.reshape(field.shape)


def wrapped(
    tile: NDArray[Any], shape: tuple[int, int], matrix: Float32Array, fine: int = 1
) -> NDArray[Any]:
    """Look at an endless repetition of `tile` through an affine window.

    Args:
        tile: (h, w) float32 or uint8, periodic.
        shape: height and width of the result.
        matrix: (2, 3) float32, from result pixel to tile pixel.
        fine: compute only every n-th pixel and interpolate; for smooth fields.
    """
    height, width = shape
    small = (max(1, -(-width // fine)), max(1, -(-height // fine)))
    scaled = matrix.astype(np.float64)
    scaled[:, :2] *= fine
    corners = np.array([[0, 0, 1], [small[0], 0, 1], [0, small[1], 1], [small[0], small[1], 1]])
    reach = corners @ scaled.T
    first = np.floor(reach.min(axis=0)).astype(int) - 1
    last = np.ceil(reach.max(axis=0)).astype(int) + 2
    columns, rows = (np.arange(first[i], last[i]) % tile.shape[1 - i] for i in (0, 1))
    patch = tile.take(rows, axis=0).take(columns, axis=1)  # warpAffine's own wrapping is slow
    scaled[:, 2] -= first
    field = cv2.warpAffine(patch, scaled, small, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return field if fine == 1 else cv2.resize(field, (width, height))


def clouds(
    shape: tuple[int, int],
    seed: int,
    size: float = 1.0,
    drift: tuple[float, float] = (0.0, 0.0),
    stretch: float = 1.0,
) -> Float32Array:
    """Smooth patchy noise: (H, W) float32, 0 to 1, uniform: a threshold is a covered share.

    Args:
        shape: height and width.
        seed: chooses the pattern.
        size: width of the picture in tiles; large values give small patches.
        drift: the pattern's movement (x, y) in shares of the picture's width.
        stretch: how much wider than high the patches are.
    """
    rng = np.random.default_rng(seed)
    zoom = size * _TILE / shape[1]
    offset = rng.uniform(0, _TILE, 2) - np.array(drift) * size * _TILE
    mirror = rng.choice([-1.0, 1.0], 2)
    matrix = np.array(
        [[zoom * mirror[0], 0, offset[0]], [0, zoom * mirror[1] * stretch, offset[1]]], np.float32
    )
    return wrapped(_clouds(int(rng.integers(_VARIANTS))), shape, matrix, fine=4)
