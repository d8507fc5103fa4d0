"""Operations of ours that no runtime has: one definition, several implementations."""

from __future__ import annotations

import numpy as np

from adverse_perception.kernels.errors import KernelError
from adverse_perception.kernels.labelling import correct_and_label, label
from adverse_perception.kernels.resizing import resize
from adverse_perception.kernels.warping import warp

__all__ = ["KernelError", "correct_and_label", "label", "resize", "warm_up", "warp"]


def warm_up() -> None:
    """Compile, or load from the cache, before the first frame needs it."""
    resize(np.zeros((3, 3, 3), np.uint8), 2, 2)
    logits = np.zeros((2, 2, 2), np.float32)
    label(logits, 4, 4)
    warped = warp(logits, np.zeros((2, 2, 2), np.float32))
    correct_and_label(warped, logits, logits[0], 4, 4)
