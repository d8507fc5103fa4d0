"""Labelled frames from folders, each with its own classes, all told in terms of `labels.CLASSES`.

A pack is a folder as `camvid`: `splits/<split>.txt` (one "image label" pair a line, paths relative
to the pack), images, 8-bit label PNGs (255 = ignore) and `classes.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_NAMES, UNLABELLED

DATA_VARIABLE = "ADVERSE_PERCEPTION_DATA"
_BESIDE = Path(__file__).resolve().parents[1].parent / "shared" / "data"

TERMS = {
    "camvid": "research use (CC BY-NC 4.0), cite Brostow et al. 2008 and 2009",
    "idd_lite": "non-commercial research use, cite Varma et al. 2019",
    "kitti_semantic": "CC BY-NC-SA 3.0, cite Geiger et al. 2013 and Alhaija et al. 2018",
    "fog_dawn": "research use, cite Kenk and Hassaballah 2020",
    "night_rain_clips": "research use",
    "imagenet": "weights of a backbone: non-commercial research use, cite Russakovsky et al. 2015",
    "street": "drawn by this project's street renderer, Apache-2.0",
}
"""Data sets that engines here learn from, and on what terms."""


class DatasetError(ValueError):
    """A data folder is missing or laid out otherwise than expected."""


def data_folder(given: Path | None = None) -> Path:
    """The folder that holds the packs: as given, by environment, or beside the checkout.

    Raises:
        DatasetError: there is none; the message says where it was looked for.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = given or (Path(named) if named else _BESIDE)
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: expected a folder of labelled frames, found none; pass --data or set "
            f"{DATA_VARIABLE} to the folder that holds camvid/, idd_lite/, ..."
        )
    return folder


@dataclass(frozen=True)
class LabelMap:
    """How a pack's label ids are to be read.

    Attributes:
        table: (256,) uint8, the pack's id -> the id trained on, 255 where there is none.
        groups: (K, K) float32 over `CLASSES`: row r is 1 at every class that id r may mean.
            A fine data set has the identity; a coarse id is the sum of its fine classes.
    """

    table: UInt8Array
    groups: Float32Array

    @property
    def is_fine(self) -> bool:
        """Every id is one class, so the labels can be scored as they are."""
        return bool(np.array_equal(self.groups, np.eye(len(CLASS_NAMES), dtype=np.float32)))

    def likeliest(self, labels: UInt8Array) -> UInt8Array:
        """One of our classes for every pixel, good enough to place weather by: (H, W) uint8."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(self.groups)] = np.where(self.groups.any(1), self.groups.argmax(1), UNLABELLED)
        return table[labels]

    def coarse_of(self) -> UInt8Array:
        """Our class id -> the id it is scored as: (256,) uint8; of a fine pack, itself."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(self.groups)] = np.where(self.groups.any(0), self.groups.argmax(0), UNLABELLED)
        return table


@dataclass(frozen=True)
class Pair:
    """A picture and its labels on disk."""

    image: Path
    labels: Path


@dataclass(frozen=True)
class Pack:
    """One split of a labelled data set."""

    name: str
    pairs: Sequence[Pair]
    label_map: LabelMap
    class_names: tuple[str, ...]

    def load(self, number: int) -> tuple[UInt8Array, UInt8Array]:
        """Picture (H, W, 3) uint8 RGB and labels (H, W) uint8 of the pair with that number.

        Raises:
            DatasetError: a file is missing or broken, or the two do not fit together.
        """
        pair = self.pairs[number]
        image = read_image(pair.image)
        ids = _read(pair.labels, cv2.IMREAD_UNCHANGED)
        if ids.shape != image.shape[:2] or ids.dtype != np.uint8:
            raise DatasetError(
                f"{pair.labels}: expected one 8-bit label per pixel of {pair.image.name} "
                f"{image.shape[:2]}, found {ids.shape} {ids.dtype}; label the picture at its size"
            )
        return image, self.label_map.table[ids]


