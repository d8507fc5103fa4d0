"""DuRN-S-P: dual residual connections against raindrops (Liu et al. 2019; Guo et al., 3.5)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

_DILATIONS_S = (12, 8, 6)
_KERNELS_P = ((3, 2), (5, 1), (3, 3), (7, 1), (3, 4), (7, 1))  # size, dilation


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """Dilated convolutions are padded with zeros, the others reflect."""
    mode: Literal["reflect", "zeros"] = "reflect" if dilation == 1 else "zeros"
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, padding_mode=mode)


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


class SqueezeExcite(nn.Module):
    """A residual block whose channels are weighed by their means over the picture.

    Shape: (N, width, h, w) in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _normalised(_conv(width, width, 3)),
            nn.ReLU(inplace=True),
            _normalised(_conv(width, width, 3)),
        )
        hidden = width // 2  # the paper's 64 of 128
        self.weigh = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.residual(x)
        weights = self.weigh(y.mean((2, 3)))
        return relu(y * weights[:, :, None, None] + x)


class DualResidual(nn.Module):
    """Two streams that cross: every block's two operations T1 and T2 have a shortcut each.

    Shape: x and r (N, width, h, w) in and out.

    Args:
        width: channels of both streams.
        first: T1, from x's stream to r's.
        second: T2, back again.
    """

    def __init__(self, width: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.before = nn.Sequential(
            _normalised(_conv(width, width, 3)),
            nn.ReLU(inplace=True),
            _normalised(_conv(width, width, 3)),
        )
        self.first = nn.Sequential(first, nn.BatchNorm2d(width))
        self.second = nn.Sequential(second, nn.BatchNorm2d(width))

    def forward(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        h = relu(self.before(x) + x)
        r = relu(self.first(h) + r)
        return relu(self.second(r) + x), r


def _smooth_up(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size, averaged over 2x2 against the chequers of transposed convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1),
        nn.ReflectionPad2d((1, 0, 1, 0)),
        nn.AvgPool2d(2, 1),
        nn.ReLU(inplace=True),
    )


class Durn(nn.Module):
    """Derained = rainy - residual.

    Its weights begin as torch's do; the paper says nothing of them.

    Shape: in (N, 3, H, W) float RGB, 0 to 1, sides multiples of 4, of at least 16; out alike,
        float32, not clamped.

    Args:
        width: channels at a quarter of the size; 128 is the paper's.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.head = nn.Sequential(
            nn.Conv2d(3, half, 5, padding=1),  # H - 2: puts the next two on the grid of quarters
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            *_halved(half, width),
            *_halved(width, width),
        )
        self.group_s = nn.ModuleList(_block_s(width, dilation) for dilation in _DILATIONS_S)
        self.group_p = nn.ModuleList(_block_p(width, *kernel) for kernel in _KERNELS_P)
        self.tail = nn.Sequential(
            _smooth_up(width, width),
            _normalised(_conv(width, width, 3)),
            nn.ReLU(inplace=True),
            _smooth_up(width, half),
            _conv(half, 3, 5),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = self.head(image)  # (N, width, H/4, W/4)
        for group in (self.group_s, self.group_p):
            r = x
            for block in group:
                x, r = block(x, r)
        return image - torch.tanh(self.tail(x).float())


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return _normalised(_conv(inputs, outputs, 3, 2)).append(nn.ReLU(inplace=True))


def _block_s(width: int, dilation: int) -> DualResidual:
    second = nn.Sequential(SqueezeExcite(width), _conv(width, width, 3))
    return DualResidual(width, _conv(width, width, 3, dilation=dilation), second)


def _block_p(width: int, kernel: int, dilation: int) -> DualResidual:
    first = _conv(width, width, kernel, dilation=dilation)
    return DualResidual(width, first, _conv(width, width, 5))
