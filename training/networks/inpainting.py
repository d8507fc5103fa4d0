"""Fills what is hidden from what is seen around it, coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

_LEVELS = 4
"""Times that the map is halved; beyond, the mean of the whole stands in."""


def pull_push(x: Tensor, confidence: Tensor) -> Tensor:
    """Pull-push interpolation of scattered data (Gortler et al. 1996).

    Pull: means weighted by confidence, at half the size each; a cell half full is known. Push:
    from coarse to fine, what is not known at a level comes from the coarser one.

    Shape: x (N, C, H, W) and confidence (N, 1, H, W), 0 (fill it) to 1 (keep it); out
        (N, C, H, W).
    """
    known, sure = [x], [confidence]
    for _ in range(_LEVELS):
        mean, share = _pulled(known[-1], sure[-1])
        known.append(mean)
        sure.append((2 * share).clamp_max(1))
    mean, share = known.pop(), sure.pop()
    whole = (mean * share).mean((2, 3), keepdim=True)
    whole = whole / (share.mean((2, 3), keepdim=True) + _NOTHING)
    filled = whole + share * (mean - whole)
    while known:
        mean, share = known.pop(), sure.pop()
        filled = interpolate(filled, size=mean.shape[2:], mode="bilinear")
        filled = filled + share * (mean - filled)
    return filled


_NOTHING = 1e-4


def _pulled(x: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    both = torch.cat([x * confidence, confidence], 1)
    # Only pixels that exist count, in every runtime alike.
    both = avg_pool2d(both, 2, ceil_mode=True, count_include_pad=False)
    share = both[:, -1:]
    return both[:, :-1] / (share + _NOTHING), share
