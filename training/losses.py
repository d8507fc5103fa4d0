"""What training makes small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import (
    avg_pool2d,
    interpolate,
    l1_loss,
    mse_loss,
    nll_loss,
    one_hot,
    softmax,
)

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
    logits: Tensor,
    labels: Tensor,
    groups: Tensor,
    weights: Tensor,
    share: Tensor | None = None,
) -> Tensor:
    """Cross-entropy where a label may mean any of several classes.

    The probability of a coarse label is the sum of its fine classes' probabilities, so data sets
    of different detail teach one network. Taken at half the labels' resolution, at a quarter of
    the cost: the logits are coarser still.

    Shape: logits (N, K, h, w) float; labels (N, H, W) int64, 255 = ignore; groups (N, K, K)
        float, row r of a sample is 1 at the classes that its label r may mean; weights (K,);
        share (N, 1, h', w'), how much each pixel counts; all of them alike where it is None.
    """
    labels = labels[:, ::2, ::2]
    with torch.autocast(logits.device.type, enabled=False):  # bfloat16 knows 0.996 and 1, no more
        # So small a floor that hopeless pixels still have a gradient.
        log_chance = _chance(logits, labels, groups).clamp_min(1e-30).log()
        weighted = log_chance * _weight_of_row(groups, weights)[:, :, None, None]
        if share is not None:
            size = labels.shape[1:]
            weighted = weighted * interpolate(share.float(), size=size, mode="bilinear")
    known = labels != UNLABELLED
    total = nll_loss(weighted, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / known.sum().clamp_min(1)


def brier_score(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Squared error between softmax and one-hot label, summed over the classes (Brier 1950).

    The MSE of NiSeNet's Real channel, in the only form that has a gradient: between probabilities,
    not between class numbers or colours. Mean over the labelled pixels; 0 is sure and right, 2
    sure and wrong. A coarse label has the sum of its classes' probabilities.

    Shape: as of `grouped_cross_entropy`, and at half the labels' resolution too.
    """
    labels = labels[:, ::2, ::2]
    known = labels != UNLABELLED
    truth = one_hot(labels.where(known, 0), groups.shape[1]).permute(0, 3, 1, 2)
    with torch.autocast(logits.device.type, enabled=False):
        errors = ((_chance(logits, labels, groups) - truth) ** 2).sum(1)
    return mean_where(known, errors)


def _chance(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """The probability of every row of the groups, at the labels' size: (N, K, h, w)."""
    logits = interpolate(logits.float(), size=labels.shape[1:], mode="bilinear")
    return torch.einsum("nrk,nkhw->nrhw", groups, softmax(logits, 1))


def _weight_of_row(groups: Tensor, weights: Tensor) -> Tensor:
    """A coarse label weighs what its pixels would weigh on average if they were fine: (N, K)."""
    shares = torch.tensor(CLASS_SHARES, device=groups.device)
    return (groups @ (weights * shares)) / (groups @ shares).clamp_min(1e-6)


def ssim(x: Tensor, y: Tensor, stride: int = 1) -> Tensor:
    """Structural similarity in windows of 7x7 (Wang et al. 2004), as scikit-image's: a scalar.

    Every channel by itself; a stride looks at every so manieth window, which is as good to learn
    from and much cheaper.

    Shape: both (N, C, H, W) float, 0 to 1; sides of at least 7.
    """
    with torch.autocast(x.device.type, enabled=False):  # differences of squares need the digits
        x, y = x.float(), y.float()
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
            avg_pool2d(one, 7, stride) for one in (x, y, x * x, y * y, x * y)
        )
        unbiased = 49 / 48
        var_x = unbiased * (mean_xx - mean_x**2)
        var_y = unbiased * (mean_yy - mean_y**2)
        covariance = unbiased * (mean_xy - mean_x * mean_y)
        light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return (light * (2 * covariance + _C2) / (var_x + var_y + _C2)).mean()


_C1, _C2 = 0.01**2, 0.03**2
_LOSS_STRIDE = 3


def restoration_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """L_D = 0.85 (1 - SSIM) + 0.15 mean |restored - clean| (Guo et al. 2020, section 4).

    Shape: both (N, 3, H, W) float, 0 to 1.
    """
    return 0.85 * (1 - ssim(restored, clean, _LOSS_STRIDE)) + 0.15 * l1_loss(
        restored.float(), clean.float()
    )


def log_error(restored: Tensor, clean: Tensor) -> Tensor:
    """log10 of every picture's MSE, their mean: a tenth of -PSNR (Chen et al. 2021, HINet).

    So small errors all over a picture that is hardly degraded count as much as large ones in a
    picture that is. Above 40 dB there is nothing more to gain.

    Shape: both (N, 3, H, W) float, 0 to 1.
    """
    error = ((restored.float() - clean) ** 2).mean((1, 2, 3))
    return (error + 1e-4).log10().mean()


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


def mean_where(known: Tensor, errors: Tensor) -> Tensor:
    """Mean of the errors where the truth is known, 0 where it is nowhere; any one shape."""
    return (errors * known).sum() / known.sum().clamp_min(1)


def soft_iou_loss(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """1 - soft IoU, the mean over every picture's own classes; 0 without labels.

    Of a class, with p its probability and g its labels, 0 or 1: soft IoU = sum p g / sum
    (p + g - p g). A coarse label has the sum of its classes' probabilities.

    Shape: as of `grouped_cross_entropy`, and at half the labels' resolution too.
    """
    labels = labels[:, ::2, ::2]
    known = labels != UNLABELLED
    truth = one_hot(labels.where(known, 0), groups.shape[1]).permute(0, 3, 1, 2) * known[:, None]
    with torch.autocast(logits.device.type, enabled=False):
        chance = _chance(logits, labels, groups) * known[:, None]
    both = (chance * truth).sum((2, 3))
    either = (chance + truth).sum((2, 3)) - both
    present = truth.any(3).any(2)
    missed: Tensor = (1 - both / either.clamp_min(1e-6)) * present
    return missed.sum() / present.sum().clamp_min(1)


def refinement_loss(logits: Tensor, labels: Tensor, groups: Tensor, weights: Tensor) -> Tensor:
    """L_SGA = CE + 0.5 (1 - soft IoU); see `grouped_cross_entropy` for the shapes."""
    overlap = soft_iou_loss(logits, labels, groups)
    return grouped_cross_entropy(logits, labels, groups, weights) + 0.5 * overlap


def synthesis_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """L_EGS = mean |restored - clean| + 0.2 (1 - SSIM), both (N, 3, H, W) float, 0 to 1.

    Without the perceptual and the adversarial term of SR-Net's reference design, which cost PSNR,
    our target; the design itself leaves them out then.
    """
    return l1_loss(restored.float(), clean.float()) + 0.2 * (1 - ssim(restored, clean))
