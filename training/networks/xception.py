"""DeepLabv3+ on the modified aligned Xception-65 (Chen et al. 2018), as Zhuang et al. 2020 use it.

Theirs but for one thing: every resize here has half-pixel centres, as the vehicle's kernels do.
The authors' training aligns corners and their evaluation does not.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from training.networks.blocks import conv_bn_relu, separable
from training.networks.deeplab import DeepLabV3Plus, Features

XCEPTION = "xception65"
"""The backbone's name in recipes; its published width is 32."""
_MOMENTUM = 3e-4
_EPSILON = 1e-3
"""Of the backbone's normalisation; the head's is torch's own."""


def _before(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """ReLU, depthwise 3x3, pointwise: not in place, as the shortcut reads its input too."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class XceptionBlock(nn.Module):
    """Three separable convolutions and a shortcut, 1x1 where the shape changes.

    Shape: (N, inputs, h, w) to (N, outputs, ceil(h / stride), ceil(w / stride)).
    """

    def __init__(self, inputs: int, outputs: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__()
        steps, last = pairwise((inputs, *outputs[:2])), (outputs[1], outputs[2], stride)
        self.first = nn.Sequential(*(_before(*step) for step in steps))
        self.last = _before(*last)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs[2] or stride > 1:
            projection = nn.Conv2d(inputs, outputs[2], 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs[2]))

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the second convolution says, before the stride, and the block's output."""
        second = self.first(x)
        return second, self.last(second) + self.shortcut(x)


class Xception(nn.Module):
    """Modified aligned Xception-65 of output stride 16.

    Shape: in (N, 3, H, W), out detail (N, detail_channels, H/4, W/4) and context
        (N, context_channels, H/16, W/16), both rounded up.

    Args:
        width: channels of the first convolution; 32 is the published network.
        depth: blocks in the middle; 16 is the published network.
    """

    def __init__(self, width: int = 32, depth: int = 16) -> None:
        super().__init__()
        middle = 91 * width // 4  # 728 of 32
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            *conv_bn_relu(width, 2 * width),
        )
        self.entry1 = XceptionBlock(2 * width, (4 * width,) * 3, 2)
        self.entry2 = XceptionBlock(4 * width, (8 * width,) * 3, 2)
        self.entry3 = XceptionBlock(8 * width, (middle,) * 3, 2)
        self.middle = nn.Sequential(*(XceptionBlock(middle, (middle,) * 3) for _ in range(depth)))
        self.exit1 = XceptionBlock(middle, (middle, 32 * width, 32 * width))
        wide = pairwise((32 * width, 48 * width, 48 * width, 64 * width))
        self.exit2 = nn.Sequential(*(separable(*channels, 2) for channels in wide))
        self.detail_channels, self.context_channels = 8 * width, 64 * width
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = _EPSILON

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        detail, x = self.entry2.both(self.entry1(self.stem(x)))
        return detail, self.exit2(self.exit1(self.middle(self.entry3(x))))


class _UnitRange(nn.Module):
    """The paper's normalisation: a picture divided by 255.

    Shape: as `blocks.Normalise`.
    """

    def forward(self, image: Tensor) -> Tensor:
        return self.planes(image.float().permute(0, 3, 1, 2))

    def planes(self, image: Tensor) -> Tensor:
        """The same for a picture that is (N, 3, H, W) float, 0 to 255."""
        return (image / 255).contiguous(memory_format=torch.channels_last)


class XceptionDeepLab(nn.Module):
    """The paper's whole key-frame segmenter, asked as `DeepLabV3Plus` is.

    Its head differs from ours: everything is normalised, the picture's mean too, dropout follows
    the pyramid, and the decoder keeps more of the detail.

    Shape: in (N, H, W, 3) uint8 RGB, out (N, classes, ceil(H/4), ceil(W/4)) float32.

    Args:
        classes: number of logits.
        width: of the first convolution; 32 is the paper's, of 41.05 M parameters with 19 classes.
        depth: blocks in the middle; 16 is the paper's.
    """

    def __init__(self, classes: int, width: int = 32, depth: int = 16) -> None:
        super().__init__()
        head, kept = 8 * width, 3 * width // 2  # the paper's 256 and 48
        self.normalise = _UnitRange()
        self.backbone = Xception(width, depth)
        context = self.backbone.context_channels
        self.branches = nn.ModuleList(
            [conv_bn_relu(context, head, 1), *(separable(context, head, r) for r in (6, 12, 18))]
        )
        self.pooled = conv_bn_relu(context, head, 1)
        self.project = conv_bn_relu(5 * head, head, 1).append(nn.Dropout2d(0.1))
        self.reduce = conv_bn_relu(self.backbone.detail_channels, kept, 1)
        self.decoder = nn.Sequential(separable(head + kept, head), separable(head, head))
        self.classify = nn.Conv2d(head, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _MOMENTUM

    def forward(self, image: Tensor) -> Tensor:
        return self.features(self.normalise(image)).logits

    def features(self, planes: Tensor) -> Features:
        """The logits with what they rest on; planes (N, 3, H, W) float, 0 to 1."""
        detail, context = self.backbone(planes)
        whole = self.pooled(context.mean((2, 3), keepdim=True))
        scales = tuple(branch(context) for branch in self.branches)
        scales = (*scales, whole.expand_as(scales[0]))
        joined = self.project(torch.cat(scales, 1))
        joined = interpolate(joined, size=detail.shape[2:], mode="bilinear")
        decoded = self.decoder(torch.cat([joined, self.reduce(detail)], 1))
        return Features(self.classify(decoded), decoded, detail, scales)


def segmenter(backbone: str, classes: int, width: int) -> DeepLabV3Plus | XceptionDeepLab:
    """DeepLabv3+ by its backbone's name: the paper's, or ours.

    Args:
        backbone: `xception65`, or a name of `encoders.BACKBONES`.
        classes: number of logits.
        width: the backbone's first convolution of the paper's; of ours, the head.
    """
    if backbone == XCEPTION:
        return XceptionDeepLab(classes, width)
    return DeepLabV3Plus(backbone, classes, width)
