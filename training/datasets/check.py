"""A look over a data set: is every file whole, what is in it, and how does it look?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from adverse_perception.drawing import overlay, write_text
from adverse_perception.frames import UInt8Array
from adverse_perception.labels import UNLABELLED
from training.datasets.packs import Pack
from training.datasets.pictures import DatasetError

_TILE = (320, 200)


@dataclass(frozen=True)
class Report:
    """What was found in a pack.

    Attributes:
        pictures: how many there are.
        counts: (256,) int64, pixels of every id trained on, of the whole pictures.
        conditions: pictures of every weather, `unknown` included.
        carries: how many pictures have a clear counterpart, depth, ...
        problems: what is wrong, one a broken picture.
    """

    pictures: int
    counts: NDArray[np.int64]
    conditions: Counter[str]
    carries: Counter[str]
    problems: Sequence[str]

    def lines(self, class_names: Sequence[str]) -> list[str]:
        """The report as text."""
        total = max(1, int(self.counts.sum()))
        classes = [(name, self.counts[number]) for number, name in enumerate(class_names)]
        classes.append(("unlabelled", self.counts[UNLABELLED]))
        width = max(len(name) for name, _ in classes)
        return [
            f"{self.pictures} pictures, {len(class_names)} classes",
            *(f"  {name:{width}} {100 * count / total:6.2f} %" for name, count in classes),
            f"weather: {_counted(self.conditions)}",
            f"carries: {_counted(self.carries) or 'pictures and labels only'}",
            f"broken: {len(self.problems)}",
            *(f"  first: {problem}" for problem in self.problems[:1]),
        ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def examine(pack: Pack) -> Report:
    """Read every picture of a pack and everything that belongs to it."""
    counts = np.zeros(256, np.int64)
    problems = []
    for number in tqdm(range(len(pack.pairs)), desc=pack.name, leave=False):
        try:
            labels = pack.sample(number).labels
        except DatasetError as error:
            problems.append(str(error))
        else:
            counts += np.bincount(labels.ravel(), minlength=256)
    return Report(
        len(pack.pairs),
        counts,
        Counter(pair.condition or "unknown" for pair in pack.pairs),
        _carried(pack),
        problems,
    )


def _carried(pack: Pack) -> Counter[str]:
    carried: Counter[str] = Counter()
    for pair in pack.pairs:
        carried["clear counterpart"] += pair.clear is not None
        carried["reference picture"] += pair.reference is not None
        carried["depth"] += pair.depth is not None
        carried["neighbours"] += bool(pair.neighbours)
    return +carried  # without those that none has


def contact_sheet(pack: Pack, columns: int = 4, rows: int = 3) -> UInt8Array:
    """Pictures from all over a pack, each above the same with its labels laid over it.

    Returns (H, W, 3) uint8 RGB. Raises `DatasetError` where none is whole.
    """
    count = len(pack.pairs)
    asked = sorted({int(place) for place in np.linspace(0, count - 1, min(count, columns * rows))})
    tiles = [tile for number in asked if (tile := _tile(pack, number)) is not None]
    if not tiles:
        raise DatasetError(
            f"{pack.name}: expected a whole picture among {len(asked)}, found none; copy it anew"
        )
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(lines), np.uint8)


def _tile(pack: Pack, number: int) -> UInt8Array | None:
    try:
        image, labels = pack.load(number)
    except DatasetError:
        return None  # the report names it
    both = [_small(image), _small(painted(pack, image, labels))]
    condition = pack.pairs[number].condition
    if condition is not None:
        both[0] = write_text(both[0], condition)
    return np.asarray(np.vstack(both), np.uint8)


def _small(image: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.resize(image, _TILE, interpolation=cv2.INTER_AREA), np.uint8)


def painted(pack: Pack, image: UInt8Array, labels: UInt8Array) -> UInt8Array:
    """Labels laid over their picture: (H, W, 3) uint8 RGB, in our colours where they are ours."""
    if pack.label_map.is_fine:
        return overlay(image, labels)
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    blended = cv2.addWeighted(image, 0.5, colours[labels], 0.5, 0)
    return np.where((labels == UNLABELLED)[..., None], image, blended).astype(np.uint8)
