"""Moving maps along an optical flow, and one convention for every change of size.

Sizes change with half-pixel centres (`align_corners=False`), as the vehicle's kernels do; the
authors of the paper train with aligned corners and evaluate without. A flow is in pixels, for
which the two conventions of `grid_sample` come to the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


def warp(planes: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel from where the flow points: out(x) = planes(x + flow(x)) (section 3.3).

    Between pixels linear, beyond the border the nearest pixel.

    Shape: planes (N, C, h, w); flow (N, 2, h, w), x then y, in pixels of that grid; out
        (N, C, h, w) float32.
    """
    height, width = planes.shape[2:]
    place = (pixels_of(flow) + flow.float()).permute(0, 2, 3, 1)
    last = place.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    return grid_sample(
        planes.float(), place * (2 / last) - 1, padding_mode="border", align_corners=True
    )


def pixels_of(flow: Tensor) -> Tensor:
    """Where every pixel of a flow (N, 2, h, w) lies: (1, 2, h, w) float32, x then y."""
    rows, columns = (torch.arange(side, device=flow.device).float() for side in flow.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None]


def resized(planes: Tensor, height: int, width: int) -> Tensor:
    """(N, C, h, w) at another size: (N, C, height, width) float32."""
    return interpolate(planes.float(), size=(height, width), mode="bilinear")


def quartered(planes: Tensor) -> Tensor:
    """(N, C, H, W) at a quarter of its size, rounded up."""
    height, width = (-(-side // 4) for side in planes.shape[2:])
    return resized(planes, height, width)
