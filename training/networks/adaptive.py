"""NiSeNet's Adaptive channel: what it says of a night nobody labelled should look like labels.

After AdaptSegNet (Tsai et al. 2018), multi-level. The main answer is our DeepLabv3+'s instead of
DeepLabv2's, so that both channels are of one kind and thin things survive; the auxiliary one is
DeepLabv2's classifier, correct in all four dilations.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.networks.blocks import chances
from training.networks.deeplab import DeepLabV3Plus
from training.networks.encoders import BackboneError, ResNet
from training.networks.judging import frozen_call

RATES = (6, 12, 18, 24)


class Dilated(nn.Module):
    """DeepLabv2's classifier: the sum of dilated 3x3 convolutions (Chen et al. 2017).

    AdaptSegNet's released one returns from within its loop and sums the first two only.

    Shape: (N, inputs, h, w) to (N, classes, h, w).
    """

    def __init__(self, inputs: int, classes: int, rates: tuple[int, ...] = RATES) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, classes, 3, padding=rate, dilation=rate) for rate in rates
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


class Judge(nn.Sequential):
    """Tells the probability maps of labelled pictures (positive) from those of the others.

    Five convolutions 4x4 of stride 2, no normalisation (Radford et al. 2016, as AdaptSegNet).

    Shape: (N, classes, h, w), 0 to 1, to (N, 1, h/32, w/32) logits; sides of 32 or more.
    """

    def __init__(self, classes: int, width: int) -> None:
        widths = (classes, width, 2 * width, 4 * width, 8 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, 2, 1))


class Level(NamedTuple):
    """One of the two answers, and what the judge makes of it.

    Shape: logits (N, K, h, w), of the labelled pictures; fooling, the judge's logits of the
        others', whose gradient reaches the segmenter alone; labelled and unlabelled, its logits of
        both, whose gradient reaches the judge alone.
    """

    logits: Tensor
    fooling: Tensor
    labelled: Tensor
    unlabelled: Tensor


class Adapted(NamedTuple):
    """Both answers."""

    main: Level
    auxiliary: Level


class AdaptiveChannel(nn.Module):
    """A segmenter with a second, earlier answer and a judge for each; only the segmenter drives.

    Shape: image and target (N, H, W, 3) uint8 RGB, with labels and without; out an `Adapted`.

    Args:
        backbone, classes, width: of the segmenter; a ResNet.
        judge: channels of a judge's first convolution; 64 in AdaptSegNet.
    """

    def __init__(self, backbone: str, classes: int, width: int, *, judge: int = 64) -> None:
        super().__init__()
        self.segmenter = DeepLabV3Plus(backbone, classes, width)
        if not isinstance(self.segmenter.backbone, ResNet):
            raise BackboneError(
                f"adaptive channel: expected a ResNet, found {backbone}; its auxiliary answer is"
                " read from a ResNet's last stage but one"
            )
        self.auxiliary = Dilated(self.segmenter.backbone.middle_channels, classes)
        self.judge, self.judge_auxiliary = Judge(classes, judge), Judge(classes, judge)

    def forward(self, image: Tensor, target: Tensor) -> Adapted:
        main, auxiliary = self._answers(torch.cat([image, target]))
        return Adapted(_judged(self.judge, main), _judged(self.judge_auxiliary, auxiliary))

    def _answers(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Both at a quarter of the picture's size."""
        backbone = self.segmenter.backbone
        assert isinstance(backbone, ResNet)
        detail, middle, context = backbone.levels(self.segmenter.normalise(image))
        logits = self.segmenter.decode(detail, context).logits
        early = nn.functional.interpolate(
            self.auxiliary(middle), size=logits.shape[2:], mode="bilinear"
        )
        return logits, early


def _judged(judge: Judge, logits: Tensor) -> Level:
    """Of a batch whose first half is labelled."""
    labelled, unlabelled = logits.chunk(2)
    here, there = chances(labelled), chances(unlabelled)
    return Level(labelled, frozen_call(judge, there), judge(here.detach()), judge(there.detach()))
