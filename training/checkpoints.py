"""What a training run leaves behind, and how it goes on from there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adverse_perception.files import write_aside
from training.cyclegan_recipes import CYCLEGAN_RECIPES
from training.networks.deeplab import DeepLabV3Plus
from training.networks.fusion import FusedOutputs, TwoChannels
from training.networks.guide import Guide
from training.networks.xception import XceptionDeepLab
from training.night_recipes import NIGHT_RECIPES
from training.recipes import RECIPES, Augmentation, Recipe, Schedule, Stage
from training.restoration_recipes import RESTORATION_RECIPES
from training.video_recipes import VIDEO_RECIPES

TO_BEGIN = frozenset({"recipe", "average", "step", "score"})
"""What another run, an evaluation or an export needs of a checkpoint."""
TO_GO_ON = TO_BEGIN | {"network", "updates", "optimiser"}
"""What going on with the same run needs."""


GUIDE = Path(__file__).parent / "weights" / "clear.pt"
"""The segmenter that guides restoration if no other is named."""
EVERY_RECIPE = {
    **RECIPES,
    **RESTORATION_RECIPES,
    **VIDEO_RECIPES,
    **NIGHT_RECIPES,
    **CYCLEGAN_RECIPES,
}
"""What can be trained, by name."""


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
    """A network with the recipe that made it.

    Attributes:
        network: with the averaged weights, on the CPU, ready to evaluate or export.
        step: optimiser steps it has taken.
        score: what training's validation said, 0 to 1.
        learnt_from: names of the data sets it has seen, also before this run.
    """

    recipe: Recipe
    network: nn.Module
    step: int
    score: float
    learnt_from: tuple[str, ...]


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole or not at all. Raises `FileError`."""
    with write_aside(path) as aside:
        torch.save(dict(content), aside)


def save_weights(path: Path, checkpoint: Checkpoint) -> None:
    """Keep only what another run begins with (`--init`): a quarter of a checkpoint's size."""
    content = {
        "recipe": describe(checkpoint.recipe),
        "average": checkpoint.network.state_dict(),
        "step": checkpoint.step,
        "score": checkpoint.score,
        "learnt_from": list(checkpoint.learnt_from),
    }
    save(path, content)


def read(path: Path, needed: frozenset[str] = TO_BEGIN) -> dict[str, Any]:
    """Raises `CheckpointError` if the file is missing, cut off or something else."""
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected a checkpoint, found no file; train one with training.train"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no common base class for what it meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _unfit(path, f"a file that cannot be read ({reason})") from error
    missing = sorted(needed - set(content)) if isinstance(content, dict) else sorted(needed)
    if missing:
        raise _unfit(path, f"a file without {', '.join(missing)}")
    return dict(content)


def _unfit(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: expected a checkpoint of training.train, found {found}; "
        "train again or copy it anew"
    )


def open_checkpoint(path: Path) -> Checkpoint:
    """The averaged network of a checkpoint.

    Raises:
        CheckpointError: the file is missing, cut off, or of another version of the recipes.
    """
    content = read(path)
    try:
        recipe = recipe_from(content["recipe"])
        network = recipe.network()
        network.load_state_dict(content["average"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _unfit(path, f"a recipe or weights that do not fit ({reason})") from error
    return Checkpoint(
        recipe,
        network.eval(),
        int(content["step"]),
        float(content["score"]),
        learnt_from(content),
    )


def open_guide(path: Path, *, features: bool = True) -> Guide:
    """A frozen segmenter from its checkpoint.

    Args:
        path: the checkpoint.
        features: its features are wanted too, which two fused channels do not have.

    Raises:
        CheckpointError: the file is unfit, or of a network that does not segment.
    """
    checkpoint = open_checkpoint(path)
    network = checkpoint.network
    if isinstance(network, TwoChannels) and not features:
        return Guide(FusedOutputs(network), checkpoint.learnt_from)
    if not isinstance(network, DeepLabV3Plus | XceptionDeepLab):
        kind = type(network).__name__
        raise _unfit(path, f"a {kind}, which does not segment by itself")
    return Guide(network, checkpoint.learnt_from)


def learnt_from(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the data sets a checkpoint has seen; early checkpoints only have their recipe's."""
    return tuple(content.get("learnt_from", content["recipe"]["data"]))


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, as a checkpoint carries it."""
    return asdict(recipe)


def recipe_from(described: Mapping[str, Any]) -> Recipe:
    """The recipe that a checkpoint carries."""
    values = dict(described)
    values_of_schedule = values.pop("schedule")
    augmentation = dict(values.pop("augmentation"))
    for key in ("scales", "strength"):
        if key in augmentation:
            augmentation[key] = tuple(augmentation[key])
    for key in ("size", "crop", "conditions"):
        values[key] = tuple(values[key])
    return Recipe(
        **values,
        schedule=_schedule_from(values_of_schedule),
        augmentation=Augmentation(**augmentation),
    )


def _schedule_from(described: Mapping[str, Any]) -> Schedule:
    values = dict(described)
    stages = values.pop("stages", None)
    if stages is None:  # a checkpoint from before there were stages
        return Schedule(**values)
    made = tuple(Stage(**{**stage, "trains": tuple(stage["trains"])}) for stage in stages)
    return Schedule(**{**values, "betas": tuple(values["betas"]), "stages": made})


def check_same_network(path: Path, found: Recipe, expected: Recipe) -> None:
    """Raises `CheckpointError` if the weights of one recipe do not fit the other's network."""
    shapes = [
        f"{recipe.role} {recipe.backbone} of width {recipe.width}" for recipe in (found, expected)
    ]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"{path}: expected weights for {shapes[1]}, found {shapes[0]}; "
            "choose another recipe, or another folder with --out"
        )


def named_recipe(name: str) -> Recipe:
    """Raises `CheckpointError` with the names there are."""
    if name not in EVERY_RECIPE:
        raise CheckpointError(f"recipe {name!r}: expected one of {', '.join(EVERY_RECIPE)}")
    return EVERY_RECIPE[name]
