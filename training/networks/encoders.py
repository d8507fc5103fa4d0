"""Backbones: ResNet and MobileNetV2, with torchvision's parameter names.

A full-width backbone takes public ImageNet weights as they are (`load_backbone`); a narrow one,
light enough for two CPU cores, is trained from scratch.
Each returns two maps: detail at 1/4 and context at 1/16 of the picture (output stride 16); the
other maps on the way have methods of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


class BackboneError(ValueError):
    """A backbone's name or weights do not fit."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (He et al. 2016, figure 5 right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + shortcut)
        return out


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """ResNet of four stages; the last is dilated, so context comes at 1/16.

    Args:
        block: `BasicBlock` (18, 34) or `Bottleneck` (50, 101).
        depths: blocks of each stage.
        width: channels of the first stage; 64 is the published network.
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...], width: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self._block, self._inputs = block, width
        self.layer1 = self._stage(width, depths[0])
        self.layer2 = self._stage(2 * width, depths[1], stride=2)
        self.layer3 = self._stage(4 * width, depths[2], stride=2)
        self.layer4 = self._stage(8 * width, depths[3], dilation=2)
        self.half_channels = width
        self.detail_channels = width * block.expansion
        self.middle_channels = 4 * width * block.expansion
        self.context_channels = 8 * width * block.expansion

    def _stage(self, width: int, depth: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for number in range(depth):
            step = stride if number == 0 else 1
            blocks.append(self._block(self._inputs, width, step, dilation))
            self._inputs = width * self._block.expansion
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pyramid(x)[1:]

    def pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at 1/2 (`half_channels`), 1/4 (`detail_channels`), 1/16 (`context_channels`)."""
        half, detail = self._begin(x)
        return half, detail, self.layer4(self.layer3(self.layer2(detail)))

    def levels(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detail, what goes into the last stage (1/16, `middle_channels`), and context."""
        _, detail = self._begin(x)
        middle = self.layer3(self.layer2(detail))
        return detail, middle, self.layer4(middle)

    def _begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = self.relu(self.bn1(self.conv1(x)))
        return half, self.layer1(self.maxpool(half))


class InvertedResidual(nn.Module):
    """Expand, depthwise 3x3, project (Sandler et al. 2018, figure 3)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int, dilation: int) -> None:
        super().__init__()
        hidden = inputs * expand
        layers = [_conv_bn_relu6(inputs, hidden, 1)] if expand != 1 else []
        self.conv = nn.Sequential(
            *layers,
            _conv_bn_relu6(hidden, hidden, 3, stride, dilation, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


def _conv_bn_relu6(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class MobileNetV2(nn.Module):
    """MobileNetV2 up to its last block; the stage of stride 32 is dilated instead.

    Args:
        width: multiplier of all channel counts; 1.0 is the published network.
    """

    # expansion, channels, blocks, stride, dilation (Sandler et al. 2018, table 2)
    _STAGES = (
        (1, 16, 1, 1, 1),
        (6, 24, 2, 2, 1),
        (6, 32, 3, 2, 1),
        (6, 64, 4, 2, 1),
        (6, 96, 3, 1, 1),
        (6, 160, 3, 1, 2),
        (6, 320, 1, 1, 2),
    )
    _HALF_BLOCK, _DETAIL_BLOCK = 1, 3  # the last blocks at 1/2 and at 1/4

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        inputs = _round8(32 * width)
        layers: list[nn.Module] = [_conv_bn_relu6(3, inputs, 3, 2)]
        for expand, channels, depth, stride, dilation in self._STAGES:
            outputs = _round8(channels * width)
            for number in range(depth):
                step = stride if number == 0 else 1
                layers.append(InvertedResidual(inputs, outputs, step, expand, dilation))
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.half_channels = _round8(16 * width)
        self.detail_channels = _round8(24 * width)
        self.context_channels = inputs

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pyramid(x)[1:]

    def pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `ResNet.pyramid`."""
        half: Tensor = self.features[: self._HALF_BLOCK + 1](x)
        detail: Tensor = self.features[self._HALF_BLOCK + 1 : self._DETAIL_BLOCK + 1](half)
        return half, detail, self.features[self._DETAIL_BLOCK + 1 :](detail)


def _round8(channels: float) -> int:
    """MobileNet's rule: a multiple of 8, never more than a tenth below what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


Backbone = ResNet | MobileNetV2

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18_w24": lambda: ResNet(BasicBlock, (2, 2, 2, 2), 24),
    "resnet18_w32": lambda: ResNet(BasicBlock, (2, 2, 2, 2), 32),
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2), 64),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3), 64),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3), 64),
    "resnet101": lambda: ResNet(Bottleneck, (3, 4, 23, 3), 64),
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v2_half": lambda: MobileNetV2(0.5),
}


def load_backbone(backbone: Backbone, path: Path) -> None:
    """Put public ImageNet weights (torchvision's state dict) into a backbone.

    Raises:
        BackboneError: the file cannot be read, or lacks a parameter of the backbone's shape.
    """
    weights = _state_dict(path)
    wanted = {
        name: value
        for name, value in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")  # older files do not count
    }
    unfit = [
        name
        for name, value in wanted.items()
        if name not in weights or weights[name].shape != value.shape
    ]
    if unfit:
        raise BackboneError(
            f"{path}: expected torchvision's weights for {type(backbone).__name__}, but "
            f"{len(unfit)} of {len(wanted)} parameters are missing or of another shape (first: "
            f"{unfit[0]}); choose the recipe whose backbone has the file's name and width"
        )
    backbone.load_state_dict({name: weights[name] for name in wanted}, strict=False)


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if all(isinstance(value, Tensor) for value in weights.values()):
            return dict(weights)
        problem = "entries that are no tensors"
    except Exception as error:  # torch.load has no common base class for what it meets
        problem = str(error).splitlines()[0]
    raise BackboneError(
        f"{path}: expected a state dict of torchvision, found {problem}; download it again"
    )
