"""The classes the package labels: CamVid's eleven, with CamVid's colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adverse_perception.frames import UInt8Array

UNLABELLED = 255
"""Id of a pixel without a label; ignored by every score."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its id is its place in `CLASSES`; colour is RGB, 0 to 255."""

    name: str
    colour: tuple[int, int, int]


CLASSES = (
    LabelClass("sky", (128, 128, 128)),
    LabelClass("building", (128, 0, 0)),
    LabelClass("pole", (192, 192, 128)),
    LabelClass("road", (128, 64, 128)),
    LabelClass("pavement", (60, 40, 222)),
    LabelClass("tree", (128, 128, 0)),
    LabelClass("sign_symbol", (192, 128, 128)),
    LabelClass("fence", (64, 64, 128)),
    LabelClass("car", (64, 0, 128)),
    LabelClass("pedestrian", (64, 64, 0)),
    LabelClass("bicyclist", (0, 128, 192)),
)
CLASS_NAMES = tuple(label.name for label in CLASSES)
CLASS_ID = {name: number for number, name in enumerate(CLASS_NAMES)}


def palette() -> UInt8Array:
    """Colour of every id: (256, 3) uint8 RGB; ids without a class are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(CLASSES)] = [label.colour for label in CLASSES]
    return table
