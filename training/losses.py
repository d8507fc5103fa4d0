"""What training makes small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, l1_loss, mse_loss, nll_loss, softmax

from adverse_perception.labels import UNLABELLED
from training.networks.deeplab import Features

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


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity with a Gaussian window of 11, sigma 1.5 (Wang et al. 2004): a scalar.

    Shape: both (N, C, H, W) float, 0 to 1; sides of at least 11.
    """
    x, y = x.float(), y.float()
    with torch.autocast(x.device.type, enabled=False):  # differences of squares need the digits
        mean_x, mean_y = _blurred(x), _blurred(y)
        var_x = _blurred(x * x) - mean_x**2
        var_y = _blurred(y * y) - mean_y**2
        covariance = _blurred(x * y) - mean_x * mean_y
        light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return (light * (2 * covariance + _C2) / (var_x + var_y + _C2)).mean()


_C1, _C2 = 0.01**2, 0.03**2


def _blurred(x: Tensor) -> Tensor:
    """Every channel by itself, one axis after the other; only where the window fits."""
    channels = x.shape[1]
    distance = torch.arange(-5, 6, dtype=x.dtype, device=x.device)
    window = torch.exp(-(distance**2) / (2 * 1.5**2))
    window = (window / window.sum()).expand(channels, 1, 11)
    x = conv2d(x, window[..., None], groups=channels)
    return conv2d(x, window[:, :, None], groups=channels)


def restoration_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """L_D = 0.85 (1 - SSIM) + 0.15 mean |restored - clean| (Guo et al. 2020, section 4).

    Shape: both (N, 3, H, W) float, 0 to 1.
    """
    return 0.85 * (1 - ssim(restored, clean)) + 0.15 * l1_loss(restored.float(), clean.float())


def stepwise_restoration_loss(refined: Sequence[Tensor], clean: Tensor) -> Tensor:
    """L_R = L_D(I_N) + 0.5 sum_{i<N} MSE(I_i, J) (Guo et al. 2020, section 4).

    The released code holds I_i to the residual J - I_0, a name it never defined; this is what
    it must mean.

    Shape: refined I_1 to I_N and clean J, each (N, 3, H, W) float, 0 to 1.
    """
    *earlier, last = refined
    loss = restoration_loss(last, clean)
    for picture in earlier:
        loss = loss + 0.5 * mse_loss(picture.float(), clean.float())
    return loss


def feature_matching(restored: Features, clean: Features) -> Tensor:
    """L_H: what a frozen segmenter makes of both pictures should agree (Guo et al., section 4).

    L_H = 1/5 sum_k mean |a_k(restored) - a_k(clean)| + 0.1 mean |l(restored) - l(clean)|, a_k the
    branches of the pyramid, l the low-level map.
    """
    pairs = list(zip(restored.scales, clean.scales, strict=True))
    high = sum((l1_loss(a, b.detach()) for a, b in pairs), torch.zeros(())) / len(pairs)
    return high + 0.1 * l1_loss(restored.detail, clean.detail.detach())
