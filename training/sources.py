"""Where samples come from: labelled packs, drawn streets, and pictures of real weather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from adverse_perception.frames import UInt8Array, Weather
from training.datasets import (
    LOADERS,
    DatasetError,
    Labelled,
    LabelMap,
    Pack,
    SkippingPack,
    open_dataset,
    open_pack,
    open_pictures,
)
from training.recipes import Recipe
from training.street_pack import drawn_pack

REAL_WEATHER = {
    Weather.FOG: ("fog_dawn", "fog"),
    Weather.RAIN: ("night_rain_clips", "rain"),
    Weather.NIGHT: ("night_rain_clips", "night"),
}
"""Packs without labels whose weather is known."""


@dataclass(frozen=True)
class Drawn:
    """A picture with its labels and how to read them."""

    image: UInt8Array
    labels: UInt8Array
    label_map: LabelMap


class Source:
    """Labelled pictures of a pack, in no order."""

    def __init__(self, pack: Labelled) -> None:
        self._pack = pack

    def draw(self, rng: np.random.Generator) -> Drawn:
        """One of its pictures."""
        image, labels = self._pack.load(int(rng.integers(len(self._pack.pairs))))
        return Drawn(image, labels, self._pack.label_map)


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
    names = [name for name in recipe.data if name not in leave_out]
    if not names:
        raise DatasetError(
            f"recipe {recipe.name}: expected data to train on, found that everything is left out; "
            f"leave out less of {', '.join(recipe.data)}"
        )
    folders = {name: drawn_pack() if name == "street" else data / name for name in names}
    packs = {name: _opened(name, folder, "train") for name, folder in folders.items()}
    for name in sorted(set(with_val) & set(packs)):
        pairs = (*packs[name].pairs, *_opened(name, folders[name], "val").pairs)
        packs[name] = replace(packs[name], pairs=pairs)
    return {
        name: Source(SkippingPack(pack) if skip_broken else pack) for name, pack in packs.items()
    }


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