def read_image(path: Path) -> UInt8Array:
    """(H, W, 3) uint8 RGB."""
    return np.asarray(cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def _read(path: Path, flags: int) -> UInt8Array:
    if not path.is_file():
        raise DatasetError(
            f"{path}: expected a picture, found no file; copy it or take its line from the split"
        )
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise DatasetError(
            f"{path}: expected a picture, found a file that cannot be decoded; copy it anew"
        )
    return cast(UInt8Array, picture)


def open_pack(folder: Path, split: str) -> Pack:
    """One split of the pack in a folder.

    Raises:
        DatasetError: the folder, its split file or its classes are not as expected.
    """
    listing, lines = _split(folder, split, "'image label' pair")
    pairs = [_pair(folder, listing, line) for line in lines]
    names, label_map = read_classes(folder / "classes.json")
    return Pack(folder.resolve().name, pairs, label_map, names)


def _split(folder: Path, split: str, entry: str) -> tuple[Path, list[str]]:
    """The split file and its lines, at least one."""
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: expected a data set, found no folder; name another or leave it out"
        )
    listing = folder / "splits" / f"{split}.txt"
    if not listing.is_file():
        found = sorted(path.stem for path in folder.glob("splits/*.txt"))
        raise DatasetError(
            f"{listing}: expected a split file with one {entry} a line, found none; "
            f"splits here: {', '.join(found) or 'none'}"
        )
    lines = [line for line in listing.read_text().splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{listing}: expected one {entry} a line, found none; fill it")
    return listing, lines


def _pair(folder: Path, listing: Path, line: str) -> Pair:
    words = line.split()
    if len(words) != 2:
        raise DatasetError(
            f"{listing}: expected 'image label' in every line, found {line!r}; "
            "paths are relative to the pack and have no spaces"
        )
    return Pair(folder / words[0], folder / words[1])


def open_pictures(folder: Path, split: str) -> list[Path]:
    """The pictures of a pack without labels, listed one a line. Raises `DatasetError`."""
    return [folder / line.split()[0] for line in _split(folder, split, "picture")[1]]


def read_classes(path: Path) -> tuple[tuple[str, ...], LabelMap]:
    """Reads `classes.json`: the names that are scored, and how the ids are to be read.

    The classes are ours, finer ones (with `*_to_camvid11`) or coarser (with `camvid11_to_*`).
    """
    described = _described(path)
    names = tuple(entry["name"] for entry in described["classes"])
    if names == CLASS_NAMES:
        return CLASS_NAMES, _fine({number: number for number in range(len(names))})
    for key, mapping in described.items():
        if key.endswith("_to_camvid11"):
            return CLASS_NAMES, _fine(_numbers(mapping))
        if key.startswith("camvid11_to_"):
            return names, _coarse(_numbers(mapping))
    raise DatasetError(
        f"{path}: expected the classes {', '.join(CLASS_NAMES)}, or a mapping '*_to_camvid11' or "
        f"'camvid11_to_*'; found classes {', '.join(names) or 'none'}; add a mapping"
    )


def _described(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DatasetError(f"{path}: expected the pack's class list, found none; write one")
    try:
        described: dict[str, Any] = json.loads(path.read_text())
        if all("name" in entry for entry in described["classes"]):
            return described
        problem = "an entry without a name"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise DatasetError(
        f"{path}: expected JSON with a list 'classes' of entries with a 'name', found {problem}; "
        "write it as camvid/classes.json"
    )


def _numbers(mapping: Mapping[str, int] | Sequence[int]) -> dict[int, int]:
    pairs = mapping.items() if isinstance(mapping, Mapping) else enumerate(mapping)
    return {int(source): int(target) for source, target in pairs}


def _fine(mapping: Mapping[int, int]) -> LabelMap:
    table = np.full(256, UNLABELLED, np.uint8)
    for source, target in mapping.items():
        table[source] = target
    return LabelMap(table, np.eye(len(CLASS_NAMES), dtype=np.float32))


def _coarse(group_of: Mapping[int, int]) -> LabelMap:
    table = np.full(256, UNLABELLED, np.uint8)
    groups = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), np.float32)
    for fine, coarse in group_of.items():
        if coarse != UNLABELLED:
            table[coarse] = coarse
            groups[coarse, fine] = 1
    return LabelMap(table, groups)
