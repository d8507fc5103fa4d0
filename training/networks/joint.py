"""One encoder, two answers: what everything is, and how it would look without the weather."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pixel_shuffle, sigmoid

from training.networks.blocks import chances, conv_bn_relu, separable
from training.networks.deeplab import DeepLabV3Plus, Features
from training.networks.inpainting import pull_push


class Joint(NamedTuple):
    """Both answers, and the first step of the second.

    Shape: logits (N, classes, H/4, W/4); coarse and restored (N, 3, H, W) float RGB, 0 to 1 where
        they are good but not clamped; hidden (N, 1, H/4, W/4), the logit of what hides the scene.
    """

    logits: Tensor
    coarse: Tensor
    restored: Tensor
    hidden: Tensor


class Modulation(nn.Module):
    """Scales and shifts a map by what the picture shows there (SPADE, Park et al. 2019).

    Shape: map (N, channels, h, w) and logits (N, classes, h, w) in, the map's shape out.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.scale_shift = _silent(nn.Conv2d(classes, 2 * channels, 1))

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        scale, shift = self.scale_shift(chances(logits)).chunk(2, 1)
        modulated: Tensor = x * (1 + scale) + shift
        return modulated


class Restored(NamedTuple):
    """Of `Joint`, what the restoration head answers; the pictures as they are normalised."""

    coarse: Tensor
    restored: Tensor
    hidden: Tensor


_CONTEXT = 12
"""Channels that the second step is told from 1/4."""
_RATES = (1, 2, 4, 8)
"""Dilation of the convolutions at 1/4: together they see a large drop and what is around it."""
_SELDOM = -5.0
"""Logit of something on the glass before anything is learnt."""


class RestorationHead(nn.Module):
    """Restores in two steps, as SRRN does, with SR-Net's semantic modulation.

    The first step answers at 1/4 what fog and veil do, a gain and an offset per pixel (the
    inverse of I = J t + A (1 - t)), and what something on the glass hides, which is filled from
    around it; the second sees the outcome at 1/2 and adds what is left: streaks, edges, texture.
    It works on pixels in groups of 2x2, never at full size.

    Shape: `forward` gives coarse and restored, each (N, 3, H, W), and hidden (N, 1, H/4, W/4); H
        and W even.

    Args:
        segmenter: whose maps it reads.
        width: channels of the head.
        modulated: the logits modulate the map that the first step is read from.
        filled: what is hidden is filled from around it.
        refined: there is a second step.
    """

    cells: Tensor

    def __init__(
        self,
        segmenter: DeepLabV3Plus,
        width: int,
        *,
        modulated: bool = True,
        filled: bool = True,
        refined: bool = True,
    ) -> None:
        super().__init__()
        encoder, decoded = segmenter.backbone, segmenter.classify.in_channels
        classes = segmenter.classify.out_channels
        self.filled = filled
        self.reduce = conv_bn_relu(decoded + encoder.detail_channels, width, 1)
        self.modulate = Modulation(classes, width) if modulated else None
        self.spread = nn.Sequential(*(separable(width, width, rate) for rate in _RATES))
        self.gain_offset = _silent(nn.Conv2d(width, 6, 1))
        self.hidden = nn.Conv2d(width, 1, 1)
        nn.init.constant_(self.hidden.get_parameter("bias"), _SELDOM)
        self.narrow = nn.Conv2d(width, _CONTEXT, 1)
        self.refine = (
            _refinement(encoder.half_channels + _CONTEXT + 13, width) if refined else None
        )
        # As a convolution, since runtimes transpose slowly: channel 4c + 2y + x of a cell.
        self.register_buffer("cells", _cells(), persistent=False)

    def forward(self, planes: Tensor, half: Tensor, features: Features) -> Restored:
        """Picture (N, 3, H, W) as it is normalised, map at 1/2, what the segmenter made of it."""
        x = self.reduce(torch.cat([features.decoded, features.detail], 1))
        if self.modulate is not None:
            x = self.modulate(x, features.logits)
        x = self.spread(x)
        hidden = self.hidden(x)
        answer = torch.cat([self.gain_offset(x), sigmoid(hidden), self.narrow(x)], 1)
        answer = interpolate(answer, size=half.shape[2:], mode="bilinear")
        gain, offset, occlusion, context = torch.split(answer, [3, 3, 1, _CONTEXT], 1)
        coarse = self._first_step(planes, gain, offset, occlusion)
        if self.refine is None:
            return Restored(pixel_shuffle(coarse, 2), pixel_shuffle(coarse, 2), hidden)
        residual = self.refine(torch.cat([half, context, occlusion, coarse], 1))
        return Restored(pixel_shuffle(coarse, 2), pixel_shuffle(coarse + residual, 2), hidden)

    def _first_step(
        self, planes: Tensor, gain: Tensor, offset: Tensor, occlusion: Tensor
    ) -> Tensor:
        """The picture in cells, (N, 12, H/2, W/2), with nothing before the scene."""
        with torch.autocast(planes.device.type, enabled=False):  # a picture has more digits
            cells = conv2d(planes.float(), self.cells, stride=2)
        gain = 1 + gain
        if self.filled:  # worked out for 3 colours: for 12 it is four times the work
            seen = 1 - occlusion
            known = seen * seen  # and its square: half a drop is hardly a source
            fill = pull_push(avg_pool2d(planes, 2) * gain + offset, known * known)
            gain, offset = gain * seen, offset * seen + fill * occlusion
        return cells * _for_cells(gain) + _for_cells(offset)


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
        modulated, filled, refined: see `RestorationHead`.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        width: int,
        *,
        head: int = 24,
        modulated: bool = True,
        filled: bool = True,
        refined: bool = True,
    ) -> None:
        super().__init__()
        self.segmenter = DeepLabV3Plus(backbone, classes, width)
        self.restorer = RestorationHead(
            self.segmenter, head, modulated=modulated, filled=filled, refined=refined
        )

    def forward(self, image: Tensor) -> Joint:
        segmenter = self.segmenter
        planes = segmenter.normalise(image)
        half, detail, context = segmenter.backbone.pyramid(planes)
        features = segmenter.decode(detail, context)
        coarse, restored, hidden = self.restorer(planes, half, features)
        undo = segmenter.normalise.undo
        return Joint(features.logits, undo(coarse), undo(restored), hidden)


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
