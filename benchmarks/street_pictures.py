"""Pictures that cameras of a benchmark send: a drawn street, there and back again."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.drive import Drive

RATE_HZ = 15.0
CAMERA_SIZES = ((640, 360), (1280, 720), (1920, 1080))
"""(width, height) of the cameras of a benchmark."""
_SEED = 101
_DRAWN = (960, 540)
_COUNT = 8


def street(size: tuple[int, int]) -> list[UInt8Array]:
    """Pictures (H, W, 3) uint8 RGB of a (width, height); the last leads on to the first.

    The street is drawn once and brought to the size: drawing it larger takes long.
    """
    there = [np.asarray(cv2.resize(one, size), np.uint8) for one in _drawn()]
    return [*there, *there[-2:0:-1]]


@cache
def _drawn() -> tuple[UInt8Array, ...]:
    drive = Drive.draw(_SEED, _DRAWN)
    views = (drive.street.render(2.0 + n / RATE_HZ, 1 / RATE_HZ) for n in range(_COUNT))
    return tuple(view.image for view in views)
