"""How each kind of network learns: what a batch costs it, and how it restores a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.losses import class_weights, grouped_cross_entropy
from training.networks.guide import Guide
from training.recipes import Recipe

Batch = Mapping[str, Tensor]
"""Samples as `training.samples` makes them, stacked."""


class Method(Protocol):
    """The loss of one kind of network, by the stages of its recipe."""

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """What the batch costs in that stage, a scalar to make small."""
        ...


class Segmenting:
    """Labels of different detail teach one network."""

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._weights = class_weights(recipe.rare_class_power)

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        logits = network(batch["image"])
        weights = self._weights.to(logits.device)
        return grouped_cross_entropy(logits, batch["labels"], batch["groups"], weights)


class NamingWeather:
    """Cross-entropy over the four conditions."""

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        pass

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        return cross_entropy(network(batch["image"]), batch["weather"], label_smoothing=0.05)


METHODS: dict[str, Callable[[Recipe, Guide | None], Method]] = {
    "segmentation": Segmenting,
    "weather": NamingWeather,
}
"""By the recipe's role."""
