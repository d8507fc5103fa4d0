"""Correcting what a warp has damaged: the losses of the light step between key frames."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    interpolate,
)

from training.losses import class_weights, grouped_cross_entropy
from training.methods.joint import distillation
from training.methods.method import Batch, needed
from training.networks.correction import Corrected
from training.networks.guide import Guide
from training.recipes import Recipe


class Correcting:
    """L = CE(Y) + D CE(C) + seeing CE(C) + BCE(D, T) + distillation, as far as the recipe wants.

    Y = (1 - D) P + D C is what the vehicle labels by, P the warped logits (Zhuang et al. 2020:
    L_sem, L_cor and the loss of their first stage, here together). T is 1 where P and the key
    network, run on the very frame, name different classes; distillation holds Y to that network's
    logits, KL(key || Y), and C as well by its share `seeing`, which teaches on frames without
    labels too: what corrects a few pixels has to stay able to see them all.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._weights = class_weights(recipe.rare_class_power)
        self._shares = recipe.losses
        self.guide = needed(guide, recipe.name)

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        warped, seen = batch["warped"], batch["seen"]
        found: Corrected = network(batch["image"], warped, batch["evidence"])
        blended, chance = blend(warped, found, batch["labels"].shape[1:])
        answers = (batch["labels"], batch["groups"], self._weights.to(warped.device))
        wrong = (warped.argmax(1) != seen.argmax(1)).float()[:, None]
        loss = grouped_cross_entropy(blended, *answers)
        share = self._shares["seeing"] + chance.detach()
        loss = loss + grouped_cross_entropy(found.correction, *answers, share)
        loss = loss + self._shares["distortion"] * binary_cross_entropy_with_logits(
            found.distortion.float(), wrong
        )
        known = interpolate(seen, size=blended.shape[2:], mode="bilinear")
        held = distillation(blended, known)
        held = held + self._shares["seeing"] * distillation(found.correction, seen)
        return loss + self._shares["distillation"] * held


def blend(warped: Tensor, found: Corrected, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Y = (1 - D) P + D C at half a picture's size, as `kernels.correct_and_label` blends it.

    Shape: warped (N, K, h, w); size (H, W); out (N, K, H/2, W/2), and D (N, 1, H/2, W/2).
    """
    half = (-(-size[0] // 2), -(-size[1] // 2))
    before, correction, distortion = (
        interpolate(x.float(), size=half, mode="bilinear")
        for x in (warped, found.correction, found.distortion.float().sigmoid())
    )
    return before + distortion * (correction - before), distortion
