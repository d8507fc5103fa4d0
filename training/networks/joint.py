"""One encoder, two answers: what everything is, and how it would look without the weather."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle, softmax

from training.networks.blocks import conv_bn_relu, separable
from training.networks.deeplab import DeepLabV3Plus, Features


class Joint(NamedTuple):
    """Both answers, and the first step of the second.

    Shape: logits (N, classes, H/4, W/4); coarse and restored (N, 3, H, W) float RGB, 0 to 1 where
        they are good but not clamped.
    """

    logits: Tensor
    coarse: Tensor
    restored: Tensor


class Modulation(nn.Module):
    """Scales and shifts a map by what the picture shows there (SPADE, Park et al. 2019).

    Shape: map (N, channels, h, w) and logits (N, classes, h, w) in, the map's shape out.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.scale_shift = _silent(nn.Conv2d(classes, 2 * channels, 1))

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        scale, shift = self.scale_shift(softmax(logits, 1)).chunk(2, 1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated


_CONTEXT = 12
"""Channels that the second step is told from 1/4."""


class RestorationHead(nn.Module):
    """Restores in two steps, as SRRN does, with SR-Net's semantic modulation.

    The first step answers at 1/4 what fog and veil do, a gain and an offset per pixel (the
    inverse of I = J t + A (1 - t)); the second sees the outcome at 1/2 and adds what is left:
    drops, streaks, edges. It works on pixels in groups of 2x2, never at full size.

    Shape: `forward` gives coarse and restored, each (N, 3, H, W); H and W even.

    Args:
        half: channels of the encoder's map at 1/2.
        decoded: channels of the segmenter's last map, at 1/4.
        classes: of the logits.
        width: channels of the head.
        modulated: the logits modulate the map that the first step is read from.
        refined: there is a second step.
    """

    cells: Tensor

    def __init__(
        self,
        half: int,
        decoded: int,
        classes: int,
        width: int,
        *,
        modulated: bool = True,
        refined: bool = True,
    ) -> None:
        super().__init__()
        self.reduce = conv_bn_relu(decoded, width, 1)
        self.modulate = Modulation(classes, width) if modulated else None
        self.spread = separable(width, width)
        self.gain_offset = _silent(nn.Conv2d(width, 6, 1))
        self.narrow = nn.Conv2d(width, _CONTEXT, 1)
        self.refine = _refinement(half + _CONTEXT + 12, width) if refined else None
        # As a convolution, since runtimes transpose slowly: channel 4c + 2y + x of a cell.
        self.register_buffer("cells", _cells(), persistent=False)

    def forward(self, planes: Tensor, half: Tensor, features: Features) -> tuple[Tensor, Tensor]:
        """Picture (N, 3, H, W) as it is normalised, map at 1/2, what the segmenter made of it."""
        x = self.reduce(features.decoded)
        if self.modulate is not None:
            x = self.modulate(x, features.logits)
        x = self.spread(x)
        answer = torch.cat([self.gain_offset(x), self.narrow(x)], 1)
        answer = interpolate(answer, size=half.shape[2:], mode="bilinear")
        gain, offset, context = answer[:, :3], answer[:, 3:6], answer[:, 6:]
        cells = conv2d(planes, self.cells, stride=2)  # (N, 12, H/2, W/2)
        coarse = cells * (1 + _for_cells(gain)) + _for_cells(offset)
        if self.refine is None:
            return pixel_shuffle(coarse, 2), pixel_shuffle(coarse, 2)
        residual = self.refine(torch.cat([half, context, coarse], 1))
        return pixel_shuffle(coarse, 2), pixel_shuffle(coarse + residual, 2)


def _for_cells(x: Tensor) -> Tensor:
    """One value per colour becomes one for each of its four pixels: (N, 3, h, w) to 12."""
    return x.repeat_interleave(4, 1)


def _refinement(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn_relu(inputs, width, 1),
        separable(width, width),
        separable(width, width),
        _silent(nn.Conv2d(width, 12, 1)),
    )


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Says nothing to begin with, so that training starts from the picture as it is."""
    for value in layer.parameters():
        nn.init.zeros_(value)
    return layer


def _cells() -> Tensor:
    """Weights that undo `pixel_shuffle`, gathering 2x2 pixels of each colour: (12, 3, 2, 2)."""
    return torch.eye(12).view(12, 3, 2, 2)


class JointNet(nn.Module):
    """Restores and segments with one encoder.

    Shape: in (N, H, W, 3) uint8 RGB, H and W even; out a `Joint`.

    Args:
        backbone: a name of `encoders.BACKBONES`.
        classes: number of logits.
        width: channels of the pyramid and of the segmenter's decoder.
        head: channels of the restoration head.
        modulated, refined: see `RestorationHead`.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        width: int,
        *,
        head: int = 24,
        modulated: bool = True,
        refined: bool = True,
    ) -> None:
        super().__init__()
        self.segmenter = DeepLabV3Plus(backbone, classes, width)
        half = self.segmenter.backbone.half_channels
        self.restorer = RestorationHead(
            half, width, classes, head, modulated=modulated, refined=refined
        )

    def forward(self, image: Tensor) -> Joint:
        segmenter = self.segmenter
        planes = segmenter.normalise(image)
        half, detail, context = segmenter.backbone.pyramid(planes)
        features = segmenter.decode(detail, context)
        coarse, restored = map(segmenter.normalise.undo, self.restorer(planes, half, features))
        return Joint(features.logits, coarse, restored)


class JointOutputs(nn.Module):
    """What the engine of a joint network hands out.

    Shape: in (1, H, W, 3) uint8 RGB; out logits (1, classes, ceil(H/4), ceil(W/4)) float32 and
        restored (1, H, W, 3) uint8 RGB.
    """

    def __init__(self, network: JointNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        joint: Joint = self.network(image)
        restored = (joint.restored * 255).round().clamp(0, 255)
        return joint.logits, restored.permute(0, 2, 3, 1).to(torch.uint8)
