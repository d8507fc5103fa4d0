"""Judging by a network without teaching it: of two that work against each other in one step."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def frozen_call(module: nn.Module, pictures: Tensor) -> Any:
    """What the module says, with a gradient for what it is given and none for its parameters.

    So a generator learns from a judge in the same backward pass in which the judge learns from
    something else, by one optimiser and one forward of both.

    Args:
        module: a judge.
        pictures: (N, C, H, W), what it is to judge.
    """
    frozen = {name: value.detach() for name, value in module.named_parameters()}
    return functional_call(module, frozen, (pictures,))
