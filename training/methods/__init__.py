"""How each kind of network learns: what a batch costs it, and how it restores a picture."""

from __future__ import annotations

from collections.abc import Callable

from training.methods.cooperate import Cooperating
from training.methods.correcting import Correcting
from training.methods.derain import RemovingDrops
from training.methods.joint import RestoringAndSegmenting
from training.methods.method import Batch, Carrying, Method, Restoring, picture_of, planes_of
from training.methods.plain import NamingWeather, Segmenting
from training.methods.propagating import Propagating
from training.networks.guide import Guide
from training.recipes import Recipe

METHODS: dict[str, Callable[[Recipe, Guide | None], Method]] = {
    "correction": Correcting,
    "davss": Propagating,
    "durn_r": RemovingDrops,
    "joint": RestoringAndSegmenting,
    "segmentation": Segmenting,
    "srnet": Cooperating,
    "srrn": RemovingDrops,
    "weather": NamingWeather,
}
"""By the recipe's role."""

__all__ = ["METHODS", "Batch", "Carrying", "Method", "Restoring", "picture_of", "planes_of"]
