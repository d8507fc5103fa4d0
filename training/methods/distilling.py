"""One network from two channels and their fusion, which also look at the day."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.methods.joint import distillation
from training.methods.method import Batch, needed
from training.methods.plain import Segmenting
from training.networks.guide import Guide
from training.recipes import Recipe


class Distilling(Segmenting):
    """L = S(night) + p KL(guide(day)) + t KL(guide(real night)).

    S is what labels cost (`Segmenting`), KL that of the network's logits from the guide's. The
    guide sees a labelled picture by night and, which is more, by the day it was made of; about a
    real night nothing else is known. p is the recipe's loss `privileged` (the student cannot have
    what the teacher sees: Vapnik and Vashist 2009), t `target`.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        super().__init__(recipe, guide)
        self._guide = needed(guide, recipe.name)

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        image = batch["image"]
        real = batch["target"][::2]  # of few places: half as many will do
        night, target = network(torch.cat([image, real])).split((len(image), len(real)))
        loss = self.labelled(night, batch)
        by_day, of_real = (self._guide.logits(seen) for seen in (batch["day"], real))
        loss = loss + self._shares["privileged"] * distillation(night, by_day)
        return loss + self._shares["target"] * distillation(target, of_real)
