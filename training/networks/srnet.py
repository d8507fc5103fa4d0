"""SR-Net (Xia et al. 2019): one module corrects a semantic map, the other restores guided by it.

The paper says what the two modules exchange; it never disclosed their layers, widths, losses or
schedule. Those here are our own reference design, consistent with its abstract, and not the
authors'. The papers' code reads blue first; here, as everywhere, red comes first.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, softmax

from training.networks.blocks import padded
from training.networks.spade import EGS, entropy

_TINY = 1e-6
_DILATIONS = (1, 2, 4, 1, 2, 4)


class Cooperation(NamedTuple):
    """What the two modules make of a picture.

    Shape: refined_logits (N, classes, H, W); restored (N, 3, H, W) RGB, 0 to 1 but for overshoot.
    """

    refined_logits: Tensor
    restored: Tensor


def _convolved(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        _norm(outputs),
        nn.ReLU(inplace=True),
    )


def _norm(channels: int) -> nn.GroupNorm:
    """Of groups, as batches are small; 16 channels in each, as fewer are slow on a CPU."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 16)), channels)


class _Residual(nn.Module):
    """Two dilated convolutions and a shortcut: (N, channels, h, w) both ways."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        first, second = (
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False) for _ in range(2)
        )
        self.body = nn.Sequential(
            first, _norm(channels), nn.ReLU(inplace=True), second, _norm(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.relu(x + self.body(x))
        return out


class SGA(nn.Module):
    """Semantically-guided adaptation: corrects what a frozen segmenter says of a degraded picture.

    z1 = log(softmax(s0) + tiny) + Delta, and Delta begins as zero: training starts from the
    segmenter's own answer.

    Shape: image (N, 3, H, W) float RGB, 0 to 1, of any size; logits s0 (N, classes, h, w) of any
        size; out z1 (N, classes, H, W).

    Args:
        classes: of the map.
        width: channels at full resolution; 64 is the reference, whose deepest have 512.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        widths = [width * times for times in (1, 2, 4, 8)]
        pairs = list(pairwise(widths))
        self.enter = _convolved(3 + classes + 1, width, 7)  # with the map's entropy
        self.down = nn.ModuleList([_convolved(i, o, stride=2) for i, o in pairs])
        self.middle = nn.Sequential(*(_Residual(widths[-1], rate) for rate in _DILATIONS))
        self.up = nn.ModuleList([_convolved(i + o, i) for i, o in reversed(pairs)])
        self.delta = nn.Conv2d(width, classes, 1)
        nn.init.zeros_(self.delta.weight)
        nn.init.zeros_(self.delta.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, logits: Tensor) -> Tensor:
        height, width = image.shape[2:]
        initial = softmax(interpolate(logits.float(), size=(height, width), mode="bilinear"), 1)
        x = self.enter(padded(torch.cat([image, initial, entropy(initial)], 1), 8))
        passed = []
        for down in self.down:
            passed.append(x)
            x = down(x)
        x = self.middle(x)
        for up in self.up:
            x = interpolate(x, scale_factor=2.0, mode="bilinear")
            x = up(torch.cat([x, passed.pop()], 1))
        delta: Tensor = self.delta(x)[:, :, :height, :width]
        return (initial + _TINY).log() + delta


class SRNet(nn.Module):
    """Both modules, in either of which a stage of training may leave the other out.

    The frozen segmenter is no part of it: the training method asks it, as often as it has rounds.
    """

    def __init__(self, sga: SGA, egs: EGS) -> None:
        super().__init__()
        self.sga = sga
        self.egs = egs

    def forward(
        self,
        image: Tensor,
        logits: Tensor,
        guidance: Tensor | None = None,
        hidden: Tensor | None = None,
        *,
        refines: bool = True,
        restores: bool = True,
    ) -> Cooperation:
        """Refine the map, then restore by it.

        Args:
            image: (N, 3, H, W) float RGB, 0 to 1, degraded; any size.
            logits: (N, classes, h, w) of the frozen segmenter, any size.
            guidance: (N, classes, h, w) probabilities to restore by, instead of the map.
            hidden: (N, H, W) float 0 to 1, what is known to be hidden; zeros: not known.
            refines: whether SGA corrects the logits; else they are taken as they are.
            restores: whether EGS restores; else the picture comes back as it was.
        """
        refined = self.sga(image, logits) if refines else logits
        if not restores:
            return Cooperation(refined, image)
        guidance = softmax(refined.float(), 1) if guidance is None else guidance
        return Cooperation(refined, self.egs(image, guidance, hidden))


def srnet(classes: int, width: int) -> SRNet:
    """Both modules at a width; 64 is the reference."""
    return SRNet(SGA(classes, width), EGS(classes, width))
