"""Labels and weather from single pictures."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.losses import brier_score, class_weights, grouped_cross_entropy
from training.methods.method import Batch
from training.networks.guide import Guide
from training.recipes import Recipe


class Segmenting:
    """Labels of different detail teach one network: L = CE + b Brier, b the recipe's `brier`.

    With b = 1 it is NiSeNet's Real channel (Nag et al. 2019), cross-entropy + MSE.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._weights = class_weights(recipe.rare_class_power)
        self._shares = recipe.losses

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        return self.labelled(network(batch["image"]), batch)

    def labelled(self, logits: Tensor, batch: Batch) -> Tensor:
        """What logits (N, K, h, w) cost by the batch's labels."""
        answers, weights = (batch["labels"], batch["groups"]), self._weights.to(logits.device)
        loss = grouped_cross_entropy(logits, *answers, weights)
        if share := self._shares.get("brier", 0.0):
            loss = loss + share * brier_score(logits, *answers)
        return loss


class NamingWeather:
    """Cross-entropy over the four conditions."""

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        pass

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        return cross_entropy(network(batch["image"]), batch["weather"], label_smoothing=0.05)
