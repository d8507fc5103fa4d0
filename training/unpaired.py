"""Pictures of day and of night that show different places: what CycleGAN learns from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adverse_perception.frames import UInt8Array, Weather
from training.datasets import (
    BrokenPicture,
    BrokenPictureWarning,
    DatasetError,
    Pack,
    Pair,
    open_pictures,
    read_image,
)
from training.datasets.class_lists import OUR_LIST, read_as
from training.recipes import Recipe
from training.sources import REAL_WEATHER, kept_names, open_packs
from training.transforms import draw_geometry, warp_picture

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Domains:
    """Folders of pictures instead of what a recipe takes by itself; a pack's folder will do.

    Attributes:
        day: pictures by day.
        night: pictures by night.
    """

    day: Path | None = None
    night: Path | None = None


NO_FOLDERS = Domains()


def check_used(recipe: Recipe, domains: Domains) -> None:
    """Raises `DatasetError` for a folder that the recipe does not learn from."""
    unpaired = recipe.role == "cyclegan"
    used = {"day": unpaired, "night": unpaired or recipe.adapts}
    for option, wanted in used.items():
        if not wanted and getattr(domains, option) is not None:
            raise DatasetError(
                f"recipe {recipe.name}: expected no --{option}, found "
                f"{getattr(domains, option)}; leave it out, other data come with --also"
            )


@dataclass(frozen=True)
class Unpaired:
    """Pictures of both sides.

    Attributes:
        names: of the data sets they come from.
        days: files by day, of one data set each.
        shares: how often a day is drawn from each.
        nights: files by night.
    """

    names: tuple[str, ...]
    days: Sequence[Sequence[Path]]
    shares: Sequence[float]
    nights: Sequence[Path]


def open_unpaired(
    recipe: Recipe,
    data: Path,
    domains: Domains = NO_FOLDERS,
    leave_out: Sequence[str] = (),
    with_val: Sequence[str] = (),
) -> Unpaired:
    """The folders' pictures; without, the clear ones of the recipe's packs, and `real_nights`.

    Args:
        recipe: names the packs, and how often each is drawn from.
        data: the folder of all data sets.
        domains: folders of one's own.
        leave_out: packs not to learn from.
        with_val: packs whose validation split is learnt from too.

    Raises:
        DatasetError: there are no pictures of one side.
    """
    dark, nights = real_nights(data, domains.night, leave_out)
    if domains.day is not None:
        days = pictures_in(domains.day, "day", "train")
        return Unpaired((domains.day.resolve().name, dark), [days], [1.0], nights)
    packs = open_packs(recipe, kept_names(recipe, leave_out), data, with_val)
    files = [[pair.image for pair in pack.pairs] for pack in packs.values()]
    return Unpaired((*packs, dark), files, [recipe.data[name] for name in packs], nights)


class UnpairedStream(Dataset[dict[str, Tensor]]):
    """Samples `day` and `night`, (H, W, 3) uint8 RGB each, of different places.

    Args:
        recipe: for its seed, its crop and its scales.
        pictures: what they are cropped from.
        skip_broken: go on with another picture where one cannot be read, with a warning.
    """

    def __init__(self, recipe: Recipe, pictures: Unpaired, *, skip_broken: bool = False) -> None:
        self._recipe, self._pictures, self._skip_broken = recipe, pictures, skip_broken
        self._shares = np.array(pictures.shares) / sum(pictures.shares)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        days = self._pictures.days[int(rng.choice(len(self._shares), p=self._shares))]
        return {"day": self._crop(days, rng), "night": self._crop(self._pictures.nights, rng)}

    def _crop(self, paths: Sequence[Path], rng: np.random.Generator) -> Tensor:
        image = read_any(paths, int(rng.integers(len(paths))), skip_broken=self._skip_broken)
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        return torch.from_numpy(warp_picture(image, geometry, self._recipe.crop))


def read_any(paths: Sequence[Path], first: int, *, skip_broken: bool) -> UInt8Array:
    """The picture of that number, (H, W, 3) uint8 RGB, or the next whole one with a warning.

    Raises:
        BrokenPicture: it cannot be read, and none is to be skipped.
        DatasetError: none of them can be read.
    """
    if not skip_broken:
        return read_image(paths[first])
    for path in (*paths[first:], *paths[:first]):
        try:
            return read_image(path)
        except BrokenPicture as error:
            warnings.warn(f"skipped: {error}", BrokenPictureWarning, stacklevel=2)
    raise DatasetError(
        f"{paths[first].parent}: expected at least one whole picture, found {len(paths)} "
        "broken ones; copy them anew"
    )


def real_nights(
    data: Path, folder: Path | None = None, leave_out: Sequence[str] = ()
) -> tuple[str, list[Path]]:
    """The name and the pictures of a folder, else of what is at hand. Raises `DatasetError`.

    Args:
        data: the folder of all data sets.
        folder: of pictures taken at night, or of a pack.
        leave_out: data sets not to learn from.
    """
    if folder is not None:
        return folder.resolve().name, pictures_in(folder, "night", "train")
    pack, split = REAL_WEATHER[Weather.NIGHT]
    if pack in leave_out or not (data / pack).is_dir():
        raise DatasetError(
            f"{data / pack}: expected pictures taken at night, found no folder, or that it is left"
            " out; name one of yours with --night"
        )
    return pack, open_pictures(data / pack, split)


def pictures_in(folder: Path, *splits: str) -> list[Path]:
    """Every picture below a folder, or of a pack those of the first of the splits that it has.

    Raises:
        DatasetError: there are none.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of pictures, found none; name another")
    if (folder / "splits").is_dir():
        there = (split for split in splits if (folder / "splits" / f"{split}.txt").is_file())
        return open_pictures(folder, next(there, splits[-1]))
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise DatasetError(
            f"{folder}: expected pictures in it or below, found none; name a folder that holds "
            f"{', '.join(sorted(_SUFFIXES))}"
        )
    return found


def unlabelled_pack(folder: Path) -> Pack:
    """The pictures of a folder of days, of a pack's `val` if it has one, to look at in training.

    Their labels do not exist; `training.evaluate.validate` reads none for a recipe like this.
    """
    paths = pictures_in(folder, "val", "day", "train")
    names, label_map = read_as(OUR_LIST, "own")
    return Pack(folder.resolve().name, [Pair(path, path) for path in paths], label_map, names)
