"""FlowNet-S (Dosovitskiy et al. 2015) at three eighths of its width (Zhuang et al. 2020, 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

UNIT = 5.0
"""What the last convolution's 1 is worth, in pixels of the map at 1/4."""
_SLOPE = 0.1


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    return nn.Sequential(convolution, nn.LeakyReLU(_SLOPE, inplace=True))


def _up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, bias=False)


def cropped(x: Tensor, skip: Tensor) -> Tensor:
    """What a transposed convolution made, without its border: at the size of the skip."""
    height, width = skip.shape[2:]
    return x[:, :, 1 : 1 + height, 1 : 1 + width]


class FlowNet(nn.Module):
    """How the picture moves from one frame to an earlier one.

    The paper begins with the authors' weights; ours are drawn (He et al. 2015) so that the flow
    begins near zero and coarse flow is enlarged linearly.

    Shape: now, before (N, 3, H, W) float RGB, 0 to 1, of any size; out the flow from now back to
        before at 1/4, 1/8, 1/16, 1/32 and 1/64 of the size, rounded up: (N, 2, h, w) float32,
        x then y, each in pixels of the map at 1/4.

    Args:
        width: channels at half the size; 24 is the paper's, of 5.46 M parameters.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        wide = [width, 2 * width, 4 * width, 8 * width, 8 * width, 16 * width]
        kernels = zip(pairwise([6, *wide]), (7, 5, 5, 3, 3, 3), strict=True)
        self.down = nn.ModuleList(_conv(i, o, kernel, 2) for (i, o), kernel in kernels)
        self.again = nn.ModuleList(_conv(channels, channels, 3, 1) for channels in wide[2:])
        up = [8 * width, 4 * width, 2 * width, width]
        seen = [wide[5]]  # channels at every scale, coarsest first: the paper's 384, 386, ... 74
        seen += [skip + rise + 2 for skip, rise in zip(wide[4:0:-1], up, strict=True)]
        self.up = nn.ModuleList(_up(i, o) for i, o in zip(seen, up, strict=False))
        self.enlarge = nn.ModuleList(_up(2, 2) for _ in up)
        self.predict = nn.ModuleList(nn.Conv2d(channels, 2, 3, padding=1) for channels in seen)
        self.apply(_initialise)
        for enlarge in self.enlarge:
            _begin_linear(enlarge)
        for predict in self.predict:
            nn.init.normal_(predict.get_parameter("weight"), std=1e-3)

    def forward(self, now: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        skips = self._encode(torch.cat([now, before], 1))
        x = skips.pop()
        flow = self.predict[0](x)
        flows = [flow]
        for up, enlarge, predict in zip(self.up, self.enlarge, self.predict[1:], strict=True):
            skip = skips.pop()
            risen = leaky_relu(cropped(up(x), skip), _SLOPE)
            x = torch.cat([skip, risen, cropped(enlarge(flow), skip)], 1)
            flow = predict(x)
            flows.append(flow)
        return tuple(UNIT * flow.float() for flow in reversed(flows))

    def _encode(self, x: Tensor) -> list[Tensor]:
        """The maps from 1/4 to 1/64."""
        maps = []
        for level, down in enumerate(self.down):
            x = down(x)
            if level >= 2:
                x = self.again[level - 2](x)
            maps.append(x)
        return maps[1:]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, _SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def _begin_linear(enlarge: nn.Module) -> None:
    """Bilinear interpolation, each channel by itself."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = line[:, None] * line
    enlarge.get_parameter("weight").copy_(torch.eye(2)[:, :, None, None] * kernel)
