"""A frozen segmenter that guides restoration: it says what a picture means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.networks.deeplab import DeepLabV3Plus, Features
from training.networks.fusion import FusedOutputs
from training.networks.xception import XceptionDeepLab


class Guide(nn.Module):
    """A segmenter that never learns (Guo et al. 2020, section 3.4; Xia et al. 2019).

    Two fused channels have logits to teach by, but no features of one network.

    Shape: in (N, 3, H, W) float RGB, 0 to 1; clamped, as the vehicle's pictures are.

    Args:
        segmenter: trained on clean pictures.
        learnt_from: names of the data sets it has seen, which it passes on.
    """

    def __init__(
        self,
        segmenter: DeepLabV3Plus | XceptionDeepLab | FusedOutputs,
        learnt_from: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.learnt_from = learnt_from
        self.segmenter = segmenter.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Guide:
        """Stays as it is: its statistics are part of what it has learnt."""
        return super().train(False)

    def forward(self, image: Tensor) -> Features:
        assert not isinstance(self.segmenter, FusedOutputs), "only its logits are to be had"
        planes = self.segmenter.normalise.planes(image.clamp(0, 1) * 255)
        return self.segmenter.features(planes)

    @torch.no_grad()
    def logits(self, pictures: Tensor) -> Tensor:
        """(N, K, h, w) for pictures (N, H, W, 3) uint8 RGB, as the vehicle would label them."""
        found: Tensor = self.segmenter(pictures)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Features:
        """See `forward`; said here for the type checker."""
        features: Features = super().__call__(*args, **kwargs)
        return features
