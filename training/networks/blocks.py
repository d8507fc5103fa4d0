"""The bricks every network here is built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# ImageNet's statistics, so that public backbones fit.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


class Normalise(nn.Module):
    """Turns a camera's picture into what convolutions like; part of every exported graph.

    Shape: in (N, H, W, 3) uint8 RGB, out (N, 3, H, W) float32, about zero mean, unit variance.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        # Cast first, transpose after: TensorRT refuses to transpose uint8.
        return self.planes(image.to(self.mean.dtype).permute(0, 3, 1, 2))

    def planes(self, image: Tensor) -> Tensor:
        """The same for a picture that is (N, 3, H, W) float, 0 to 255, and may need gradients."""
        scaled: Tensor = (image - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def undo(self, planes: Tensor) -> Tensor:
        """From normalised planes back to a picture (N, 3, H, W) float RGB, 0 to 1."""
        return planes * (self.std / 255) + self.mean / 255


def padded(x: Tensor, multiple: int, smallest: int = 0) -> Tensor:
    """(N, C, H, W) with its last row and column repeated until both sides are such a multiple.

    Args:
        x: pictures or maps.
        multiple: of pixels.
        smallest: pixels that a side has at least; a multiple.
    """
    down, right = (max(smallest, -(-side // multiple) * multiple) - side for side in x.shape[2:])
    return pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution of equal size, batch normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Atrous(nn.Conv2d):
    """A depthwise convolution with holes; on a CPU in 32 bit, whatever the rest is multiplied in.

    There the gradient of its weights in bfloat16 (oneDNN, torch 2.13) is at times not finite.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3 then pointwise: DeepLabv3+'s atrous separable convolution."""
    depthwise = (Atrous if dilation > 1 else nn.Conv2d)(
        inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False
    )
    return nn.Sequential(
        depthwise,
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        *conv_bn_relu(inputs, outputs, kernel=1),
    )


def chances(logits: Tensor) -> Tensor:
    """Softmax over the classes by its parts: runtimes transpose for the whole."""
    weights = (logits - logits.amax(1, keepdim=True)).exp()
    return weights / weights.sum(1, keepdim=True)
