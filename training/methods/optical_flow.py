"""How a flow learns: from the exact one where it is known, elsewhere from the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from training.losses import mean_where
from training.networks.warp import pixels_of, warp

_TINY = 1e-6
_HALVES = 0.5
"""Every coarser scale counts half as much."""
_PHOTOMETRIC_SCALES = 3  # a picture at 1/32 has no texture left to compare
_SMOOTHNESS = 0.05
_EDGES = 10.0
"""How fast a flow may change where the picture does."""


def end_point_error(flows: Sequence[Tensor], truth: Tensor) -> Tensor:
    """Mean length of the flow's error over the scales, in pixels of the finest of them.

    Args:
        flows: finest first, each (N, 2, h, w), in pixels of the finest.
        truth: (N, 2, H, W) float32, in its own pixels, NaN where unknown.
    """
    known = ~truth.isnan().any(1, keepdim=True)
    truth = _scaled(truth.where(known, 0), truth, flows[0])
    errors = []
    for flow in flows:
        size = flow.shape[2:]
        share = interpolate(known.float(), size=size, mode="area")
        target = interpolate(truth, size=size, mode="area") / share.clamp_min(_TINY)
        squared = ((flow.float() - target) ** 2).sum(1, keepdim=True)
        errors.append(mean_where(share > 0.5, (squared + _TINY).sqrt()))
    return _over_scales(errors)


def photometric_loss(
    flows: Sequence[Tensor], now: Tensor, before: Tensor, visible: Tensor
) -> Tensor:
    """How unlike the present a warped earlier picture is, and how unsteady the flow.

    L = sum_s 2^-s [mean_visible(0.85 (1 - SSIM) / 2 + 0.15 |difference|) + 0.05 smoothness], over
    three scales, normalised; |.| is Charbonnier's, and smoothness the flow's gradient where the
    picture has none.

    Args:
        flows: from now back to before, finest first, each (N, 2, h, w), in pixels of the finest.
        now: (N, 3, H, W) float RGB, 0 to 1.
        before: as now.
        visible: (N, 1, h, w) bool of the finest scale, see `visible_in`.
    """
    errors = []
    for flow in flows[:_PHOTOMETRIC_SCALES]:
        size = flow.shape[2:]
        present, earlier = (interpolate(one, size=size, mode="area") for one in (now, before))
        seen = interpolate(visible.float(), size=size, mode="area") > 0.5
        flow = _scaled(flow.float(), flows[0], flow)
        difference = _unlikeness(warp(earlier, flow), present)
        errors.append(mean_where(seen, difference) + _SMOOTHNESS * _unsteadiness(flow, present))
    return _over_scales(errors)


@torch.no_grad()
def visible_in(flow: Tensor, back: Tensor) -> Tensor:
    """Where the flow leads into the other picture and the way back leads home.

    |F + B(F)|^2 < 0.01 (|F|^2 + |B(F)|^2) + 0.5 (Sundaram et al. 2010).

    Shape: both (N, 2, h, w), in pixels of that grid; out (N, 1, h, w) bool.
    """
    returned = warp(back, flow)
    gap, lengths = (flow + returned) ** 2, flow**2 + returned**2
    home = gap.sum(1, keepdim=True) < 0.01 * lengths.sum(1, keepdim=True) + 0.5
    place = pixels_of(flow) + flow
    last = place.new_tensor([flow.shape[3] - 1, flow.shape[2] - 1])[:, None, None]
    return home & ((place >= 0) & (place <= last)).all(1, keepdim=True)


def _scaled(flow: Tensor, of: Tensor, to: Tensor) -> Tensor:
    """A flow in pixels of one map as a flow in pixels of another; its own size stays."""
    ratio = flow.new_tensor([to.shape[3] / of.shape[3], to.shape[2] / of.shape[2]])
    return flow * ratio[:, None, None]


def _over_scales(errors: Sequence[Tensor]) -> Tensor:
    weights = [_HALVES**scale for scale in range(len(errors))]
    weighted = torch.stack([w * error for w, error in zip(weights, errors, strict=True)])
    return weighted.sum() / sum(weights)


def _unlikeness(x: Tensor, y: Tensor) -> Tensor:
    """0.85 (1 - SSIM) / 2 + 0.15 |x - y| of every pixel: (N, 1, h, w)."""
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (
        avg_pool2d(one, 3, 1, 1, count_include_pad=False) for one in (x, y, x * x, y * y, x * y)
    )
    likeness = (2 * mean_x * mean_y + 1e-4) * (2 * (mean_xy - mean_x * mean_y) + 9e-4)
    squares = mean_x**2 + mean_y**2
    likeness = likeness / ((squares + 1e-4) * (mean_xx + mean_yy - squares + 9e-4))
    charbonnier = ((x - y) ** 2 + _TINY).sqrt()
    return (0.425 * (1 - likeness) + 0.15 * charbonnier).mean(1, keepdim=True)


def _unsteadiness(flow: Tensor, picture: Tensor) -> Tensor:
    """|dF| exp(-10 |dI|), its means along both axes added up."""
    total = flow.new_zeros(())
    for axis in (2, 3):
        if flow.shape[axis] > 1:
            edges = picture.diff(dim=axis).abs().mean(1, keepdim=True)
            total = total + (flow.diff(dim=axis).abs() * (-_EDGES * edges).exp()).mean()
    return total
