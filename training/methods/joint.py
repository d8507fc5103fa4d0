"""Restoring and segmenting with one encoder: the losses of the joint engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    interpolate,
    kl_div,
    log_softmax,
    mse_loss,
    softmax,
)

from training.losses import (
    class_weights,
    feature_matching,
    grouped_cross_entropy,
    log_error,
    mean_where,
    restoration_loss,
)
from training.methods.method import Batch, needed, planes
from training.networks.guide import Guide
from training.networks.joint import Joint
from training.recipes import Recipe


class RestoringAndSegmenting:
    """L = CE + restoration + occlusion + distillation + 0.005 L_H, as far as the recipe wants.

    Restoration is L_D(I_2) + 0.5 MSE(I_1) as in SRRN, + 0.2 log10 MSE(I_2), which PSNR is of;
    occlusion, as its mask network learns, what hides the scene; L_H is its feature matching;
    distillation holds the logits of the degraded picture to the guide's on the clean one,
    KL(guide || network). A stage named `occlusion` learns that alone.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._weights = class_weights(recipe.rare_class_power)
        self._shares = recipe.losses
        self._guide = guide
        if self._share("distillation") or self._share("matching"):
            needed(guide, recipe.name)

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        joint: Joint = network(batch["image"])
        if stage == "occlusion":
            return occlusion_loss(joint.hidden, batch["occlusion"])
        clean = planes(batch["clean"])
        weights = self._weights.to(clean.device)
        loss = grouped_cross_entropy(joint.logits, batch["labels"], batch["groups"], weights)
        if self._share("restoration"):
            loss = loss + self._share("restoration") * _restored(joint, clean)
        if self._share("occlusion"):
            hidden = occlusion_loss(joint.hidden, batch["occlusion"])
            loss = loss + self._share("occlusion") * hidden
        return loss + self._guided(joint, clean)

    def _guided(self, joint: Joint, clean: Tensor) -> Tensor:
        distilled, matched = self._share("distillation"), self._share("matching")
        loss = joint.logits.new_zeros(())
        if self._guide is None or not (distilled or matched):
            return loss
        with torch.no_grad():
            known = self._guide(clean)
        if distilled:
            loss = loss + distilled * distillation(joint.logits, known.logits)
        if matched:
            loss = loss + matched * feature_matching(self._guide(joint.restored), known)
        return loss

    def _share(self, name: str) -> float:
        return self._shares.get(name, 0.0)


def _restored(joint: Joint, clean: Tensor) -> Tensor:
    loss = restoration_loss(joint.restored, clean)
    loss = loss + 0.5 * mse_loss(joint.coarse.float(), clean)
    return loss + 0.2 * log_error(joint.restored, clean)


def occlusion_loss(hidden: Tensor, occlusion: Tensor) -> Tensor:
    """Cross-entropy of what something on the glass hides, at the size of the answer.

    Shape: hidden (N, 1, h, w), logits; occlusion (N, H, W) float, 0 to 1, NaN where unknown.
    """
    truth = interpolate(occlusion[:, None], size=hidden.shape[2:], mode="area")
    errors = binary_cross_entropy_with_logits(hidden.float(), truth.nan_to_num(), reduction="none")
    return mean_where(~truth.isnan(), errors)


def distillation(logits: Tensor, known: Tensor) -> Tensor:
    """KL(softmax(known) || softmax(logits)), mean over the pixels (Hinton et al. 2015).

    Shape: both (N, K, h, w).
    """
    chances = log_softmax(logits.float(), 1), softmax(known.float(), 1)
    return kl_div(*chances, reduction="none").sum(1).mean()
