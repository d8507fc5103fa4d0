"""What training makes small."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, nll_loss, softmax

from adverse_perception.labels import UNLABELLED

CLASS_SHARES = (0.158, 0.241, 0.010, 0.293, 0.067, 0.112, 0.011, 0.014, 0.046, 0.006, 0.005)
"""Share of CamVid's pixels in every class of `labels.CLASSES`."""


def class_weights(power: float) -> Tensor:
    """Rare classes weigh more: share ** -power, mean 1 over the pixels. (K,) float32."""
    shares = torch.tensor(CLASS_SHARES)
    weights = shares**-power
    return weights / (weights * shares).sum()


def grouped_cross_entropy(
    logits: Tensor, labels: Tensor, groups: Tensor, weights: Tensor
) -> Tensor:
    """Cross-entropy where a label may mean any of several classes.

    The probability of a coarse label is the sum of its fine classes' probabilities, so data sets
    of different detail teach one network. Taken at half the labels' resolution, at a quarter of
    the cost: the logits are coarser still.

    Shape: logits (N, K, h, w) float; labels (N, H, W) int64, 255 = ignore; groups (N, K, K)
        float, row r of a sample is 1 at the classes that its label r may mean; weights (K,).
    """
    labels = labels[:, ::2, ::2]
    logits = interpolate(logits.float(), size=labels.shape[1:], mode="bilinear")
    with torch.autocast(logits.device.type, enabled=False):  # bfloat16 knows 0.996 and 1, no more
        weighted = _log_chance(logits, groups) * _weight_of_row(groups, weights)[:, :, None, None]
    known = labels != UNLABELLED
    total = nll_loss(weighted, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / known.sum().clamp_min(1)


def _log_chance(logits: Tensor, groups: Tensor) -> Tensor:
    """Logarithm of the probability of every row of the groups: (N, K, h, w)."""
    chance = torch.einsum("nrk,nkhw->nrhw", groups, softmax(logits, 1))
    return chance.clamp_min(1e-30).log()  # so small that hopeless pixels still have a gradient


def _weight_of_row(groups: Tensor, weights: Tensor) -> Tensor:
    """A coarse label weighs what its pixels would weigh on average if they were fine: (N, K)."""
    shares = torch.tensor(CLASS_SHARES, device=groups.device)
    return (groups @ (weights * shares)) / (groups @ shares).clamp_min(1e-6)
