"""What each engine is made of: network, data, augmentation, schedule. Defaults live here once."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
from torch import nn

from adverse_perception.frames import Weather
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import EVIDENCE
from training.networks.adaptive import AdaptiveChannel
from training.networks.classifier import WeatherNet
from training.networks.correction import LightCorrection
from training.networks.cyclegan import CycleGan
from training.networks.davss import DistortionAware
from training.networks.fusion import TwoChannels
from training.networks.joint import JointNet
from training.networks.srnet import srnet
from training.networks.srrn import durn_r, srrn
from training.networks.xception import segmenter

LABELLED = {"camvid": 0.42, "idd_lite": 0.28, "kitti_semantic": 0.15, "street": 0.15}
"""Packs and the share of the samples drawn from each; `street` is the renderer's."""
FINE = {"camvid": 0.6, "idd_lite": 0.18, "kitti_semantic": 0.12, "street": 0.1}
"""The same with more of the frames whose every class is labelled."""


NOTICEABLE = (0.25, 1.0)
"""Strengths at which weather has a name; a thin haze or a drizzle is a clear day."""


@dataclass(frozen=True)
class Augmentation:
    """How much a training picture is changed.

    Attributes:
        scales: smallest and largest size of the picture, relative to filling the crop.
        photometry: strength of the changes of exposure, colour, blur, noise and compression.
        weather: share of the pictures that get weather.
        conditions: which weather, and how often of those; `snow` counts as one of its own.
        strength: range of the weather's strength, 0 (light) to 1 (heavy).
    """

    scales: tuple[float, float] = (0.9, 2.0)
    photometry: float = 0.8
    weather: float = 0.0
    conditions: Mapping[str, float] = field(
        default_factory=lambda: {"rain": 0.3, "fog": 0.25, "night": 0.3, "snow": 0.15}
    )
    strength: tuple[float, float] = (0.0, 1.0)

    def condition(self, rng: np.random.Generator) -> str:
        """One of the weathers, as often as its share says."""
        shares = np.array(list(self.conditions.values()))
        return list(self.conditions)[int(rng.choice(len(shares), p=shares / shares.sum()))]


@dataclass(frozen=True)
class Stage:
    """A part of a training: what is learnt then, and by which loss.

    Attributes:
        name: the recipe's method knows the loss by it.
        share: of the run's steps.
        trains: how the names of the parameters that learn begin; the others stay as they are.
        rate: highest learning rate, relative to the schedule's.
        rates: those of parameters whose names begin so, relative to the stage's.
    """

    name: str = "all"
    share: float = 1.0
    trains: tuple[str, ...] = ("",)
    rate: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)


CURVES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "held": lambda done: min(1.0, 2 - 2 * done),  # half of it constant, then linear (CycleGAN)
    "poly": lambda done: (1 - done) ** 0.9,  # DeepLab, AdaptSegNet
}
"""Share of the highest rate by the share of a stage that is done, both 0 to 1."""


@dataclass(frozen=True)
class Schedule:
    """AdamW, in every stage with a warm-up and then a curve down to zero.

    Attributes:
        steps: optimiser steps of all stages together.
        batch: samples a step and process.
        rate: highest learning rate.
        decay: weight decay.
        average: how much of the averaged weights is kept every step.
        betas: of AdamW.
        stages: one after the other.
        curve: of the rate within a stage, of `CURVES`.
    """

    steps: int
    batch: int = 8
    rate: float = 1.5e-3
    decay: float = 0.02
    average: float = 0.997
    betas: tuple[float, float] = (0.9, 0.999)
    stages: tuple[Stage, ...] = (Stage(),)
    curve: str = "cosine"

    def at(self, step: int) -> tuple[Stage, int, int]:
        """The stage that a step belongs to, with the stage's first step and the one after it."""
        shares = list(accumulate(stage.share for stage in self.stages))
        ends = [round(self.steps * share / shares[-1]) for share in shares]
        number = min(bisect_right(ends, step), len(ends) - 1)
        return self.stages[number], ends[number - 1] if number else 0, ends[number]


@dataclass(frozen=True)
class Recipe:
    """Everything that makes one engine; the checkpoint carries it.

    Attributes:
        name: of the engine.
        role: what kind of network it is, of `NETWORKS`.
        conditions: the weather the engine is meant for.
        backbone, width: of DeepLabv3+ (`training.networks.deeplab`), or width of another network.
        size: (height, width) of the pictures it is trained and exported for.
        crop: (height, width) of a training sample.
        method: how it learns, of `methods.METHODS`, where that is not its role's own.
        losses: weights of the method's losses.
        options: of the network: parts to leave out in ablations, a size, SR-Net's map, or DMNet
            `calibrated`.
    """

    name: str
    role: str
    conditions: tuple[str, ...]
    schedule: Schedule
    backbone: str = "resnet18_w24"
    width: int = 96
    size: tuple[int, int] = (360, 480)
    crop: tuple[int, int] = (288, 384)
    data: Mapping[str, float] = field(default_factory=lambda: dict(LABELLED))
    augmentation: Augmentation = Augmentation()
    rare_class_power: float = 0.4
    seed: int = 1
    method: str = ""
    losses: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def restores(self) -> bool:
        """It learns from clean pictures too."""
        return self.role in ("joint", "srnet", "srrn", "durn_r")

    @property
    def adapts(self) -> bool:
        """It learns from nights that nobody has labelled, too."""
        return self.role == "adaptive" or self.method in ("distilling", "self_training")

    @property
    def watches(self) -> bool:
        """It learns from clips, not from single pictures."""
        return self.role in ("correction", "davss")

    @property
    def guided(self) -> bool:
        """It may learn from a frozen segmenter."""
        return self.restores or self.watches or self.method == "distilling"

    def network(self) -> nn.Module:
        """A fresh network of this recipe."""
        return NETWORKS[self.role](self)


