"""How each kind of network learns: what a batch costs it, and how it restores a picture."""

from __future__ import annotations

from collections.abc import Callable

from training.methods.adapting import Adapting
from training.methods.cooperate import Cooperating
from training.methods.correcting import Correcting
from training.methods.derain import RemovingDrops
from training.methods.distilling import Distilling
from training.methods.fusing import Fusing
from training.methods.joint import RestoringAndSegmenting
from training.methods.method import (
    Batch,
    Carrying,
    Method,
    Restoring,
    Taught,
    picture_of,
    planes_of,
)
from training.methods.plain import NamingWeather, Segmenting
from training.methods.propagating import Propagating
from training.methods.self_training import SelfTraining
from training.methods.translating import Translating, translated
from training.networks.guide import Guide
from training.recipes import Recipe

METHODS: dict[str, Callable[[Recipe, Guide | None], Method]] = {
    "adaptive": Adapting,
    "correction": Correcting,
    "cyclegan": Translating,
    "davss": Propagating,
    "durn_r": RemovingDrops,
    "distilling": Distilling,
    "fusion": Fusing,
    "joint": RestoringAndSegmenting,
    "segmentation": Segmenting,
    "self_training": SelfTraining,
    "srnet": Cooperating,
    "srrn": RemovingDrops,
    "weather": NamingWeather,
}
"""By the recipe's method, which is its role's where it names none."""

__all__ = [
    "METHODS",
    "Batch",
    "Carrying",
    "Method",
    "Restoring",
    "Taught",
    "Translating",
    "picture_of",
    "planes_of",
    "translated",
]
