"""Average the weights of several runs that began alike: `python -m training.average`.

  python -m training.average runs/night/last.pt=0.4 runs/night_real/last.pt=0.3 --out runs/mixed.pt

Networks that were trained on from the same weights often lie in one valley of the loss, and their
mean is better than each (Wortsman et al. 2022, model soups), at no cost in driving. Whether it is
has to be measured, on frames that nothing has learnt from. What comes out is of the first one's
recipe; begin with it (--init), evaluate it, export it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from adverse_perception.files import FileError
from training.checkpoints import (
    Checkpoint,
    CheckpointError,
    check_same_network,
    open_checkpoint,
    save_weights,
)
from training.network_engine import engine_module

Share = tuple[Path, float]


def averaged(shares: Sequence[Share]) -> Checkpoint:
    """The weighted mean of checkpoints' networks, their shares brought to a sum of 1.

    It has taken no step and has no score of its own.

    Of an adaptive channel it is the segmenter that counts, where the first one is a segmenter.

    Raises:
        CheckpointError: one is missing, broken, or of another network; or a share is not above 0.
    """
    total = sum(share for _, share in shares)
    if not all(math.isfinite(share) and share > 0 for _, share in shares):
        raise CheckpointError("shares: expected numbers above 0, found others; name such")
    first = open_checkpoint(shares[0][0])
    mean = {name: torch.zeros_like(value) for name, value in first.network.state_dict().items()}
    learnt_from: list[str] = []
    for path, share in shares:
        one = open_checkpoint(path)
        weights = _weights_like(first, one, path)
        for name, value in mean.items():
            if value.is_floating_point():
                value += weights[name] * (share / total)
            else:
                value.copy_(weights[name])
        learnt_from += one.learnt_from
    first.network.load_state_dict(mean)
    return replace(first, step=0, score=0.0, learnt_from=tuple(dict.fromkeys(learnt_from)))


def _weights_like(first: Checkpoint, one: Checkpoint, path: Path) -> dict[str, Tensor]:
    role = first.recipe.role
    network = one.network if one.recipe.role == role else engine_module(one.network)
    check_same_network(path, replace(one.recipe, role=role), first.recipe)
    weights = network.state_dict()
    if _shapes(weights) != _shapes(first.network.state_dict()):
        raise CheckpointError(
            f"{path}: expected a network as that of {first.recipe.name}, found one of"
            f" {one.recipe.name} with other parts; leave it out"
        )
    return weights


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.average",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "shares", nargs="+", type=_share, metavar="CHECKPOINT=SHARE", help="the first names it"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    return parser.parse_args(given)


def _share(text: str) -> Share:
    path, _, share = text.rpartition("=")
    try:
        return Path(path), float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected CHECKPOINT=SHARE with a number, found {text!r}"
        ) from None


def main(given: list[str] | None = None) -> int:
    """Average as told; returns the exit code."""
    arguments = arguments_of(given)
    try:
        save_weights(arguments.out, averaged(arguments.shares))
    except (ValueError, FileError) as error:
        print(f"training.average: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
