"""What the flow warp's benchmark works on, and whether what came out is right: in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.kernels import definition
from benchmarks import kernels

_UNDECIDED = 1e-5
"""Of the greatest logit: closer than this, rounding may decide between two classes."""


@dataclass(frozen=True)
class Inputs:
    """What lies on this machine: logits (K, h, w), distortion (h, w), flow (h, w, 2)."""

    warped: NDArray[np.float16]
    correction: NDArray[np.float16]
    distortion: NDArray[np.float16]
    flow: NDArray[np.float32]
    height: int
    width: int


def draw(classes: int, height: int, width: int) -> Inputs:
    """What `benchmarks.kernels` draws, in fp16; the flow stays in fp32."""
    case = kernels.draw(classes, height, width)
    logits = case.warped.astype(np.float16), case.correction.astype(np.float16)
    return Inputs(*logits, case.distortion.astype(np.float16), case.flow, height, width)


def wrong_pixels(inputs: Inputs, labels: NDArray[np.uint8]) -> int:
    """Pixels whose label is not that of float64, other than by rounding."""
    wrong = 0
    columns = definition.axis(inputs.distortion.shape[1], inputs.width)
    rows = definition.axis(inputs.distortion.shape[0], inputs.height)
    planes = [inputs.warped, inputs.correction, inputs.distortion[np.newaxis]]
    wide = [_mixed(one.astype(np.float64), *columns, axis=2) for one in planes]
    for begin in range(0, inputs.height, 64):
        part = tuple(one[begin : begin + 64] for one in rows)
        warped, correction, share = (_mixed(one, *part, axis=1) for one in wide)
        large = (1 - share) * warped + share * correction
        chosen = np.take_along_axis(large, labels[begin : begin + 64][np.newaxis].astype(int), 0)
        limit = _UNDECIDED * float(np.abs(inputs.warped).max())
        wrong += int((large.max(axis=0) - chosen[0] > limit).sum())
    return wrong


def _mixed(
    planes: NDArray[np.float64], lower: Any, upper: Any, share: Any, *, axis: int
) -> NDArray[np.float64]:
    """Interpolate one axis of (C, h, w) in float64."""
    shape = [1, 1, 1]
    shape[axis] = len(share)
    weight = share.astype(np.float64).reshape(shape)
    mixed = planes.take(lower, axis) * (1 - weight) + planes.take(upper, axis) * weight
    return np.asarray(mixed, np.float64)


def worst_warp(inputs: Inputs, carried: NDArray[np.float16]) -> float:
    """Greatest error of the warped logits, as a share of the greatest logit."""
    height, width = inputs.distortion.shape
    place = inputs.flow.astype(np.float64)
    x = np.clip(np.arange(width) + place[..., 0], 0, width - 1)
    y = np.clip(np.arange(height)[:, np.newaxis] + place[..., 1], 0, height - 1)
    left, top = x.astype(int), y.astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    worst = 0.0
    for plane, found in zip(inputs.warped.astype(np.float64), carried, strict=True):
        upper = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
        lower = plane[bottom, left] * (1 - x + left) + plane[bottom, right] * (x - left)
        exact = upper * (1 - y + top) + lower * (y - top)
        worst = max(worst, float(np.abs(exact - found).max()))
    return worst / float(np.abs(inputs.warped).max())
