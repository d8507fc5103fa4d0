"""The light step between key frames: where the warped logits are wrong, and what to say instead.

After Zhuang et al. 2020 (distortion map and correction network), an order cheaper: one small
network looks at half the picture, and at what the vehicle knows already of the warp's failures.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from training.networks.blocks import Normalise, conv_bn_relu, separable

_SELDOM = -2.0
"""Logit of a distortion before anything is learnt."""


class Corrected(NamedTuple):
    """What the light step says of a frame.

    Shape: correction (N, K, h, w), logits from the frame itself; distortion (N, 1, h, w), 0 to 1,
        how much they count: Y = (1 - D) warped + D correction. `LightCorrection` gives its logit.
    """

    correction: Tensor
    distortion: Tensor


class LightCorrection(nn.Module):
    """Distortion map and correction in one small encoder and decoder.

    Shape: image (N, 2h, 2w, 3) uint8 RGB, warped (N, K, h, w) logits and evidence (N, E, h, w), as
        `adverse_perception.propagation.Step` has them, h and w even; out a `Corrected`.

    Args:
        classes: K.
        evidence: E.
        width: channels on the grid; 3 and 6 times as many further down.
    """

    def __init__(self, classes: int, evidence: int, width: int) -> None:
        super().__init__()
        narrow, middle, deep = width, 3 * width, 6 * width
        self.normalise = Normalise()
        self.stem = _halving(3, narrow)
        self.look, self.know = _linear(narrow, narrow), _linear(classes + evidence, narrow)
        self.eighth = nn.Sequential(_halving(narrow, middle), separable(middle, middle))
        self.sixteenth = nn.Sequential(
            _halving(middle, deep), *(separable(deep, deep, rate) for rate in (1, 2, 4))
        )
        self.to_eighth = conv_bn_relu(deep, middle, 1)
        self.to_grid = conv_bn_relu(middle, narrow, 1)
        self.at_eighth = separable(middle, middle)
        self.on_grid = nn.Sequential(separable(narrow, narrow), separable(narrow, narrow))
        self.answer = nn.Conv2d(narrow, classes, 1)
        self.distorted = nn.Conv2d(narrow, 1, 1)
        nn.init.constant_(self.distorted.get_parameter("bias"), _SELDOM)

    def forward(self, image: Tensor, warped: Tensor, evidence: Tensor) -> Corrected:
        # Sums, not concatenations: these and what they need cost a CPU half of the whole.
        known = self.know(torch.cat([chances(warped), evidence], 1))
        fine = relu(self.look(self.stem(self.normalise(image))) + known)
        eighth = self.eighth(fine)
        x = self.to_eighth(self.sixteenth(eighth))
        x = interpolate(x, size=eighth.shape[2:], mode="bilinear")
        x = self.to_grid(self.at_eighth(x + eighth))
        x = self.on_grid(interpolate(x, scale_factor=2.0, mode="bilinear") + fine)
        return Corrected(self.answer(x), self.distorted(x))


class CorrectionOutputs(nn.Module):
    """What the engine of a correction network hands out.

    Shape: as `LightCorrection`; out correction (1, K, h, w) and distortion (1, 1, h, w), 0 to 1.
    """

    def __init__(self, network: LightCorrection) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, warped: Tensor, evidence: Tensor) -> Corrected:
        found: Corrected = self.network(image, warped, evidence)
        return Corrected(found.correction, found.distortion.sigmoid())


def chances(logits: Tensor) -> Tensor:
    """Softmax over the classes by its parts: runtimes transpose for the whole."""
    weights = (logits - logits.amax(1, keepdim=True)).exp()
    return weights / weights.sum(1, keepdim=True)


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
