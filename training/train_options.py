"""What the command line of `training.train` says, and the recipe it makes of that."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.checkpoints import EVERY_RECIPE, GUIDE, CheckpointError, named_recipe
from training.datasets import LOADERS
from training.recipes import Recipe
from training.unpaired import Domains


def arguments_of(given: list[str] | None, description: str | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", choices=sorted(EVERY_RECIPE), help="what to train")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "--init",
        type=Path,
        nargs="+",
        help="checkpoint whose weights to begin with, then others over it",
    )
    begin.add_argument(
        "--backbone", type=Path, help="torchvision's ImageNet weights to begin with"
    )
    _add_data(parser.add_argument_group("data"))
    _add_changes(parser.add_argument_group("changes of the recipe"))
    parser.add_argument(
        "--guide",
        type=Path,
        help=f"checkpoint of the frozen network that guides ({GUIDE.name}; for `night` name one)",
    )
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument(
        "--keep", action="store_true", help="keep every checkpoint's weights, for studies"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load samples")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="multiply in bfloat16 on a CPU that can, twice as fast; GPUs always do",
    )
    parser.add_argument("--compile", action="store_true", help="fuse kernels with torch.compile")
    return parser.parse_args(given)


def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--data", type=Path, help="folder that holds camvid/, idd_lite/, ...")
    group.add_argument(
        "--also",
        nargs="*",
        default=[],
        type=_named_share,
        metavar="NAME=SHARE",
        help="further data sets beside the recipe's (docs/datasets.md), or packs, and their share",
    )
    group.add_argument("--leave-out", nargs="*", default=[], help="data sets not to train on")
    group.add_argument(
        "--with-val",
        nargs="*",
        default=[],
        metavar="PACK",
        help="packs whose validation split is learnt from too, when nothing is left to choose",
    )
    for side, whose in (("day", "of cyclegan"), ("night", "that a recipe learns from unlabelled")):
        group.add_argument(
            f"--{side}",
            type=Path,
            metavar="FOLDER",
            help=f"pictures by {side} {whose}, no label maps, with all subfolders; or a pack",
        )
    group.add_argument(
        "--skip-broken", action="store_true", help="go on without pictures that cannot be read"
    )


def _named_share(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    if not name or "/" in name:
        raise argparse.ArgumentTypeError(
            f"expected NAME=SHARE with one of {', '.join(sorted(LOADERS))}, or with the folder "
            f"name of a pack in the data folder, found {text!r}"
        )
    return name, float(share or 0.2)


def _add_changes(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--stages", nargs="*", help="only these of the recipe's stages")
    group.add_argument("--steps", type=int, help="optimiser steps (default: the recipe's)")
    group.add_argument("--rate", type=float, help="highest learning rate (default: the recipe's)")
    group.add_argument("--batch", type=int, help="samples a step and process")
    group.add_argument("--crop", type=int, nargs=2, metavar=("H", "W"), help="of a sample")
    group.add_argument(
        "--scales", type=float, nargs=2, metavar=("LOW", "HIGH"), help="sizes, 1 = filling it"
    )
    group.add_argument("--seed", type=int, help="another seed, other samples")


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The named recipe with what the command line changes of it."""
    recipe = with_stages(named_recipe(arguments.recipe), arguments.stages)
    changed: dict[str, Any] = {
        name: value
        for name in ("steps", "rate", "batch")
        if (value := getattr(arguments, name)) is not None
    }
    recipe = replace(recipe, schedule=replace(recipe.schedule, **changed))
    recipe = replace(recipe, data={**recipe.data, **dict(arguments.also)})
    if arguments.crop:
        recipe = replace(recipe, crop=tuple(arguments.crop))
    if arguments.scales:
        augmentation = replace(recipe.augmentation, scales=tuple(arguments.scales))
        recipe = replace(recipe, augmentation=augmentation)
    return recipe if arguments.seed is None else replace(recipe, seed=arguments.seed)


def domains_of(arguments: argparse.Namespace) -> Domains:
    """The folders of pictures without labels that the command line names."""
    return Domains(arguments.day, arguments.night)


def with_stages(recipe: Recipe, wished: list[str] | None) -> Recipe:
    """The recipe with only the stages named, if any are."""
    stages = recipe.schedule.stages
    names = [stage.name for stage in stages]
    unknown = sorted(set(wished or []) - set(names))
    if unknown:
        raise CheckpointError(
            f"recipe {recipe.name}: expected stages among {', '.join(names)}, found "
            f"{', '.join(unknown)}; leave --stages out to run all"
        )
    kept = tuple(stage for stage in stages if not wished or stage.name in wished)
    return replace(recipe, schedule=replace(recipe.schedule, stages=kept))
