"""Where a warp went wrong, and what to say there instead (Zhuang et al. 2020, 3.4 and 3.5)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, leaky_relu

from training.networks.flownet import cropped

_SLOPE = 0.1


class DistortionNet(nn.Module):
    """DMNet: how much a warped picture differs from the true one, at every pixel.

    D = clamp((1 - cos(e1, e2)) / 2, 0, 1), e1 and e2 what one branch makes of each. That reaches
    1 for opposite embeddings only, and is no probability though BCE teaches it as one; calibrated,
    D = sigmoid(scale (1 - cos) / 2 + offset), two parameters more than the paper's 764.

    Shape: warped, true (N, 3, h, w) float RGB, 0 to 1; out (N, 1, h, w) float32, 0 to 1.
    """

    def __init__(self, *, calibrated: bool = False) -> None:
        super().__init__()
        layers = [_embedding(*channels) for channels in pairwise((3, 4, 8, 16))]
        self.embed = nn.Sequential(*layers, nn.Conv2d(16, 16, 1))
        self.embed.apply(_initialise)
        # Half the way, which unrelated pictures go, begins as undecided.
        self.calibration = nn.Parameter(torch.tensor([8.0, -4.0])) if calibrated else None

    def forward(self, warped: Tensor, true: Tensor) -> Tensor:
        e1, e2 = (self.embed(picture).float() for picture in (warped, true))
        angle = (1 - cosine_similarity(e1, e2, dim=1, eps=1e-6)[:, None]) / 2
        if self.calibration is None:
            return angle.clamp(0, 1)
        scale, offset = self.calibration
        return torch.sigmoid(scale * angle + offset)


def _embedding(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_normal_(module.weight)


class CorrectionNet(nn.Module):
    """CFNet: logits of the present frame alone, for where the warped ones are distorted.

    Shape: in (N, 3, H, W) float RGB, 0 to 1, of any size; out (N, classes, ceil(H/4), ceil(W/4)).

    Args:
        classes: number of logits.
        width: channels at half the size; 32 is the paper's, of 9.49 M parameters.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        wide = [width, 2 * width, 4 * width, 8 * width, 8 * width, 16 * width]
        self.down = nn.ModuleList(_conv(*channels, 2) for channels in pairwise([3, *wide]))
        self.again = nn.ModuleList(_conv(channels, channels, 1) for channels in wide[2:])
        up = [8 * width, 4 * width, 2 * width, width]
        seen = [wide[5], *(skip + rise for skip, rise in zip(wide[4:0:-1], up, strict=True))]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 4, 2, bias=False) for i, o in zip(seen, up, strict=False)
        )
        self.classify = nn.Conv2d(seen[-1], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        maps, x = [], image
        for level, down in enumerate(self.down):
            x = down(x)
            if level >= 2:
                x = self.again[level - 2](x)
            maps.append(x)
        for up, skip in zip(self.up, maps[4:0:-1], strict=True):
            x = torch.cat([skip, leaky_relu(cropped(up(x), skip), _SLOPE)], 1)
        logits: Tensor = self.classify(x)
        return logits


def _conv(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(_SLOPE, inplace=True),
    )
