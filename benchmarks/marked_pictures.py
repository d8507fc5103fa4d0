"""Pictures whose labels say which of them they belong to.

A picture is twelve blocks, four beside each other. The first makes engines fail
(`trial_engines.FAILS_ON`), the second is bluish, the others are the bits of the picture's number,
bluish for 0 and reddish for 1. The marked engines give the two colours different classes, so the
number can be read from the labels, whichever engine made them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from adverse_perception.frames import UInt8Array, Weather
from benchmarks.trial_engines import BRIGHTNESS

NUMBERS = 1024
"""Numbers begin again after this many."""
_ROWS, _COLUMNS = 3, 4
_BITS = 10
_TINT = np.array([20, 0, -20])


@dataclass(frozen=True)
class Read:
    """What labels say of their picture: its number and the classes they consist of."""

    number: int
    classes: tuple[int, int]


def draw(
    number: int, weather: Weather, size: tuple[int, int], fails: Collection[int] = ()
) -> UInt8Array:
    """Draw a picture.

    Args:
        number: its number; what is beyond `NUMBERS` is left out.
        weather: what the marked weather engine is to see.
        size: width and height in pixels; multiples of 4 and 3.
        fails: colours (0 red, 1 green, 2 blue) whose engines are to fail.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    grey = np.full(3, BRIGHTNESS[weather])
    corner = np.where(np.isin(np.arange(3), list(fails)), 255, grey)
    bits = [number >> bit & 1 for bit in range(_BITS)]
    tints = [grey + _TINT if bit else grey - _TINT for bit in (0, *bits)]
    blocks = np.array([corner, *tints], np.uint8).reshape(_ROWS, _COLUMNS, 3)
    width, height = size
    return np.repeat(np.repeat(blocks, height // _ROWS, 0), width // _COLUMNS, 1)


def read(labels: UInt8Array) -> Read:
    """Read the number from (H, W) uint8 labels of a marked engine.

    Where they are of none, the number is that of no picture, or the classes are strange.
    """
    height, width = (
        side // count for side, count in zip(labels.shape, (_ROWS, _COLUMNS), strict=True)
    )
    seen = labels[height // 2 :: height, width // 2 :: width][:_ROWS, :_COLUMNS].ravel()[1:]
    zero, bits = int(seen[0]), seen[1:]
    number = sum(1 << place for place, label in enumerate(bits) if label != zero)
    others = sorted({int(label) for label in bits if label != zero})
    return Read(number, (zero, others[0] if len(others) == 1 else zero if not others else -1))
