"""Score an engine or a checkpoint on labelled frames.

    python -m training.evaluate ENGINE_OR_CHECKPOINT --data DIR --split test [--weather NAME] --json FILE
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from adverse_perception.frames import UInt8Array
from adverse_perception.scores import ConfusionMatrix
from training.datasets import Pack, open_pack
from training.recipes import Recipe

VALIDATION = ("camvid", "val")


@torch.no_grad()
def label(network: nn.Module, image: UInt8Array) -> UInt8Array:
    """Labels of one picture: (H, W, 3) uint8 RGB in, (H, W) uint8 out."""
    device = next(network.parameters()).device
    logits = network(torch.from_numpy(image)[None].to(device))
    full = interpolate(logits, size=image.shape[:2], mode="bilinear")
    return np.asarray(full.argmax(1)[0].to(torch.uint8).cpu().numpy(), np.uint8)


def validate(recipe: Recipe, network: nn.Module, data: Path) -> float:
    """The score that training watches, on frames it does not train on: mIoU, 0 to 1."""
    if recipe.role == "weather":
        return 0.0
    pack: Pack = open_pack(data / VALIDATION[0], VALIDATION[1])
    matrix = ConfusionMatrix()
    for number in range(0, len(pack.pairs), 4):
        image, truth = pack.load(number)
        matrix.add(label(network, image), truth)
    return matrix.miou()
