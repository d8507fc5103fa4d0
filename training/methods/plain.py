"""Labels and weather from single pictures."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.losses import class_weights, grouped_cross_entropy
from training.methods.method import Batch
from training.networks.guide import Guide
from training.recipes import Recipe


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
