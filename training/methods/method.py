"""What a method is: the loss of a kind of network, and for some the way it restores a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from adverse_perception.frames import UInt8Array
from training.networks.guide import Guide

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


@runtime_checkable
class Carrying(Method, Protocol):
    """A method whose networks carry on what a key network has said."""

    guide: Guide


@runtime_checkable
class Taught(Method, Protocol):
    """A method whose networks learn from their own average."""

    def learn_from(self, teacher: nn.Module) -> None:
        """Take the run's averaged network, which goes on changing with the run."""
        ...


def needed(guide: Guide | None, recipe: str) -> Guide:
    """The guide that a recipe cannot do without. Raises `ValueError` where there is none."""
    if guide is None:
        raise ValueError(
            f"recipe {recipe}: expected a frozen segmenter that guides, found none; "
            "name a checkpoint with --guide"
        )
    return guide


def planes(pictures: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 as samples hold them, to (N, 3, H, W) float, 0 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def planes_of(picture: UInt8Array) -> Tensor:
    """One picture (H, W, 3) uint8 RGB as a batch of `planes`: (1, 3, H, W) float, 0 to 1."""
    return planes(torch.from_numpy(np.ascontiguousarray(picture))[None])


def picture_of(batch: Tensor) -> UInt8Array:
    """The only picture of such a batch, rounded as it would be saved: (H, W, 3) uint8 RGB."""
    values = (batch[0].clamp(0, 1) * 255).round().permute(1, 2, 0)
    return np.asarray(values.cpu().numpy(), np.uint8)
