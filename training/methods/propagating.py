"""Carrying keyframes along and correcting them: the trainings of Zhuang et al. 2020, section 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, nll_loss, softmax

from adverse_perception.labels import UNLABELLED
from training.losses import mean_where
from training.methods.method import Batch, needed, planes
from training.methods.optical_flow import end_point_error, photometric_loss, visible_in
from training.networks.davss import Parts, Step
from training.networks.guide import Guide
from training.networks.warp import resized
from training.recipes import Recipe

_SURE = 1e-3
"""A chance of 0 that should be 1 would cost infinitely much; clamped, it would teach nothing."""


class Propagating:
    """How `DistortionAware` learns, by the names of the stages; the guide segments keyframes.

    - `flow`: end-point error to the exact flow of clips that are drawn; clips that are filmed
      teach by photometry instead, `photometric` of the recipe's losses times.
    - `distortion`: DMNet learns where the propagated classes are not those that the guide sees in
      that very frame (section 4.2).
    - `correction`: flow and CFNet learn L_sem + L_cor (section 4.3), without weights of classes.
      DMNet is frozen, but its answer passes on what it says of the flow.

    Batches have `first` (the keyframe), `second` and `third`, each (N, H, W, 3) uint8 RGB;
    `labels` (N, H, W) int64 of the third, with `groups` (N, K, K); `flow_second` from the second
    to the first and `flow_third` from the third to the second, each (N, 2, H, W) float32, in
    pixels, NaN where unknown.

    Raises:
        ValueError: there is no guide.
    """

    def __init__(self, recipe: Recipe, guide: Guide | None) -> None:
        self.guide = needed(guide, recipe.name)
        self._photometric = recipe.losses.get("photometric", 0.0)
        self._losses = {
            "flow": self._flow_loss,
            "distortion": self._distortion_loss,
            "correction": self._correction_loss,
        }

    def loss(self, network: nn.Module, batch: Batch, stage: str) -> Tensor:
        """See `Method.loss`."""
        frames = [planes(batch[name]) for name in ("first", "second", "third")]
        return self._losses[stage](network, frames, batch)

    def _flow_loss(self, network: nn.Module, frames: list[Tensor], batch: Batch) -> Tensor:
        flows = _flows(network(frames, until="flow"))
        truth = torch.cat([batch["flow_second"], batch["flow_third"]])
        # Only of whole clips: what a drawn one does not know is hidden in the other picture.
        filmed = truth.isnan().flatten(1).all(1)
        share = filmed.float().mean()
        loss = (1 - share) * end_point_error(flows, truth)
        if not (self._photometric and filmed.any()):
            return loss
        with torch.no_grad():
            back = _flows(network(frames[::-1], until="flow")[::-1])[0]
        visible = visible_in(flows[0].detach(), back)[filmed]
        now, before = (torch.cat(pictures)[filmed] for pictures in (frames[1:], frames[:-1]))
        unlike = photometric_loss([flow[filmed] for flow in flows], now, before, visible)
        return loss + share * self._photometric * unlike

    def _distortion_loss(self, network: nn.Module, frames: list[Tensor], batch: Batch) -> Tensor:
        key, *seen = (self._seen(frame) for frame in frames)
        steps: tuple[Step, ...] = network(frames, key, "distortion")
        size = batch["labels"].shape[1:]
        losses = [distortion_loss(*pair, size) for pair in zip(steps, seen, strict=True)]
        return torch.stack(losses).mean()

    def _correction_loss(self, network: nn.Module, frames: list[Tensor], batch: Batch) -> Tensor:
        labels, size = batch["labels"], batch["labels"].shape[1:]
        steps: tuple[Step, ...] = network(frames, self._seen(frames[0]), "correction")
        second, third = (_parts(step).at(*size) for step in steps)
        taken_for_true = resized(self._seen(frames[1]), *size).argmax(1)
        identity = torch.eye(second.propagated.shape[1], device=labels.device)
        identity = identity.expand(len(labels), -1, -1)
        guessed = correction_losses(second, taken_for_true, identity)
        known = correction_losses(third, labels, batch["groups"])
        return (guessed + known) / 2

    @torch.no_grad()
    def _seen(self, frame: Tensor) -> Tensor:
        return self.guide(frame).logits


def distortion_loss(step: Step, seen: Tensor, size: Sequence[int]) -> Tensor:
    """BCE of D with where propagated and seen classes differ, at full size (section 4.2).

    Args:
        step: of the frame, computed until `distortion`.
        seen: (N, classes, h, w) logits of that frame itself.
        size: height and width of the picture.
    """
    assert step.memory is not None
    assert step.distortion is not None
    height, width = size
    classes = [resized(one, height, width).argmax(1) for one in (step.memory.logits, seen)]
    wrong = (classes[0] != classes[1]).float()
    with torch.autocast(wrong.device.type, enabled=False):
        chance = resized(step.distortion, height, width)[:, 0]
        return binary_cross_entropy(_SURE + (1 - 2 * _SURE) * chance, wrong)


def correction_losses(parts: Parts, labels: Tensor, groups: Tensor) -> Tensor:
    """One frame's half of L_sem + L_cor: [CE(P) + CE(Y)] / 2 + mean(D ce(C)) (section 4.3).

    CE is the mean over labelled pixels, the other mean is over all, of which those without a
    label cost nothing.

    Args:
        parts: at full size.
        labels: (N, H, W) int64, 255 = ignore.
        groups: (N, K, K), see `losses.grouped_cross_entropy`.
    """
    known = labels != UNLABELLED
    propagated, blended, corrected = (
        pixel_cross_entropy(logits, labels, groups)
        for logits in (parts.propagated, parts.blended, parts.corrected)
    )
    semantic = (mean_where(known, propagated) + mean_where(known, blended)) / 2
    return semantic + (parts.distortion[:, 0] * corrected).mean()


def pixel_cross_entropy(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Of every pixel, -log of the sum of the chances that its label allows; 0 without a label.

    Shape: logits (N, K, H, W); labels (N, H, W) int64; groups (N, K, K); out (N, H, W) float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        chances = torch.einsum("nrk,nkhw->nrhw", groups, softmax(logits.float(), 1))
        # So small a floor that hopeless pixels still have a gradient.
        costs = chances.clamp_min(1e-30).log()
        return nll_loss(costs, labels, ignore_index=UNLABELLED, reduction="none")


def _flows(steps: Sequence[Step]) -> list[Tensor]:
    """Every scale of all the steps as one batch, finest first."""
    return [torch.cat(scale) for scale in zip(*(step.flows for step in steps), strict=True)]


def _parts(step: Step) -> Parts:
    assert step.memory is not None
    assert step.corrected is not None
    assert step.distortion is not None
    return Parts(step.memory.logits, step.corrected, step.distortion)
