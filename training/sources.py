"""Where samples come from: labelled packs, drawn streets, and pictures of real weather."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array, Weather
from adverse_perception.labels import UNLABELLED
from training.datasets import (
    LOADERS,
    DatasetError,
    Labelled,
    LabelMap,
    Pack,
    SkippingPack,
    folder_of,
    open_dataset,
    open_pack,
    open_pictures,
)
from training.recipes import Recipe
from training.street_pack import drawn_pack
from training.transforms import Geometry, warp_map, warp_picture, zoom

REAL_WEATHER = {
    Weather.FOG: ("fog_dawn", "fog"),
    Weather.RAIN: ("night_rain_clips", "rain"),
    Weather.NIGHT: ("night_rain_clips", "night"),
}
"""Packs without labels whose weather is known."""


@dataclass(frozen=True)
class Drawn:
    """A picture with its labels, how to read them, and what else is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8.
        label_map: what the labels mean.
        adverse: it was taken, or made, in weather.
        clear: (H, W, 3) uint8 RGB, the same view in clear weather.
        depth_m: (H, W) float32 metres, NaN where unknown.
        zoom: how many times as wide, for the picture, things are as for the one it is cropped of.
    """

    image: UInt8Array
    labels: UInt8Array
    label_map: LabelMap
    adverse: bool = False
    clear: UInt8Array | None = None
    depth_m: Float32Array | None = None
    zoom: float = 1.0

    def cropped(self, geometry: Geometry, size: tuple[int, int]) -> Drawn:
        """A crop of `size` (height, width) of all of it."""
        clear, depth_m = self.clear, self.depth_m
        if depth_m is not None:
            depth_m = warp_map(depth_m, geometry, size, np.nan)
        return replace(
            self,
            image=warp_picture(self.image, geometry, size),
            labels=warp_map(self.labels, geometry, size, UNLABELLED),
            clear=None if clear is None else warp_picture(clear, geometry, size),
            depth_m=depth_m if depth_m is not None and (depth_m > 0).any() else None,
            zoom=zoom(self.image.shape, geometry, size),
        )


class Source:
    """Labelled pictures of a pack, in no order.

    Args:
        pack: where they are.
        paired: their clear counterparts are wanted too.
    """

    def __init__(self, pack: Labelled, *, paired: bool = False) -> None:
        self._pack, self._paired = pack, paired

    def draw(self, rng: np.random.Generator) -> Drawn:
        """One of its pictures."""
        number = int(rng.integers(len(self._pack.pairs)))
        one = self._pack.sample(number, paired=self._paired)
        adverse = one.condition not in (None, "clear")
        return Drawn(one.image, one.labels, self._pack.label_map, adverse, one.clear, one.depth_m)


def open_sources(
    recipe: Recipe,
    data: Path,
    leave_out: Sequence[str] = (),
    with_val: Sequence[str] = (),
    *,
    skip_broken: bool = False,
) -> dict[str, Source]:
    """Every source of the recipe that is not left out, by name; streets are drawn if need be.

    Of the packs in `with_val`, the validation split is learnt from too.
    """
    names = kept_names(recipe, leave_out)
    packs = open_packs(recipe, names, data, with_val, skip_broken=skip_broken)
    return {name: Source(pack, paired=recipe.restores) for name, pack in packs.items()}


def kept_names(recipe: Recipe, leave_out: Sequence[str]) -> list[str]:
    """Names of the recipe's data sets but those left out; raises `DatasetError` if all are."""
    names = [name for name in recipe.data if name not in leave_out]
    if not names:
        raise DatasetError(
            f"recipe {recipe.name}: expected data to train on, found that everything is left out; "
            f"leave out less of {', '.join(recipe.data)}"
        )
    return names


def open_packs(
    recipe: Recipe,
    names: Sequence[str],
    data: Path,
    with_val: Sequence[str] = (),
    *,
    skip_broken: bool = False,
) -> dict[str, Labelled]:
    """Packs by name, with what of them a recipe can use; see `open_sources`."""
    folders = {
        name: drawn_pack() if name == "street" else data / folder_of(name) for name in names
    }
    packs = {name: _opened(name, folder, "train") for name, folder in folders.items()}
    for name in sorted(set(with_val) & set(packs)):
        pairs = (*packs[name].pairs, *_opened(name, folders[name], "val").pairs)
        packs[name] = replace(packs[name], pairs=pairs)
    packs = {name: _fit_for(recipe, name, pack) for name, pack in packs.items()}
    return {name: SkippingPack(pack) if skip_broken else pack for name, pack in packs.items()}


def _fit_for(recipe: Recipe, name: str, pack: Pack) -> Pack:
    """Without pictures in weather, where they cannot teach: to name it, or to restore alone."""
    if recipe.role in ("segmentation", "adaptive", "fusion"):
        return pack
    fit = [
        pair
        for pair in pack.pairs
        if pair.condition in (None, "clear") or (recipe.restores and pair.clear is not None)
    ]
    if not fit:
        raise DatasetError(
            f"{name}: expected pictures in clear weather for recipe {recipe.name}, or to restore "
            "such with the same view in clear beside them, found none; leave the data set out"
        )
    return replace(pack, pairs=fit)


def _opened(name: str, folder: Path, split: str) -> Pack:
    """A public data set as its authors lay it out, or a folder of our own layout."""
    if name in LOADERS and not (folder / "classes.json").is_file():
        return open_dataset(name, folder, split)
    return open_pack(folder, split)


def open_real_weather(data: Path, leave_out: Sequence[str] = ()) -> dict[Weather, list[Path]]:
    """Pictures of real weather, where their packs are there and not left out."""
    return {
        weather: open_pictures(data / pack, split)
        for weather, (pack, split) in REAL_WEATHER.items()
        if pack not in leave_out and (data / pack).is_dir()
    }


def packs_of(real: Mapping[Weather, Sequence[Path]]) -> list[str]:
    """The packs that pictures of real weather come from, by name."""
    return sorted({REAL_WEATHER[weather][0] for weather in real})
