"""DeepLabv3+ (Chen et al. 2018): atrous spatial pyramid pooling and a light decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from training.networks.blocks import Normalise, conv_bn_relu, separable
from training.networks.encoders import BACKBONES, BackboneError


class Features(NamedTuple):
    """What a segmenter makes of pictures on the way to its answer.

    Shape: logits (N, classes, H/4, W/4); decoded (N, width, H/4, W/4), what they are read from;
        detail (N, D, H/4, W/4), the backbone's low-level map; scales, the pyramid's five branches,
        each (N, width, H/16, W/16).
    """

    logits: Tensor
    decoded: Tensor
    detail: Tensor
    scales: tuple[Tensor, ...]


class Aspp(nn.Module):
    """Context at several scales: 1x1, three dilated 3x3 and the mean of the whole picture.

    Shape: `scales` takes (N, inputs, h, w); joined, they are (N, width, h, w).
    """

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inputs, width, 1), *(separable(inputs, width, rate) for rate in rates)]
        )
        self.pooled = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))
        self.project = conv_bn_relu(width * (len(rates) + 2), width, 1)

    def scales(self, x: Tensor) -> tuple[Tensor, ...]:
        """What each branch says, each (N, width, h, w)."""
        whole = self.pooled(x.mean((2, 3), keepdim=True))
        scales = [branch(x) for branch in self.branches]
        return (*scales, whole.expand_as(scales[0]))

    def forward(self, scales: tuple[Tensor, ...]) -> Tensor:
        """Join the branches."""
        out: Tensor = self.project(torch.cat(scales, 1))
        return out


class DeepLabV3Plus(nn.Module):
    """Picture in, class logits at a quarter of its size out.

    Shape: in (N, H, W, 3) uint8 RGB, out (N, classes, ceil(H/4), ceil(W/4)) float32.

    Args:
        backbone: a name of `encoders.BACKBONES`.
        classes: number of logits.
        width: channels of the pyramid and of the decoder.
    """

    def __init__(self, backbone: str, classes: int, width: int) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise BackboneError(f"backbone {backbone!r} is none of {', '.join(BACKBONES)}")
        self.normalise = Normalise()
        self.backbone = BACKBONES[backbone]()
        self.aspp = Aspp(self.backbone.context_channels, width)
        self.reduce = conv_bn_relu(self.backbone.detail_channels, 32, 1)
        self.decoder = nn.Sequential(separable(width + 32, width), separable(width, width))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.features(self.normalise(image)).logits

    def features(self, planes: Tensor) -> Features:
        """The logits with what they rest on; planes (N, 3, H, W) as `Normalise` makes them."""
        return self.decode(*self.backbone(planes))

    def decode(self, detail: Tensor, context: Tensor) -> Features:
        """From the backbone's two maps on."""
        scales = self.aspp.scales(context)
        context = interpolate(self.aspp(scales), size=detail.shape[2:], mode="bilinear")
        decoded = self.decoder(torch.cat([context, self.reduce(detail)], 1))
        return Features(self.classify(decoded), decoded, detail, scales)
