"""Which of two channels to believe where: NiSeNet's fusion network, and a soft one per pixel.

NiSeNet (Nag et al. 2019) colours the labels of both channels, cuts them into patches of 20x20 and
lets a small network choose the better patch. The paper's picture of it is followed as drawn. The
soft fusion reads probabilities instead of colours, whose distance means nothing, and weighs them
pixel by pixel, so that there are no edges of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from adverse_perception.labels import palette
from training.networks.blocks import Normalise, chances, conv_bn_relu, separable
from training.networks.deeplab import DeepLabV3Plus

CHANNELS = ("real", "adaptive")
"""Whose votes stand in this order; also how the names of their weights begin."""
PATCH = 20
"""Pixels of the picture, along each side of a patch."""
_STRIDE = 4
_WIDTH = 32
_LEAST = 1e-6


class Fused(NamedTuple):
    """Both channels' answers and what is made of them.

    Shape: logits, real and adaptive (N, K, h, w), h = ceil(H/4); choice (N, 1, h, w), 0 to 1, the
        weight of the real channel; votes (N, 2, ceil(H/20), ceil(W/20)), the logits that the
        channel is the better one in that patch, in the order of `CHANNELS`; None of a soft fusion.
    """

    logits: Tensor
    real: Tensor
    adaptive: Tensor
    choice: Tensor
    votes: Tensor | None


class PatchFusion(nn.Module):
    """NiSeNet's fusion network: of two coloured patches at the same place, which one is right?

    The drawing lets 64 channels into the 3x3 branch's pooling and 32 out of it, which pooling
    cannot do: a 1x1 convolution behind it brings them to the drawn 32, and all else is as drawn.
    Maps are made whole patches by reflection (256 -> 260, 13x13 patches) at the right and at the
    bottom, so that the edges of patches are edges of the logits' cells, five of them a patch.

    Where both patches are alike there is nothing to choose: they cost nothing and have no vote.

    Shape: planes (N, 3, H, W), sides of more than 10; real and adaptive (N, K, h, w) logits.

    Args:
        classes: K.
    """

    colours: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        colours = torch.from_numpy(palette()[:classes]).float() / 255
        self.register_buffer("colours", colours, persistent=False)
        self.branch5 = nn.Sequential(*_valid(3, 128, 5), *_valid(128, 64, 5), *_valid(64, 32, 5))
        self.branch3 = nn.Sequential(
            *_valid(3, 128, 3), *_valid(128, 64, 3), nn.MaxPool2d(2), *_valid(64, 32, 1)
        )
        self.join5, self.join3 = (nn.Sequential(*_valid(64, 16, 1)) for _ in range(2))
        self.decide = nn.Sequential(
            nn.Flatten(), *_linear(2048, 512), *_linear(512, 128), nn.Linear(128, len(CHANNELS))
        )

    def forward(self, planes: Tensor, real: Tensor, adaptive: Tensor) -> Fused:
        """Choose for every patch of the picture."""
        maps = [label_map(logits, planes.shape[2:]) for logits in (real, adaptive)]
        votes = self._votes(*(_patches(self._coloured(one)) for one in maps))
        choice = (votes[:, :1] >= votes[:, 1:]).to(real.dtype)
        cells = interpolate(choice, scale_factor=float(PATCH // _STRIDE), mode="nearest")
        cells = cells[:, :, : real.shape[2], : real.shape[3]]
        return Fused(torch.where(cells > 0.5, real, adaptive), real, adaptive, cells, votes)

    def _coloured(self, labels: Tensor) -> Tensor:
        """Labels (N, H, W) in their colours, (N, 3, H, W), 0 to 1."""
        return self.colours[labels].permute(0, 3, 1, 2)

    def _votes(self, real: Tensor, adaptive: Tensor) -> Tensor:
        """Patches (N, rows, columns, 3, 20, 20) of both; (N, 2, rows, columns)."""
        unlike = (real != adaptive).flatten(3).any(3)
        votes = self.vote(real[unlike], adaptive[unlike]).float()
        none = votes.new_zeros(*unlike.shape, len(CHANNELS))
        return none.masked_scatter(unlike[..., None], votes).permute(0, 3, 1, 2)

    def vote(self, real: Tensor, adaptive: Tensor) -> Tensor:
        """The drawn network: two times (M, 3, 20, 20), 0 to 1, to (M, 2) logits."""
        both = torch.cat([real, adaptive])  # so that they share the branches' weights
        joined = [
            join(torch.cat(branch(both).chunk(2), 1))
            for branch, join in ((self.branch5, self.join5), (self.branch3, self.join3))
        ]
        votes: Tensor = self.decide(torch.cat(joined, 1))
        return votes


def label_map(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """The most probable class of every pixel of the picture: (N, K, h, w) to (N, *size) int64."""
    return interpolate(logits.float(), size=size, mode="bilinear").argmax(1)


def _patches(x: Tensor) -> Tensor:
    """(N, C, H, W) cut into (N, rows, columns, C, 20, 20)."""
    down, right = (-side % PATCH for side in x.shape[2:])
    x = pad(x, (0, right, 0, down), mode="reflect")
    rows, columns = (side // PATCH for side in x.shape[2:])
    x = x.reshape(x.shape[0], x.shape[1], rows, PATCH, columns, PATCH)
    return x.permute(0, 2, 4, 1, 3, 5)


def _valid(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    return _begun(nn.Conv2d(inputs, outputs, kernel)), nn.ReLU(inplace=True)


def _linear(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return _begun(nn.Linear(inputs, outputs)), nn.ReLU(inplace=True)


def _begun(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Begun so that seven layers without normalisation neither fade nor grow (He et al. 2015)."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


class SoftFusion(nn.Module):
    """w p_real + (1 - w) p_adaptive, w from both, from how sure they are, and from the picture.

    It begins with the mean of both.

    Shape: planes (N, 3, H, W) as `Normalise` makes them; real and adaptive (N, K, h, w) logits.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.weigh = nn.Sequential(
            conv_bn_relu(2 * classes + 5, _WIDTH, 1),
            *(separable(_WIDTH, _WIDTH, dilation) for dilation in (1, 2, 4)),
            nn.Conv2d(_WIDTH, 1, 1),
        )
        for value in self.weigh[-1].parameters():
            nn.init.zeros_(value)

    def forward(self, planes: Tensor, real: Tensor, adaptive: Tensor) -> Fused:
        """Weigh every pixel of the logits."""
        both = [chances(logits.float()) for logits in (real, adaptive)]
        small = interpolate(avg_pool2d(planes, _STRIDE), size=real.shape[2:], mode="bilinear")
        doubts = [_entropy(chance, self.classes) for chance in both]
        weight = self.weigh(torch.cat([*both, *doubts, small], 1)).float().sigmoid()
        fused = weight * both[0] + (1 - weight) * both[1]
        return Fused(fused.clamp_min(_LEAST).log(), real, adaptive, weight, None)


