"""Pictures at another size."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.kernels.errors import KernelError

_MOST_ROWS, _MOST_PIXELS = 2**16, 2**24
"""Sums over more are not exact."""


def resize(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """Bring a picture to another size; `kernels/definition.py` says exactly how.

    OpenCV takes pictures that grow, are halved or are huge; what it gives is within a grey value.

    Args:
        image: (H, W, 3) uint8.
        height: h of the new one, in pixels.
        width: w of the new one, in pixels.

    Returns:
        (h, w, 3) uint8; the picture itself where it has that size.

    Raises:
        KernelError: the shape, the type or the size does not fit.
        ImportError: numba is not installed.
    """
    _check(image, height, width)
    old_height, old_width = image.shape[:2]
    if (height, width) == (old_height, old_width):
        return image
    if image.strides[2] < 0:  # a view of BGR as RGB: turning the small one is cheaper
        return np.ascontiguousarray(resize(image[..., ::-1], height, width)[..., ::-1])
    if height > old_height or width > old_width:
        return _by_opencv(image, height, width, cv2.INTER_LINEAR)
    halved = (2 * height, 2 * width) == (old_height, old_width)
    if halved or old_height > _MOST_ROWS or old_height * old_width > _MOST_PIXELS:
        return _by_opencv(image, height, width, cv2.INTER_AREA)
    from adverse_perception.kernels import area

    # exactly the array types that warm_up compiled for: a view of a message is not to be copied
    rows = np.require(image, requirements=["C", "A"]).reshape(old_height, -1)
    rows.flags.writeable = False
    small = np.empty((height, width * 3), np.uint8)
    area.shrink(rows, small, _covered(old_height, height), *_across(old_width, width))
    return small.reshape(height, width, 3)


def _by_opencv(image: UInt8Array, height: int, width: int, how: int) -> UInt8Array:
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _check(image: UInt8Array, height: int, width: int) -> None:
    good = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size > 0
    if not good or min(height, width) < 1:
        raise KernelError(
            "resize: expected a picture (H, W, 3) uint8 and a size of at least 1x1, found"
            f" {image.shape} {image.dtype} and {height}x{width}"
        )


@lru_cache(maxsize=16)
def _covered(old: int, new: int) -> NDArray[np.int64]:
    """For each new pixel of an axis the first old one it covers, and how much of each from there.

    Returns:
        (new, 1 + n) int64, shares in parts of 1 / new.
    """
    begin = np.arange(new, dtype=np.int64)[:, np.newaxis] * old
    first, last = begin // new, (begin + old - 1) // new
    place = (first + np.arange(int((last - first).max()) + 1)) * new
    covered = np.minimum(begin + old, place + new) - np.maximum(begin, place)
    return np.concatenate([first, np.maximum(covered, 0)], axis=1)


@lru_cache(maxsize=16)
def _across(old: int, new: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same for rows of pixels with three values: places (new,) and parts (new, 3 or more)."""
    first, covered = np.split(_covered(old, new), [1], axis=1)
    spare = np.zeros((new, max(0, 3 - covered.shape[1])))
    return (3 * first[:, 0]).astype(np.uintp), np.hstack([covered, spare])
