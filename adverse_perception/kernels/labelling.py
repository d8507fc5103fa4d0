"""Labels of the camera's size from an engine's coarse logits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels.definition import axis

Axis = tuple[NDArray[np.uintp], NDArray[np.uintp], Float32Array, NDArray[np.intp]]


class KernelError(ValueError):
    """Logits that cannot be labelled."""


def label(logits: Float32Array, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Label every pixel of a picture; `kernels/definition.py` says exactly how.

    Args:
        logits: (K, h, w) float32, K from 1 to 255, finite.
        height: H of the picture, in pixels.
        width: W of the picture, in pixels.

    Returns:
        (H, W) uint8 class ids and (H, W) uint8 confidence, the label's probability times 255.

    Raises:
        KernelError: the shape, the type or the size does not fit.
        ImportError: numba is not installed.
    """
    from adverse_perception.kernels import sparse

    _check(logits, height, width)
    # exactly the array type that warm_up compiled for
    logits = np.require(logits, requirements=["C", "A", "W"])
    coarse = logits.shape[1:]
    maps = np.empty(coarse, np.uint8), np.empty(coarse, np.float32), np.empty(coarse, np.float32)
    sparse.summarise(logits, *maps)
    rows, columns = _axis(coarse[0], height), _axis(coarse[1], width)
    labels = np.empty((height, width), np.uint8)
    confidence = np.empty((height, width), np.uint8)
    sparse.fill((maps[0], maps[2]), rows, columns, labels, confidence)
    sparse.correct(logits, maps, rows, columns, labels, confidence)
    return labels, confidence


def warm_up() -> None:
    """Compile, or load from the cache, before the first frame needs it."""
    label(np.zeros((2, 2, 2), np.float32), 4, 4)


def _check(logits: Float32Array, height: int, width: int) -> None:
    good = logits.ndim == 3 and logits.dtype == np.float32 and logits.size > 0
    if not good or logits.shape[0] > 255 or min(height, width) < 1:
        raise KernelError(
            "label: expected (K, h, w) float32 with K from 1 to 255 and a picture of at least"
            f" 1x1, found {logits.shape} {logits.dtype} and {height}x{width}"
        )


@lru_cache(maxsize=16)
def _axis(coarse: int, fine: int) -> Axis:
    """Neighbours and share of every pixel of an axis, and the first pixel of every cell."""
    lower, upper, share = axis(coarse, fine)
    first = np.searchsorted(lower, np.arange(coarse + 1))
    return lower.astype(np.uintp), upper.astype(np.uintp), share, first.astype(np.intp)
