"""Deraining by a coarse network and a semantic refinement network behind it (Guo et al. 2020).

Pictures are RGB everywhere; the BGR of the paper's code is a habit of the library it reads with.
All normalisation is per channel (BatchNorm); nothing is scaled by a batch's extremes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.init import normal_, zeros_

from training.networks.blocks import padded
from training.networks.durn import Durn

_MULTIPLE = 16
"""The networks halve a picture four times."""
_SMALLEST = 32  # below this, a sixteenth has nothing left to reflect


def initialise(module: nn.Module) -> None:
    """Weights normal(0, 0.02), of normalisation normal(1, 0.02), biases 0 (section 3)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
        if module.bias is not None:
            zeros_(module.bias)


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _reflected(inputs: int, outputs: int, kernel: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=bias
    )


class ResidualBlock(nn.Module):
    """Two reflecting 3x3 convolutions and the identity, nothing after the sum: RB(channels)."""

    def __init__(self, channels: int, activation: Callable[[], nn.Module] = _relu) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _reflected(channels, channels, 3),
            nn.BatchNorm2d(channels),
            activation(),
            _reflected(channels, channels, 3),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.residual(x)
        return out


def drop_mask(width: int) -> nn.Sequential:
    """Where drops are (section 3.1): no sigmoid, so the map may leave 0 to 1.

    Shape: in (N, 3, H, W) float RGB, 0 to 1, out (N, 1, H, W) float.

    Args:
        width: 32 is the paper's.
    """
    network = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        *(ResidualBlock(width) for _ in range(5)),
        nn.Conv2d(width, 1, 3, padding=1),
    )
    return network.apply(initialise)


class UNet(nn.Module):
    """Generator with two of its four levels joined across (section 3.2).

    Shape: in (N, inputs, H, W) float, sides multiples of 16, out (N, 3, H, W) float32, -1 to 1.

    Args:
        inputs: channels of what it sees.
        width: channels at full size; 16 is the paper's.
        blocks: residual blocks at the lowest level.
    """

    def __init__(self, inputs: int, width: int, blocks: int) -> None:
        super().__init__()
        levels = [width << level for level in range(5)]
        self.enter = nn.Sequential(
            _reflected(inputs, width, 7), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.downs = nn.ModuleList(map(_down, levels[:4], levels[1:]))
        self.deepest = nn.Sequential(*(ResidualBlock(levels[4]) for _ in range(blocks)))
        self.up0, self.up1 = _up(levels[4], levels[3]), _up(levels[4], levels[2])
        self.up2, self.up3 = _up(levels[3], levels[1]), _up(levels[1], levels[0])
        self.leave = _reflected(width, 3, 7, bias=True)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)  # width at 1/1
        levels = []
        for down in self.downs:
            x = down(x)
            levels.append(x)
        x = self.deepest(x)  # 16 width at 1/16
        x = torch.cat([self.up0(x), levels[2]], 1)  # 8 + 8 at 1/8
        x = torch.cat([self.up1(x), levels[1]], 1)  # 4 + 4 at 1/4
        picture = self.leave(self.up3(self.up2(x)))
        return torch.tanh(picture.float())


def _down(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), _leaky())


def _up(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class RefinementBlock(nn.Module):
    """SRRB: the residual M_i = A_i(I_{i-1}) + B_i(I_{i-1}) of a picture (section 3.3).

    A sees wide context at a sixteenth of the size, B keeps the full size.

    Shape: in (N, 3, H, W) float RGB, sides multiples of 16, out alike, float32.

    Args:
        width: 16 is the paper's.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = UNet(3, width, 0)
        self.fine = nn.Sequential(
            nn.Conv2d(3, 2 * width, 3, padding=1),
            *(ResidualBlock(2 * width, _leaky) for _ in range(2)),
            nn.Conv2d(2 * width, 3, 3, padding=1),
        ).apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.wide(x) + self.fine(x).float()
        return residual


class Derained(NamedTuple):
    """What a deraining network makes of pictures, as far as it was asked to.

    Shape: mask (N, 1, H, W), None without a mask network; coarse (N, 3, H, W), the first
        estimate, not clamped, so that it has a gradient everywhere; refined, I_1 to I_N, each
        (N, 3, H, W). All float.
    """

    mask: Tensor | None
    coarse: Tensor | None = None
    refined: tuple[Tensor, ...] = ()


class Deraining(nn.Module):
    """A first network that derains and the SRRN that refines what it gives back.

    I_0 = coarse clamped to 0..1, I_i = I_{i-1} + M_i. The last picture holds every residual;
    the released code adds the last one only.

    Shape: in (N, 3, H, W) float RGB, 0 to 1, of any size; padded for the networks, cut again.

    Args:
        mask: finds drops for the coarse network; None where that one does without.
        coarse: (N, 3, H, W), or 4 channels with the drop map, to a derained (N, 3, H, W).
        blocks: the refinement's, in their order; the paper has two.
    """

    def __init__(
        self, mask: nn.Module | None, coarse: nn.Module, blocks: list[RefinementBlock]
    ) -> None:
        super().__init__()
        self.mask, self.coarse, self.refine = mask, coarse, nn.ModuleList(blocks)

    @property
    def reach(self) -> str:
        """The last part worth computing: `refine` once it has seen a batch, `coarse` before."""
        norms = (module for module in self.refine.modules() if isinstance(module, nn.BatchNorm2d))
        return "refine" if any(norm.num_batches_tracked for norm in norms) else "coarse"

    def forward(self, image: Tensor, until: str = "refine") -> Derained:
        """Compute up to `mask`, `coarse` or `refine`."""
        height, width = image.shape[2:]
        derained = self._of_whole(padded(image, _MULTIPLE, _SMALLEST), until)
        mask, coarse, refined = derained
        return Derained(
            None if mask is None else mask[..., :height, :width],
            None if coarse is None else coarse[..., :height, :width],
            tuple(picture[..., :height, :width] for picture in refined),
        )

    def _of_whole(self, image: Tensor, until: str) -> Derained:
        mask = None if self.mask is None else self.mask(image)
        if until == "mask":
            return Derained(mask)
        coarse = self.coarse(image if mask is None else torch.cat([image, mask], 1))
        if until == "coarse":
            return Derained(mask, coarse)
        refined, picture = [], coarse.clamp(0, 1)
        for block in self.refine:
            picture = picture + block(picture)
            refined.append(picture)
        return Derained(mask, coarse, tuple(refined))


def srrn(width: int, blocks: int = 2) -> Deraining:
    """Drop mask, coarse network of nine blocks, refinement; width 16 is the paper's."""
    coarse = UNet(4, width, 9)
    refine = [RefinementBlock(width) for _ in range(blocks)]
    return Deraining(drop_mask(2 * width), coarse, refine)


def durn_r(width: int, blocks: int = 2) -> Deraining:
    """DuRN + R: refinement behind DuRN-S-P; width 128 is the paper's (the refinement's is 16)."""
    refine = [RefinementBlock(max(1, width // 8)) for _ in range(blocks)]
    return Deraining(None, Durn(width), refine)
