"""A restorer that a semantic map modulates at every scale: SR-Net's EGS.

SPADE is Park et al. 2019; the network around it is our own design (see `srnet`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, layer_norm

from training.networks.blocks import padded

_SLOPE = 0.2
_BLANK, _SHUFFLED, _PATCHES = 0.1, 0.5, 3


def entropy(chances: Tensor) -> Tensor:
    """How unsure a map is, 0 to 1: (N, K, H, W) probabilities -> (N, 1, H, W)."""
    nats = -(chances * chances.clamp_min(1e-8).log()).sum(1, keepdim=True)
    return nats / math.log(chances.shape[1])


class Corruption(NamedTuple):
    """What is to go wrong with a batch of maps.

    Attributes:
        blank: (N, 1, 1, 1) bool, the whole map says nothing.
        wrong: (N, 1, H, W) bool, the places whose classes are mixed up.
        order: (N, K) int64, class k there says what class order[k] should.
    """

    blank: Tensor
    wrong: Tensor
    order: Tensor


def draw_corruption(shape: torch.Size, device: torch.device) -> Corruption:
    """Blanks every tenth map and mixes up rectangles of every second.

    Args:
        shape: of the maps, (N, K, H, W).
        device: that the maps are on.
    """
    count, classes, height, width = shape
    drawn = torch.rand(4, count, _PATCHES, 1, 1, device=device)
    rows = torch.linspace(0, 1, height, device=device).view(1, 1, -1, 1)
    columns = torch.linspace(0, 1, width, device=device).view(1, 1, 1, -1)
    near = ((rows - drawn[0]).abs() < 0.3 * drawn[1]) & (
        (columns - drawn[2]).abs() < 0.3 * drawn[3]
    )
    chance = torch.rand(2, count, 1, 1, 1, device=device)
    order = torch.rand(count, classes, device=device).argsort(1)
    return Corruption(chance[0] < _BLANK, near.any(1, True) & (chance[1] < _SHUFFLED), order)


def corrupt(chances: Tensor, corruption: Corruption) -> Tensor:
    """The maps with what goes wrong: (N, K, H, W) probabilities, and so they stay."""
    order = corruption.order[:, :, None, None].expand_as(chances)
    mixed = torch.where(corruption.wrong, chances.gather(1, order), chances)
    return torch.where(corruption.blank, torch.full_like(chances, 1 / chances.shape[1]), mixed)


class Spade(nn.Module):
    """Normalises without parameters, then scales and shifts by what the map says (Park et al.).

    A 1x1 of the map's features, at a ninth of the cost of the 3x3 it was published with.
    Every pixel is normalised by its own channels, as restoration networks do (NAFNet, Restormer):
    the answer depends neither on the batch nor on how large the picture is.

    Shape: x (N, channels, h, w) and the features of the map (N, hidden, h, w) in, x's shape out.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.scale_and_shift = nn.Conv2d(hidden, 2 * channels, 1)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(semantics).chunk(2, 1)
        x = normalised(x)
        return torch.addcmul(x + shift, x, scale)  # x (1 + scale) + shift


