"""The light step between key frames: where the warped logits are wrong, and what to say instead.

After Zhuang et al. 2020 (distortion map and correction network), an order cheaper. What corrects
is the key network's own kind, begun from its weights, on a small picture: at a third of the size
it costs a ninth, and knows far more than a small network of the same cost can learn. What tells
where to listen to it reads what the vehicle knows of the warp's failures, and where the two agree.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from training.networks.blocks import chances, conv_bn_relu, separable
from training.networks.deeplab import DeepLabV3Plus

SHRUNK = (2, 3)
"""Size of the small picture over that of the halved one, as a fraction."""
_STRIDE = 4
_CHANNELS = 32
_SELDOM = -2.0
"""Logit of a distortion before anything is learnt."""


class Corrected(NamedTuple):
    """What the light step says of a frame.

    Shape: correction (N, K, h, w), logits from the frame itself; distortion (N, 1, h, w), how much
        they count: Y = (1 - D) warped + D correction. Its logit from `LightCorrection`, D itself,
        0 to 1, from `CorrectionOutputs`.
    """

    correction: Tensor
    distortion: Tensor


class LightCorrection(nn.Module):
    """A segmenter on a small picture, and a few convolutions that say where it counts.

    Shape: image (N, 2h, 2w, 3) uint8 RGB, warped (N, K, h, w) logits and evidence (N, E, h, w), as
        `adverse_perception.propagation.Step` has them, h and w even; out a `Corrected`.

    Args:
        backbone, classes, width: of the segmenter; the key network's, to begin from its weights.
        evidence: E.
        shrunk: size of the picture it sees over that of the one it is given, as a fraction.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        width: int,
        evidence: int,
        *,
        shrunk: tuple[int, int] = SHRUNK,
    ) -> None:
        super().__init__()
        self.segmenter = DeepLabV3Plus(backbone, classes, width)
        self.shrunk = shrunk
        self.weigh = nn.Sequential(
            conv_bn_relu(evidence + 3, _CHANNELS),
            separable(_CHANNELS, _CHANNELS),
            separable(_CHANNELS, _CHANNELS, 2),
            nn.Conv2d(_CHANNELS, 1, 1),
        )
        nn.init.constant_(self.weigh[-1].get_parameter("bias"), _SELDOM)

    def forward(self, image: Tensor, warped: Tensor, evidence: Tensor) -> Corrected:
        # In multiples of the stride, or the logits reach beyond the picture and would be squeezed.
        height, width = (_shrunk(side, *self.shrunk) for side in image.shape[1:3])
        planes = self.segmenter.normalise(image)
        small = interpolate(planes, size=(height, width), mode="bilinear")
        logits = self.segmenter.features(small).logits
        correction, distortion = (
            interpolate(x, size=warped.shape[2:], mode="bilinear")
            for x in (logits, self._distortion(logits, warped, evidence))
        )
        return Corrected(correction, distortion)

    def _distortion(self, logits: Tensor, warped: Tensor, evidence: Tensor) -> Tensor:
        """Its logit, at half the grid: (N, 1, h/2, w/2)."""
        warped, evidence = avg_pool2d(warped, 2), avg_pool2d(evidence, 2)
        before = chances(warped)
        now = chances(interpolate(logits, size=warped.shape[2:], mode="bilinear"))
        agreed = (before * now).sum(1, keepdim=True)
        sure = [one.amax(1, keepdim=True) for one in (before, now)]
        weighed: Tensor = self.weigh(torch.cat([evidence, agreed, *sure], 1))
        return weighed


def _shrunk(side: int, over: int, under: int) -> int:
    """The multiple of the stride that is nearest to a side's share; traced as it is."""
    return (side * over // under + _STRIDE // 2) // _STRIDE * _STRIDE


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