NETWORKS: dict[str, Callable[[Recipe], nn.Module]] = {
    "weather": lambda recipe: WeatherNet(len(Weather), recipe.width),
    "adaptive": lambda recipe: AdaptiveChannel(
        recipe.backbone, len(CLASS_NAMES), recipe.width, **recipe.options
    ),
    "correction": lambda recipe: LightCorrection(
        recipe.backbone, len(CLASS_NAMES), recipe.width, len(EVIDENCE), **recipe.options
    ),
    "cyclegan": lambda recipe: CycleGan(recipe.width, **recipe.options),
    "segmentation": lambda recipe: segmenter(recipe.backbone, len(CLASS_NAMES), recipe.width),
    "fusion": lambda recipe: TwoChannels(
        recipe.backbone, len(CLASS_NAMES), recipe.width, **recipe.options
    ),
    "joint": lambda recipe: JointNet(
        recipe.backbone, len(CLASS_NAMES), recipe.width, **recipe.options
    ),
    "davss": lambda recipe: DistortionAware(len(CLASS_NAMES), recipe.width, **recipe.options),
    "srnet": lambda recipe: srnet(len(CLASS_NAMES), recipe.width),
    "srrn": lambda recipe: srrn(recipe.width),
    "durn_r": lambda recipe: durn_r(recipe.width),
}
"""What a recipe's role makes of it."""

_ALL = tuple(weather.value for weather in Weather)
_EVERY_WEATHER = Augmentation(weather=0.65)
_FAIR = Augmentation(scales=(0.9, 2.3), weather=0.1)  # large: thin things are what it lacks


def _deeplab(name: str, conditions: tuple[str, ...], augmentation: Augmentation) -> Recipe:
    data = LABELLED if len(conditions) > 1 else FINE
    return Recipe(
        name, "segmentation", conditions, Schedule(4000), data=data, augmentation=augmentation
    )


def _full(name: str, conditions: tuple[str, ...], augmentation: Augmentation) -> Recipe:
    """For a GPU: a large backbone at a large crop."""
    return Recipe(
        name,
        "segmentation",
        conditions,
        Schedule(30000, batch=16, rate=4e-4),
        backbone="resnet50",
        width=256,
        size=(512, 1024),
        crop=(512, 512),
        augmentation=augmentation,
    )


_WEATHER = Recipe(
    "weather",
    "weather",
    _ALL,
    Schedule(1400, batch=32, rate=2e-3, average=0.99),
    width=16,
    size=(144, 192),
    augmentation=Augmentation(
        scales=(1.0, 1.6),
        photometry=0.4,
        weather=0.75,
        conditions={"rain": 1 / 3, "fog": 1 / 3, "night": 1 / 3},
        strength=NOTICEABLE,
    ),
)

_WET = Augmentation(
    weather=0.85,
    conditions={"rain": 0.25, "fog": 0.3, "drops": 0.35, "reflection": 0.1},
    strength=(0.1, 1.0),
)
# What hides the scene is learnt first and faster, as SRRN's mask is; else it is hardly found.
_FINDS = tuple(f"restorer.{part}." for part in ("reduce", "modulate", "spread", "hidden"))
_IN_TWO_STAGES = (Stage("occlusion", 0.15, _FINDS, rate=4.0), Stage("joint", 0.85))
_JOINT = Recipe(
    "joint",
    "joint",
    ("rain", "fog"),
    Schedule(4000, rate=1e-3, stages=_IN_TWO_STAGES),
    augmentation=_WET,
    losses={"restoration": 1.0, "occlusion": 2.0, "distillation": 0.5},
)


def _full_joint(recipe: Recipe) -> Recipe:
    schedule = replace(recipe.schedule, stages=_IN_TWO_STAGES)
    return replace(recipe, role="joint", schedule=schedule, losses=_JOINT.losses)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _JOINT,
        _full_joint(_full("joint_full", ("rain", "fog"), _WET)),
        _deeplab("all_weather", _ALL, _EVERY_WEATHER),
        _deeplab("clear", ("clear",), _FAIR),
        _full("all_weather_full", _ALL, _EVERY_WEATHER),
        _full("clear_full", ("clear",), _FAIR),
        _WEATHER,
    )
}
