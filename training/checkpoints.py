"""What a training run leaves behind, and how it goes on from there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.recipes import RECIPES, Augmentation, Recipe, Schedule


class CheckpointError(ValueError):
    """A checkpoint is missing, cut off or of another recipe."""


class AveragedWeights:
    """Exponential moving average of a network's weights; what is evaluated and exported."""

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._keep = keep
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step; young averages forget faster."""
        self.updates += 1
        keep = min(self._keep, (1 + self.updates) / (10 + self.updates))
        current = network.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name].to(value.dtype), 1 - keep)
            else:
                value.copy_(current[name])


@dataclass(frozen=True)
class Checkpoint:
    """A network with the recipe that made it."""

    recipe: Recipe
    network: nn.Module
    step: int
    score: float


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write aside, then rename: an interrupted run never leaves half a checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    torch.save(dict(content), aside)
    aside.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Raises `CheckpointError` if the file is missing or cut off."""
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a checkpoint of training.train, found no file")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint of training.train, found a file that cannot be read "
            f"({error}); train again or copy it anew"
        ) from error
    return content


def open_checkpoint(path: Path) -> Checkpoint:
    """The averaged network of a checkpoint, ready to evaluate or export."""
    content = read(path)
    recipe = recipe_from(content["recipe"])
    network = recipe.network()
    network.load_state_dict(content["average"])
    return Checkpoint(recipe, network.eval(), int(content["step"]), float(content["score"]))


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, as a checkpoint carries it."""
    return asdict(recipe)


def recipe_from(described: Mapping[str, Any]) -> Recipe:
    """The recipe that a checkpoint carries."""
    values = dict(described)
    augmentation = dict(values.pop("augmentation"))
    for key in ("scales", "strength"):
        if key in augmentation:
            augmentation[key] = tuple(augmentation[key])
    for key in ("size", "crop", "conditions"):
        values[key] = tuple(values[key])
    schedule = Schedule(**values.pop("schedule"))
    return Recipe(**values, schedule=schedule, augmentation=Augmentation(**augmentation))


def named_recipe(name: str) -> Recipe:
    """Raises `CheckpointError` with the names there are."""
    if name not in RECIPES:
        raise CheckpointError(f"recipe {name!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[name]
