"""Deraining for the segmenter behind it: one-stage and two-stage joint training (Guo et al. 2020).

The paper's options that its authors switched off (GAN, boundary, pseudo-label and style losses)
are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from training.losses import (
    feature_matching,
    mean_where,
    restoration_loss,
    stepwise_restoration_loss,
)
from training.methods.method import Batch, needed, planes
from training.networks.guide import Guide
from training.networks.srrn import Derained, Deraining
from training.recipes import Recipe


class RemovingDrops:
    """How `Deraining` learns, by the names of the stages.

    - `mask`: MSE of the drop map to the exact alpha of what is on the glass; the paper had to
      threshold the difference of rainy and clean.
    - `coarse`: L_D of the first estimate.
    - `refine`: L_R + m L_H of the refinement behind a frozen first network (TJT).
    - `joint`: L_D + m L_H of the last picture from the first step (OJT).

    m is the recipe's loss `matching`, 0.005 in the paper; without it, nothing but restoration
    is learnt and no guide is needed.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._name, self._guide = recipe.name, guide
        self._matching = recipe.losses.get("matching", 0.0)
        self._losses: dict[str, Callable[[Derained, Batch], Tensor]] = {
            "mask": _mask_loss,
            "coarse": _coarse_loss,
            "refine": self._refine_loss,
            "joint": self._joint_loss,
        }

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        self._check_guided()  # now, not in the last stage after a day
        until = stage if stage in ("mask", "coarse") else "refine"
        return self._losses[stage](network(planes(batch["image"]), until), batch)

    def _refine_loss(self, derained: Derained, batch: Batch) -> Tensor:
        clean = planes(batch["clean"])
        loss = stepwise_restoration_loss(derained.refined, clean)
        return loss + self._matched(derained.refined[-1], clean)

    def _joint_loss(self, derained: Derained, batch: Batch) -> Tensor:
        clean, picture = planes(batch["clean"]), derained.refined[-1]
        return restoration_loss(picture, clean) + self._matched(picture, clean)

    def _matched(self, picture: Tensor, clean: Tensor) -> Tensor:
        """0.005 L_H: the guide should make of the picture what it makes of the clean one."""
        if self._guide is None or not self._matching:
            return picture.new_zeros(())
        with torch.no_grad():
            known = self._guide(clean)
        return self._matching * feature_matching(self._guide(picture), known)

    def _check_guided(self) -> None:
        if self._matching:
            needed(self._guide, self._name)

    def restore(self, network: nn.Module, image: Tensor) -> Tensor:
        """See `Restoring.restore`; as far as the network has learnt."""
        assert isinstance(network, Deraining)
        derained = network(image, network.reach)
        picture: Tensor = (derained.coarse, *derained.refined)[-1]
        return picture.clamp(0, 1)


def _mask_loss(derained: Derained, batch: Batch) -> Tensor:
    assert derained.mask is not None, "a recipe without a mask network has a stage for it"
    occlusion = batch["occlusion"]
    errors = mse_loss(derained.mask[:, 0].float(), occlusion.nan_to_num(), reduction="none")
    return mean_where(~occlusion.isnan(), errors)


def _coarse_loss(derained: Derained, batch: Batch) -> Tensor:
    assert derained.coarse is not None
    return restoration_loss(derained.coarse, planes(batch["clean"]))
