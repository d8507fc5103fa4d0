"""Labels of the camera's size from an engine's coarse logits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels.definition import axis
from adverse_perception.kernels.errors import KernelError

Axis = tuple[NDArray[np.uintp], NDArray[np.uintp], Float32Array, NDArray[np.intp]]


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
    _check("label", logits, height, width)
    return _sparsely((logits,), 0.0, height, width)


def correct_and_label(
    warped: Float32Array,
    correction: Float32Array,
    distortion: Float32Array,
    height: int,
    width: int,
) -> tuple[UInt8Array, UInt8Array]:
    """Label every pixel from warped logits, corrected where the warp distorted the picture.

    Args:
        warped: (K, h, w) float32, K from 1 to 255, finite.
        correction: (K, h, w) float32, finite.
        distortion: (h, w) float32, 0 to 1: the share of the correction; what is beyond counts as
            that end.
        height: H of the picture, in pixels.
        width: W of the picture, in pixels.

    Returns:
        (H, W) uint8 class ids and (H, W) uint8 confidence, the label's probability times 255.

    Raises:
        KernelError: a shape, a type or the size does not fit.
        ImportError: numba is not installed.
    """
    _check("correct_and_label: warped", warped, height, width)
    _check("correct_and_label: correction", correction, height, width)
    if correction.shape != warped.shape or distortion.shape != warped.shape[1:]:
        raise KernelError(
            f"correct_and_label: expected correction {warped.shape} and distortion"
            f" {warped.shape[1:]}, as warped has it, found {correction.shape} and"
            f" {distortion.shape}"
        )
    if distortion.dtype != np.float32:
        raise KernelError(
            f"correct_and_label: expected float32 distortion, found {distortion.dtype}"
        )
    return _sparsely((warped, correction), distortion, height, width)


def _sparsely(
    planes: tuple[Float32Array, ...], distortion: Float32Array | float, height: int, width: int
) -> tuple[UInt8Array, UInt8Array]:
    """Run the sparse twin on one set of logits, or on two and their distortion."""
    from adverse_perception.kernels import sparse

    # exactly the array types that warm_up compiled for
    planes = tuple(np.require(one, requirements=["C", "A", "W"]) for one in planes)
    coarse = planes[0].shape[1:]
    winner, known = np.empty(coarse, np.uint8), np.empty((3, *coarse), np.float32)
    np.clip(distortion, 0, 1, out=known[2])
    sparse.summarise(planes, winner, known)
    rows, columns = _axis(coarse[0], height), _axis(coarse[1], width)
    labels = np.empty((height, width), np.uint8)
    confidence = np.empty((height, width), np.uint8)
    sparse.fill(winner, known[1], rows, columns, labels, confidence)
    sparse.correct(planes, (winner, known), rows, columns, labels, confidence)
    return labels, confidence


def _check(name: str, logits: Float32Array, height: int, width: int) -> None:
    good = logits.ndim == 3 and logits.dtype == np.float32 and logits.size > 0
    if not good or logits.shape[0] > 255 or min(height, width) < 1:
        raise KernelError(
            f"{name}: expected (K, h, w) float32 with K from 1 to 255 and a picture of at least"
            f" 1x1, found {logits.shape} {logits.dtype} and {height}x{width}"
        )


@lru_cache(maxsize=16)
def _axis(coarse: int, fine: int) -> Axis:
    """Neighbours and share of every pixel of an axis, and the first pixel of every cell."""
    lower, upper, share = axis(coarse, fine)
    first = np.searchsorted(lower, np.arange(coarse + 1))
    return lower.astype(np.uintp), upper.astype(np.uintp), share, first.astype(np.intp)
