"""What every loader gives: a pack, one split of a labelled data set.

Our own layout is a folder as `camvid`: `splits/<split>.txt` (one "image label" pair a line, paths
relative to the pack), images, 8-bit label PNGs (255 = ignore) and `classes.json`; a third path in
a line is depth, as `Metres` reads it. Where `classes.json` has a `condition`, that is the weather
of every picture.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from training.datasets.class_lists import read_classes, read_condition
from training.datasets.depth import DepthFile, Metres
from training.datasets.label_maps import LabelMap
from training.datasets.pictures import BrokenPicture, DatasetError, read_image, read_labels

DATA_VARIABLE = "ADVERSE_PERCEPTION_DATA"
_BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_WIDE = 2048

Array = TypeVar("Array", bound=NDArray[np.generic])


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
class Pair:
    """A picture and its labels on disk, and what else the data set knows of it.

    Attributes:
        image: the picture.
        labels: its ids, one channel of 8 bits or a palette.
        condition: clear, rain, fog, night or snow, where that is known.
        clear: the same view in clear weather, pixel by pixel.
        reference: the same place in clear weather, but not pixel by pixel.
        depth: where its depth can be read.
        neighbours: frames of the same camera around it, by their distance in frames (-19 to 10).
        tags: what else its name or the data set's own tags say: city, drive, beta, timeofday, ...
        columns: first column kept and first not kept of everything that is 2048 wide.
        fit: the picture is to be shrunk to the size of its labels.
    """

    image: Path
    labels: Path
    condition: str | None = None
    clear: Path | None = None
    reference: Path | None = None
    depth: DepthFile | None = None
    neighbours: Mapping[int, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[int, int] | None = None
    fit: bool = False

    def cut(self, array: Array) -> Array:
        """The columns kept of a picture, its labels or its depth."""
        if self.columns is None or array.shape[1] != _WIDE:
            return array
        return array[:, slice(*self.columns)]  # type: ignore[return-value]


@dataclass(frozen=True)
class Sample:
    """A picture with everything the pack carries for it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 ids trained on, 255 = unlabelled.
        condition: clear, rain, fog, night or snow, where that is known.
        clear: (H, W, 3) uint8 RGB, the same view in clear weather.
        depth_m: (H, W) float32 metres, NaN where unknown.
        neighbours: frames around it by their distance in frames; `read_image` reads them.
    """

    image: UInt8Array
    labels: UInt8Array
    condition: str | None = None
    clear: UInt8Array | None = None
    depth_m: Float32Array | None = None
    neighbours: Mapping[int, Path] = field(default_factory=dict)


class Labelled(Protocol):
    """What samples are drawn from: a pack, or one that goes on past broken files."""

    @property
    def pairs(self) -> Sequence[Pair]: ...
    @property
    def label_map(self) -> LabelMap: ...

    def sample(self, number: int, *, paired: bool = True) -> Sample:
        """The pair with that number and everything else the pack carries for it."""


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
            BrokenPicture: a file is missing or broken, or the two do not fit together.
            DatasetError: a label is not in the data set's class list.
        """
        pair = self.pairs[number]
        image, ids = read_image(pair.image), read_labels(pair.labels)
        if pair.fit and ids.ndim == 2:
            small = cv2.resize(image, ids.shape[::-1], interpolation=cv2.INTER_AREA)
            image = np.asarray(small, np.uint8)
        if ids.shape != image.shape[:2] or ids.dtype != np.uint8:
            raise BrokenPicture(
                f"{pair.labels}: expected one 8-bit label per pixel of {pair.image.name} "
                f"{image.shape[:2]}, found {ids.shape} {ids.dtype}; label the picture at its size"
            )
        strangers = self.label_map.strangers(ids)
        if strangers:
            raise DatasetError(
                f"{pair.labels}: expected label ids of {self.name}'s class list, found "
                f"{', '.join(map(str, strangers[:8]))}; correct the file, or take the labels that "
                "the class list is for"
            )
        return pair.cut(image), pair.cut(self.label_map.table[ids])

    def sample(self, number: int, *, paired: bool = True) -> Sample:
        """The pair with that number and everything else the pack carries for it.

        Args:
            number: of the pair.
            paired: its clear counterpart is wanted too.

        Raises:
            DatasetError: as `load`; also when what belongs to the picture is missing or does not
                fit it.
        """
        pair = self.pairs[number]
        image, labels = self.load(number)
        clear = depth_m = None
        if paired and pair.clear is not None:
            clear = _fitting(pair.cut(read_image(pair.clear)), pair.clear, pair, image)
        if pair.depth is not None:
            depth_m = _fitting(pair.cut(pair.depth.read()), pair.depth.path, pair, image)
        return Sample(image, labels, pair.condition, clear, depth_m, pair.neighbours)

    def only(self, **tags: str) -> Pack:
        """The pairs with these tags: `pack.only(beta="0.02")`, `pack.only(condition="fog")`.

        Raises:
            DatasetError: there are none; the message says which tags there are.
        """
        tagged = [{"condition": pair.condition, **pair.tags} for pair in self.pairs]
        kept = [
            p for p, has in zip(self.pairs, tagged, strict=True) if tags.items() <= has.items()
        ]
        if not kept:
            values = {name: sorted({str(has.get(name)) for has in tagged})[:8] for name in tags}
            raise DatasetError(
                f"{self.name}: expected pictures with {tags}, found none; there are {values}"
            )
        return replace(self, pairs=kept)


