"""What a method is: the loss of a kind of network, and for some the way it restores a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Samples as `training.samples` makes them, stacked."""


class Method(Protocol):
    """The loss of one kind of network, by the stages of its recipe."""

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """What the batch costs in that stage, a scalar to make small."""
        ...


@runtime_checkable
class Restoring(Method, Protocol):
    """A method whose networks give back the picture without the weather."""

    def restore(self, network: nn.Module, image: Tensor) -> Tensor:
        """(N, 3, H, W) float RGB, 0 to 1, in and out, at any size."""
        ...


def planes(pictures: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 as samples hold them, to (N, 3, H, W) float, 0 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 255
