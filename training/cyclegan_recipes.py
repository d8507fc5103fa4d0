"""Recipes of CycleGAN, which learns what a night looks like from two piles of pictures."""

from __future__ import annotations

from dataclasses import replace

from training.recipes import Augmentation, Recipe, Schedule

_CYCLEGAN = Recipe(
    "cyclegan",
    "cyclegan",
    ("night",),
    Schedule(  # the paper's but for the number of steps
        4000, batch=1, rate=2e-4, decay=0.0, betas=(0.5, 0.999), curve="held"
    ),
    width=24,
    crop=(128, 160),
    data={"camvid": 0.5, "idd_lite": 0.35, "kitti_semantic": 0.15},
    augmentation=Augmentation(scales=(1.0, 1.6), photometry=0.0),
    losses={"cycle": 10.0, "identity": 5.0},
    options={"blocks": 6},
)
"""Narrow, for two CPU cores: the paper's six blocks for pictures of 128 pixels."""

_FULL = replace(
    _CYCLEGAN,
    name="cyclegan_full",
    schedule=replace(_CYCLEGAN.schedule, steps=400_000, average=0.9999),
    width=64,
    crop=(256, 256),
    options={"blocks": 9},
)
"""The paper's size and crop, for a GPU."""

CYCLEGAN_RECIPES = {recipe.name: recipe for recipe in (_CYCLEGAN, _FULL)}
