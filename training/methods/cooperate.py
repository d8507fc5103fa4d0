"""SR-Net: a segmenter's map is corrected, a picture restored by it, and asked what it shows now.

Losses and stages are the reference design (ours) for Xia et al. 2019, who disclosed none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.losses import (
    class_weights,
    grouped_cross_entropy,
    refinement_loss,
    synthesis_loss,
)
from training.methods.method import Batch, needed, planes
from training.networks.guide import Guide
from training.networks.srnet import Cooperation
from training.recipes import Recipe

SOURCES = ("s1", "s0", "label", "constant")
"""What EGS may restore by: the refined map, the guide's own, the true labels, or nothing."""
PASTED = {"watermark", "irregular_mask"}
"""Degradations that hide the picture where they are; their place may be known."""
_TOLD = 0.5


class Cooperating:
    """Stages `sga`, `egs_labels` (EGS by maps of the labels), `egs` (by s1) and `joint`.

    L_SGA = CE(z1) + 0.5 (1 - soft IoU), L_EGS = |y - J| + 0.2 (1 - SSIM), and jointly
    L_SGA + L_EGS + c CE(Seg(y)), whose gradient goes through the frozen guide into EGS; c is the
    recipe's loss `cooperation`, 0.1 in the design.

    With an option of the recipe by the name of a source, EGS restores by that map instead of s1;
    it begins with the labels' maps all the same, unless the map is the constant one. Where
    something pasted is to be removed, every second picture comes with what it hides.

    Raises:
        ValueError: there is no guide, or the recipe's options are no source.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self._guide = needed(guide, recipe.name)
        self._weights = class_weights(recipe.rare_class_power)
        self._cooperation = recipe.losses.get("cooperation", 0.0)
        self._source = _source(recipe)
        self._pasted = bool(PASTED & set(recipe.augmentation.conditions))
        self._losses = {
            "sga": self._refining,
            "egs_labels": self._restoring_by_labels,
            "egs": self._restoring,
            "joint": self._cooperating,
        }

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        return self._losses[stage](network, planes(batch["image"]), batch)

    def _refining(self, network: nn.Module, image: Tensor, batch: Batch) -> Tensor:
        made: Cooperation = network(image, self._initial(image), restores=False)
        return self._refined(made, batch)

    def _restoring_by_labels(self, network: nn.Module, image: Tensor, batch: Batch) -> Tensor:
        source = "constant" if self._source == "constant" else "label"
        made = self._made(network, image, batch, source)
        return synthesis_loss(made.restored, planes(batch["clean"]))

    def _restoring(self, network: nn.Module, image: Tensor, batch: Batch) -> Tensor:
        made = self._made(network, image, batch, self._source)
        return synthesis_loss(made.restored, planes(batch["clean"]))

    def _cooperating(self, network: nn.Module, image: Tensor, batch: Batch) -> Tensor:
        made = self._made(network, image, batch, self._source)
        loss = synthesis_loss(made.restored, planes(batch["clean"]))
        seen = self._guide(made.restored).logits
        labels, groups, weights = self._answers(batch)
        understood = grouped_cross_entropy(seen, labels, groups, weights)
        loss = loss + self._cooperation * understood  # L_coop
        return loss + self._refined(made, batch) if self._source == "s1" else loss

    def _refined(self, made: Cooperation, batch: Batch) -> Tensor:
        return refinement_loss(made.refined_logits, *self._answers(batch))

    def _answers(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        groups = batch["groups"]
        return batch["labels"], groups, self._weights.to(groups.device)

    def _made(self, network: nn.Module, image: Tensor, batch: Batch, source: str) -> Cooperation:
        truth = chances_of(batch["labels"], batch["groups"]) if source == "label" else None
        hidden = _sometimes(batch["occlusion"].nan_to_num()) if self._pasted else None
        return self._round(network, image, source, truth=truth, hidden=hidden)

    def _round(
        self,
        network: nn.Module,
        image: Tensor,
        source: str,
        *,
        picture: Tensor | None = None,
        truth: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Cooperation:
        """One round, by the guide's map of that picture, else of the image."""
        logits = self._initial(image if picture is None else picture)
        guidance = torch.full_like(logits, 1 / logits.shape[1]) if source == "constant" else truth
        made: Cooperation = network(image, logits, guidance, hidden, refines=source == "s1")
        return made

    @torch.no_grad()
    def _initial(self, image: Tensor) -> Tensor:
        return self._guide(image).logits

    @torch.no_grad()
    def cooperate(
        self,
        network: nn.Module,
        image: Tensor,
        *,
        rounds: int = 1,
        truth: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Cooperation:
        """What the last round makes of a picture; the ones after the first begin with Seg(y).

        Every round restores the picture itself, which is all that is known of the scene.

        Args:
            network: an `SRNet`.
            image: (N, 3, H, W) float RGB, 0 to 1, degraded.
            rounds: 1 or more.
            truth: (N, classes, H, W), see `chances_of`, if EGS restores by the labels; the guide's
                map stands in for it.
            hidden: (N, H, W) float 0 to 1, what is known to be hidden.
        """
        told = truth if self._source == "label" else None
        made = self._round(network, image, self._source, truth=told, hidden=hidden)
        for _ in range(rounds - 1):
            made = self._round(
                network, image, self._source, picture=made.restored, truth=told, hidden=hidden
            )
        return Cooperation(made.refined_logits, made.restored.clamp(0, 1))

    def restore(self, network: nn.Module, image: Tensor) -> Tensor:
        """See `Restoring.restore`; of one round."""
        return self.cooperate(network, image).restored

    @torch.no_grad()
    def segment(self, network: nn.Module, image: Tensor) -> Tensor:
        """Logits of a picture: z1 (N, classes, H, W), or where EGS restores by another map, what
        the guide says of the restored picture, (N, classes, H/4, W/4).
        """
        made = self.cooperate(network, image)
        return made.refined_logits if self._source == "s1" else self._guide(made.restored).logits


def _source(recipe: Recipe) -> str:
    wished = [name for name, wanted in recipe.options.items() if wanted]
    if len(wished) > 1 or not set(wished) <= set(SOURCES):
        raise ValueError(
            f"recipe {recipe.name}: expected at most one option of {', '.join(SOURCES)}, found "
            f"{', '.join(wished)}; name the one map to restore by"
        )
    return wished[0] if wished else "s1"


def chances_of(labels: Tensor, groups: Tensor) -> Tensor:
    """Labels as a map of probabilities, even among the classes that a label may mean.

    Shape: labels (N, H, W) int64, 255 where unknown; groups (N, R, K); out (N, K, H, W) float32.
    """
    count, rows, classes = groups.shape
    anything = groups.new_ones(count, 1, classes)
    meanings = torch.cat([groups, anything], 1)
    meanings = torch.where(meanings.sum(2, keepdim=True) > 0, meanings, anything)
    meanings = meanings / meanings.sum(2, keepdim=True)
    sample = torch.arange(count, device=labels.device)[:, None, None]
    return meanings[sample, labels.clamp_max(rows)].permute(0, 3, 1, 2)


def _sometimes(hidden: Tensor) -> Tensor:
    """What is hidden, of every second sample; of the others nothing, which reads as unknown."""
    return hidden * (torch.rand(len(hidden), 1, 1, device=hidden.device) < _TOLD)
