"""A road by night that nobody has labelled, and recipes that learn from it in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.frames import Weather
from tests.packs import road
from tests.toys import TOY, write_data
from training.recipes import Augmentation, Recipe
from training.sources import REAL_WEATHER


def write_nights(data: Path, count: int = 4) -> Path:
    """Dark pictures in the place of the real ones; returns the data folder."""
    pack, split = REAL_WEATHER[Weather.NIGHT]
    folder = data / pack
    (folder / "splits").mkdir(parents=True)
    rng = np.random.default_rng(5)
    names = [f"{number}.png" for number in range(count)]
    for name in names:
        assert cv2.imwrite(str(folder / name), road(rng)[0] // 6)
    (folder / "splits" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return data


def write_night_data(folder: Path) -> Path:
    """A data folder with two labelled packs and a night without labels."""
    return write_nights(write_data(folder))


def toy_of(recipe: Recipe, steps: int = 4) -> Recipe:
    """A recipe of the night in a few steps of small pictures and a narrow network."""
    return replace(
        TOY,
        name=f"toy_{recipe.name}",
        role=recipe.role,
        method=recipe.method,
        conditions=recipe.conditions,
        losses=recipe.losses,
        options=recipe.options,
        crop=(128, 160) if recipe.role == "adaptive" else (40, 60),  # a judge sees a 128th of it
        schedule=replace(recipe.schedule, steps=steps, batch=2, average=0.9),
        augmentation=Augmentation(scales=(0.9, 1.4), weather=0.9, conditions={"night": 1.0}),
    )
