"""How the label ids of a data set are to be read: which of our classes each may mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_ID, CLASS_NAMES, UNLABELLED


@dataclass(frozen=True)
class LabelMap:
    """How a pack's label ids are to be read.

    Attributes:
        table: (256,) uint8, the pack's id -> the id trained on, 255 where there is none.
        groups: (R, K) float32 over the K `CLASSES`, R >= K: row r is 1 at every class that id r
            may mean. A fine data set has the identity; a coarse id is the sum of its fine classes;
            an id that means none of our classes has a row of zeros.
        known: every id that may stand in a label file of the pack, those without a class included.
    """

    table: UInt8Array
    groups: Float32Array
    known: frozenset[int] = frozenset(range(256))

    @property
    def is_fine(self) -> bool:
        """Every id is one class of ours, so the labels can be scored as they are."""
        return bool(np.array_equal(self.groups, np.eye(len(CLASS_NAMES), dtype=np.float32)))

    def strangers(self, ids: UInt8Array) -> list[int]:
        """The values in (H, W) uint8 ids that the pack's class list does not know."""
        seen = np.flatnonzero(cv2.calcHist([ids], [0], None, [256], [0, 256]))
        return [int(value) for value in seen if int(value) not in self.known]

    def likeliest(self, labels: UInt8Array) -> UInt8Array:
        """One of our classes for every pixel, good enough to place weather by: (H, W) uint8."""
        return _strongest(self.groups)[labels]

    def coarse_of(self) -> UInt8Array:
        """Our class id -> the id it is scored as: (256,) uint8; of a fine pack, itself."""
        return _strongest(self.groups.T)


def _strongest(groups: Float32Array) -> UInt8Array:
    """Row -> its first column that is set: (256,) uint8, 255 where there is none."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[: len(groups)] = np.where(groups.any(1), groups.argmax(1), UNLABELLED)
    return table


def label_map(
    table: Mapping[int, int], meanings: Mapping[int, Iterable[str]], known: Iterable[int]
) -> LabelMap:
    """Put a label map together.

    Args:
        table: id on disk -> id trained on.
        meanings: id trained on -> the classes of ours that it may mean.
        known: ids that may stand in a label file.
    """
    read = np.full(256, UNLABELLED, np.uint8)
    read[list(table)] = list(table.values())
    rows = max([len(CLASS_NAMES), *(number + 1 for number in meanings)])
    groups = np.zeros((rows, len(CLASS_NAMES)), np.float32)
    for number, names in meanings.items():
        groups[number, [CLASS_ID[name] for name in names]] = 1
    return LabelMap(read, groups, frozenset(known))
