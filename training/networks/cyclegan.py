"""CycleGAN: day to night and back, learnt from pictures that show different places.

Zhu et al. 2017, "Unpaired Image-to-Image Translation": generators after Johnson et al. 2016,
judges that look at 70x70 patches (Isola et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from training.networks.judging import frozen_call

_DEVIATION = 0.02
_STEP = 4
"""Pixels of a generator's picture for one of its smallest map."""


class Generator(nn.Module):
    """Shows a picture in the other light: c7s1-w, d2w, d4w, residual blocks, u2w, uw, c7s1-3.

    Shape: in and out (N, 3, H, W) float RGB, -1 to 1, of any size from 8 pixels a side.

    Args:
        width: channels at full resolution; the paper's is 64.
        blocks: residual blocks; the paper's are 9 for 256 pixels and 6 for 128.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv7(3, width),
            *_normed(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)),
            *_normed(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)),
            *(Residual(4 * width) for _ in range(blocks)),
            *_normed(_doubling(4 * width, 2 * width)),
            *_normed(_doubling(2 * width, width)),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        made: Tensor = self.layers(_mirrored(pictures))
        return made[:, :, :height, :width]


class Residual(nn.Module):
    """Two 3x3 convolutions that add to what they are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normed(nn.Conv2d(channels, channels, 3)),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.layers(x)
        return added


class PatchJudge(nn.Sequential):
    """Is a picture real? An answer for every patch of 70x70: C-w, C-2w, C-4w, C-8w, no sigmoid.

    Shape: in (N, 3, H, W), -1 to 1; out (N, 1, about H/8, about W/8), 1 for real, 0 for made.
    """

    def __init__(self, width: int) -> None:
        leaky = nn.LeakyReLU(0.2, inplace=True)
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), leaky]
        for inputs, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            step = nn.Conv2d(inputs, 2 * inputs, 4, stride=stride, padding=1)
            layers += [step, nn.InstanceNorm2d(2 * inputs), leaky]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))


class Earlier(NamedTuple):
    """What generators made in earlier steps, for the judges to see again.

    Attributes:
        pictures: (N, 3, H, W) float, -1 to 1.
        shown: (N,) bool, where the judge is to see it instead of what is made now.
    """

    pictures: Tensor
    shown: Tensor


class Sides(NamedTuple):
    """Something of the day and something of the night."""

    day: Tensor
    night: Tensor


class Translated(NamedTuple):
    """Everything that a step's losses look at; pictures (N, 3, H, W), verdicts (N, 1, h, w).

    Attributes:
        made: a day made of the night, a night made of the day.
        again: the day after it was a night, the night after it was a day.
        same: what the generator of days makes of a day, and that of nights of a night.
        fooled: verdicts on `made`, with a gradient for the generators alone.
        real: verdicts on the pictures given.
        fake: verdicts on `made` or on what was made earlier, with a gradient for the judges alone.
    """

    made: Sides
    again: Sides
    same: Sides
    fooled: Sides
    real: Sides
    fake: Sides


class CycleGan(nn.Module):
    """Two generators and the two judges that they learn from.

    Args:
        width: channels of generators and judges at their largest map; the paper's is 64.
        blocks: residual blocks of a generator.
    """

    def __init__(self, width: int, blocks: int = 9) -> None:
        super().__init__()
        self.to_night = Generator(width, blocks)
        self.to_day = Generator(width, blocks)
        self.judge_night = PatchJudge(width)
        self.judge_day = PatchJudge(width)
        self.apply(_initialise)

    def forward(
        self, day: Tensor, night: Tensor, old_days: Earlier, old_nights: Earlier
    ) -> Translated:
        """Both ways and both judges; see `Translated`.

        Args:
            day: (N, 3, H, W) float RGB, -1 to 1.
            night: likewise, of other places.
            old_days: what the judge of days may see instead of the days made now.
            old_nights: likewise for nights.
        """
        made = Sides(self.to_day(night), self.to_night(day))
        return Translated(
            made=made,
            again=Sides(self.to_day(made.night), self.to_night(made.day)),
            same=Sides(self.to_day(day), self.to_night(night)),
            fooled=Sides(
                frozen_call(self.judge_day, made.day), frozen_call(self.judge_night, made.night)
            ),
            real=Sides(self.judge_day(day), self.judge_night(night)),
            fake=Sides(
                self.judge_day(_shown(old_days, made.day)),
                self.judge_night(_shown(old_nights, made.night)),
            ),
        )


def _shown(earlier: Earlier, made: Tensor) -> Tensor:
    """What a judge is to tell from real: without a way back to the generator."""
    made = made.detach()
    return torch.where(earlier.shown[:, None, None, None], earlier.pictures.to(made.dtype), made)


def _conv7(inputs: int, outputs: int) -> Sequence[nn.Module]:
    return nn.ReflectionPad2d(3), *_normed(nn.Conv2d(inputs, outputs, 7))


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> Sequence[nn.Module]:
    channels = convolution.out_channels
    return convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def _doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


def _mirrored(pictures: Tensor) -> Tensor:
    """With mirrored rows and columns below and to the right, so that both sides halve twice."""
    down, right = (-side % _STEP for side in pictures.shape[2:])
    return pad(pictures, (0, right, 0, down), mode="reflect") if down or right else pictures


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, _DEVIATION)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
