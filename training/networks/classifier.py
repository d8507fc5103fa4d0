"""The weather classifier: a few convolutions on a small picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.networks.blocks import Normalise, conv_bn_relu


class WeatherNet(nn.Module):
    """Names the condition of a picture.

    Weather shows in texture (streaks, drops, noise) and in tone (veil, darkness), so the mean
    and the spread of every feature over the picture are what is judged.

    Shape: in (N, H, W, 3) uint8 RGB, out (N, conditions) logits.
    """

    def __init__(self, conditions: int, width: int = 16) -> None:
        super().__init__()
        self.normalise = Normalise()
        stages: list[nn.Module] = []
        inputs = 3
        for channels in (width, 2 * width, 4 * width, 6 * width):
            stages += [conv_bn_relu(inputs, channels), nn.MaxPool2d(2)]
            inputs = channels
        self.features = nn.Sequential(*stages)
        self.judge = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * inputs, conditions))

    def forward(self, image: Tensor) -> Tensor:
        x = self.features(self.normalise(image)).flatten(2)
        mean = x.mean(2)
        spread = ((x - mean.unsqueeze(2)) ** 2).mean(2).add(1e-5).sqrt()
        scores: Tensor = self.judge(torch.cat([mean, spread], 1))
        return scores
