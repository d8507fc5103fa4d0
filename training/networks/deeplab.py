"""DeepLabv3+ (Chen et al. 2018): atrous spatial pyramid pooling and a light decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from training.networks.blocks import Normalise, conv_bn_relu, separable
from training.networks.encoders import BACKBONES, BackboneError


class Aspp(nn.Module):
    """Context at several scales: 1x1, three dilated 3x3 and the mean of the whole picture.

    Shape: in (N, inputs, h, w), out (N, width, h, w).
    """

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inputs, width, 1), *(separable(inputs, width, rate) for rate in rates)]
        )
        self.pooled = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))
        self.project = conv_bn_relu(width * (len(rates) + 2), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.pooled(x.mean((2, 3), keepdim=True))
        scales = [branch(x) for branch in self.branches]
        out: Tensor = self.project(torch.cat([*scales, whole.expand_as(scales[0])], 1))
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
        detail, context = self.backbone(self.normalise(image))
        detail = self.reduce(detail)
        context = interpolate(self.aspp(context), size=detail.shape[2:], mode="bilinear")
        logits: Tensor = self.classify(self.decoder(torch.cat([context, detail], 1)))
        return logits