def normalised(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the channels of every pixel: (N, C, h, w)."""
    return layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)


class SpadeBlock(nn.Module):
    """A residual block of two modulated convolutions that share their reading of the map.

    Shape: x (N, channels, h, w) and the map (N, planes, h, w) in, x's shape out.
    """

    def __init__(self, channels: int, planes: int, hidden: int) -> None:
        super().__init__()
        self.read = nn.Sequential(nn.Conv2d(planes, hidden, 3, padding=1), nn.ReLU(inplace=True))
        self.modulate = nn.ModuleList([Spade(channels, hidden) for _ in range(2)])
        self.convolve = nn.ModuleList(
            [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        )
        self.activate = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        semantics, y = self.read(guidance), x
        for modulate, convolve in zip(self.modulate, self.convolve, strict=True):
            y = convolve(self.activate(modulate(y, semantics)))
        return x + y


class EGS(nn.Module):
    """Exemplar-guided synthesis: the picture restored, by its own looks and a map of its classes.

    An encoder reads the degraded picture (the exemplar: colour, light, texture) at five scales,
    without normalisation, which would take the light away; a generator goes from the coarsest to
    the finest, where SPADE tells it what is where and a 1x1 joins the exemplar's features. The
    finest scale is the picture's own, not half of it: noise and rain are a pixel wide.

    The map comes with its entropy. In training it is corrupted at random, so that the network
    learns to fall back on the picture where map and picture disagree.

    The answer is picture + residual, not clamped, as a loss has no gradient where it overshoots
    what it clamps; that is for who shows it. Where it is known what is hidden (a watermark, a
    mask) only that is painted and the rest of the picture stays; a hole is of one value, so that
    the residual paints it as directly as anything could.

    Shape: image (N, 3, H, W) float RGB, 0 to 1, of any size; guidance (N, classes, h, w)
        probabilities of any size; hidden (N, H, W) float 0 to 1, or none where it is not known: a
        sample of zeros counts as not known. Out (N, 3, H, W).

    Args:
        classes: of the map.
        width: channels at full resolution; 64 is the reference, whose deepest have 512.
    """

    SCALES = 5

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        widths = [width * times for times in (1, 2, 4, 8, 8)]
        inputs = [4, *widths[:-1]]  # the picture and what is hidden of it
        self.exemplar = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(i, o, 3, 2 if scale else 1, 1), nn.LeakyReLU(_SLOPE, inplace=True)
                )
                for scale, (i, o) in enumerate(zip(inputs, widths, strict=True))
            ]
        )
        self.join = nn.ModuleList([nn.Conv2d(channels, channels, 1) for channels in widths])
        self.rise = nn.ModuleList(
            [nn.Conv2d(below, own, 1, bias=False) for own, below in pairwise(widths)]
        )
        self.generate = nn.ModuleList(
            [SpadeBlock(channels, classes + 1, 2 * width) for channels in widths]
        )
        self.paint = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.paint.weight)  # begins with the picture as it is
        nn.init.zeros_(self.paint.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, guidance: Tensor, hidden: Tensor | None = None) -> Tensor:
        if self.training:
            guidance = corrupt(guidance, draw_corruption(guidance.shape, guidance.device))
        where = torch.zeros_like(image[:, :1]) if hidden is None else hidden[:, None]
        residual = self._residual(image, guidance, where)
        unknown = where.amax((1, 2, 3), keepdim=True) == 0
        return image + residual * ((where > 0) | unknown)

    def _residual(self, image: Tensor, guidance: Tensor, where: Tensor) -> Tensor:
        height, width = image.shape[2:]
        x = padded(torch.cat([image, where], 1), 2 ** (self.SCALES - 1))
        maps = self._maps(interpolate(guidance, size=(height, width), mode="bilinear"))
        features = []
        for encode in self.exemplar:
            x = encode(x)
            features.append(x)
        x = self.generate[-1](self.join[-1](features[-1]), maps[-1])
        for scale in reversed(range(self.SCALES - 1)):
            # A 1x1 of both side by side, taken where each is small.
            x = interpolate(self.rise[scale](x), scale_factor=2.0, mode="bilinear")
            x = self.generate[scale](x + self.join[scale](features[scale]), maps[scale])
        out: Tensor = self.paint(x)[:, :, :height, :width]
        return out

    def _maps(self, chances: Tensor) -> list[Tensor]:
        """The map and its entropy at every scale, finest first."""
        maps = [padded(chances, 2 ** (self.SCALES - 1))]
        for _ in range(self.SCALES - 1):
            maps.append(avg_pool2d(maps[-1], 2))
        return [torch.cat([chances, entropy(chances)], 1) for chances in maps]
