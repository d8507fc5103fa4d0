"""Teaching a segmenter about a night without labels by what its own average says of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adverse_perception.labels import UNLABELLED
from training.losses import grouped_cross_entropy
from training.methods.method import Batch
from training.methods.plain import Segmenting
from training.networks.blocks import chances
from training.networks.fusion import label_map
from training.networks.guide import Guide
from training.recipes import Recipe

_SURE = 0.968
"""Chance above which a label counts as known (Tranheden et al. 2021)."""
_PATCH_PX = 32
_MASKED = 0.7
"""Share of the patches that are hidden (Hoyer et al. 2023)."""
_GREY = 124


class SelfTraining(Segmenting):
    """L = S(source) + t (mixed + CE(masked)), by pseudo-labels of the averaged network.

    S is what labels cost (`Segmenting`) and t the recipe's loss `target`. Mixed: half of a
    labelled picture's classes are pasted into an unlabelled one (ClassMix, Olsson et al. 2021),
    which costs S there and CE elsewhere; masked: patches of the unlabelled one are hidden, and the
    context has to tell (masked image consistency, Hoyer et al. 2023). How much pseudo-labels count
    is the share of the picture that the teacher is sure of (Tranheden et al. 2021).
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        super().__init__(recipe, guide)
        self.teacher: nn.Module | None = None

    def learn_from(self, teacher: nn.Module) -> None:
        """See `Taught`."""
        self.teacher = teacher

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        image, labels, target = batch["image"], batch["labels"], batch["target"]
        guessed, trust = self._guessed(target)
        pasted = half_of_the_classes(labels)
        mixed = torch.where(pasted[..., None], image, target)
        seen = torch.cat([image, mixed, masked(target)])
        of_source, of_mixed, of_masked = network(seen).chunk(3)
        known = {**batch, "labels": labels.where(pasted, UNLABELLED)}
        share = pasted.float().mean()
        mix = share * self.labelled(of_mixed, known)
        mix = mix + (1 - share) * self._pseudo(of_mixed, guessed.where(~pasted, UNLABELLED), trust)
        loss = self.labelled(of_source, batch)
        return loss + self._shares["target"] * (mix + self._pseudo(of_masked, guessed, trust))

    @torch.no_grad()
    def _guessed(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's labels (N, H, W), and the share of each picture it is sure of, (N,)."""
        assert self.teacher is not None, "a run gives its averaged network"
        logits = self.teacher(target).float()
        sure = chances(logits).amax(1) > _SURE
        return label_map(logits, target.shape[1:3]), sure.float().mean((1, 2))

    def _pseudo(self, logits: Tensor, labels: Tensor, trust: Tensor) -> Tensor:
        groups = torch.eye(logits.shape[1], device=logits.device).repeat(len(logits), 1, 1)
        share = trust[:, None, None, None].expand(-1, 1, 2, 2)
        weights = self._weights.to(logits.device)
        return grouped_cross_entropy(logits, labels, groups, weights, share)


def half_of_the_classes(labels: Tensor) -> Tensor:
    """Where a drawn half of each picture's classes is: (N, H, W) bool, of labels (N, H, W)."""
    chosen = []
    for one in labels:
        there = one.unique()
        there = there[there != UNLABELLED]
        some = there[torch.randperm(len(there), device=one.device)[: (len(there) + 1) // 2]]
        chosen.append(torch.isin(one, some))
    return torch.stack(chosen)


def masked(pictures: Tensor) -> Tensor:
    """With drawn patches grey: (N, H, W, 3) uint8."""
    count, height, width = pictures.shape[:3]
    grid = (count, 1, -(-height // _PATCH_PX), -(-width // _PATCH_PX))
    hidden = (torch.rand(grid, device=pictures.device) < _MASKED).float()
    hidden = interpolate(hidden, scale_factor=_PATCH_PX, mode="nearest")
    return pictures.masked_fill(hidden[:, 0, :height, :width, None] > 0, _GREY)