def _fitting(array: Array, path: Path, pair: Pair, image: UInt8Array) -> Array:
    if array.shape[:2] != image.shape[:2]:
        raise BrokenPicture(
            f"{path}: expected the size of {pair.image.name} {image.shape[:2]}, found "
            f"{array.shape[:2]}; copy it anew, or scale both alike"
        )
    return array


class BrokenPictureWarning(UserWarning):
    """A broken file was passed over because the user asked for that."""


class SkippingPack:
    """A pack that goes on with the next whole picture where one is broken, and names each once.

    Labels that the class list does not know stay an error: there it is the list that is wrong.
    """

    def __init__(self, pack: Pack) -> None:
        self.pairs = pack.pairs
        self.label_map = pack.label_map
        self._pack = pack
        self._broken: set[int] = set()

    def sample(self, number: int, *, paired: bool = True) -> Sample:
        """As `Pack.sample`, of this pair or the next whole one. Raises `DatasetError`."""
        count = len(self.pairs)
        for place in ((number + step) % count for step in range(count)):
            if place in self._broken:
                continue
            try:
                return self._pack.sample(place, paired=paired)
            except BrokenPicture as error:
                self._broken.add(place)
                warnings.warn(f"skipped: {error}", BrokenPictureWarning, stacklevel=2)
        raise DatasetError(
            f"{self._pack.name}: expected at least one whole picture, found {count} broken ones; "
            "copy the data set anew"
        )


def open_pack(folder: Path, split: str) -> Pack:
    """One split of the pack in a folder.

    Raises:
        DatasetError: the folder, its split file or its classes are not as expected.
    """
    listing, lines = _split(folder, split, "'image label' pair")
    names, label_map = read_classes(folder / "classes.json")
    condition = read_condition(folder / "classes.json")
    pairs = [replace(_pair(folder, listing, line), condition=condition) for line in lines]
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
    if len(words) not in (2, 3):
        raise DatasetError(
            f"{listing}: expected 'image label' or 'image label depth' in every line, found "
            f"{line!r}; paths are relative to the pack and have no spaces"
        )
    image, labels, *depth = (folder / word for word in words)
    return Pair(image, labels, depth=Metres(depth[0]) if depth else None)


def open_pictures(folder: Path, split: str) -> list[Path]:
    """The pictures of a pack without labels, listed one a line. Raises `DatasetError`."""
    return [folder / line.split()[0] for line in _split(folder, split, "picture")[1]]