def _entropy(chance: Tensor, classes: int) -> Tensor:
    """Of (N, K, h, w): (N, 1, h, w), 0 where the channel is sure, 1 where it knows nothing."""
    surprise = chance * chance.clamp_min(_LEAST).log()
    return surprise.sum(1, keepdim=True) / -math.log(classes)


FUSIONS: dict[str, Callable[[int], nn.Module]] = {"patch": PatchFusion, "soft": SoftFusion}


class TwoChannels(nn.Module):
    """Two trained segmenters that learn no more, and what decides between them, which does.

    Shape: in (N, H, W, 3) uint8 RGB; out a `Fused`.

    Args:
        backbone, classes, width: of both channels.
        fusion: `patch`, the paper's, or `soft`.
    """

    def __init__(self, backbone: str, classes: int, width: int, *, fusion: str = "soft") -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(
                f"fusion: expected one of {', '.join(FUSIONS)}, found {fusion!r}; name one"
            )
        self.normalise = Normalise()
        self.real, self.adaptive = (
            DeepLabV3Plus(backbone, classes, width).eval().requires_grad_(False) for _ in CHANNELS
        )
        self.fuse = FUSIONS[fusion](classes)

    def train(self, mode: bool = True) -> TwoChannels:
        """Both channels stay as they are: their statistics are part of what they have learnt."""
        super().train(mode)
        for channel in (self.real, self.adaptive):
            channel.eval()
        return self

    def forward(self, image: Tensor) -> Fused:
        with torch.no_grad():
            real, adaptive = self.real(image), self.adaptive(image)
        fused: Fused = self.fuse(self.normalise(image), real, adaptive)
        return fused


class FusedOutputs(nn.Module):
    """What the engine of two channels hands out: logits, as of any segmenter.

    Shape: in (1, H, W, 3) uint8 RGB, out (1, classes, ceil(H/4), ceil(W/4)) float32.
    """

    def __init__(self, network: TwoChannels) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        fused: Fused = self.network(image)
        return fused.logits
