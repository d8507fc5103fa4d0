"""Whether a confidence can be believed: of the pixels said to be 80 % sure, are 80 % right?

Counted by the confidence as it is published, 0 to 255 for 0 to 1, so that nothing is rounded twice
and no frame is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import UNLABELLED
from adverse_perception.scores import ScoreError

BINS = 15


class Calibration:
    """Counts of right and wrong pixels by their confidence, over any number of frames.

    Example:
        >>> calibration = Calibration()
        >>> sure, labels = np.full((1, 2), 255, np.uint8), np.array([[3, 4]], np.uint8)
        >>> calibration.add(labels, sure, np.array([[3, 5]], np.uint8))
        >>> calibration.error()
        0.5
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros((2, 256), np.int64)
        """(2, 256): row wrong or right, column the confidence times 255."""

    def add(self, labels: UInt8Array, confidence: UInt8Array, truth: UInt8Array) -> None:
        """Count one frame.

        Args:
            labels: (H, W) uint8 class ids.
            confidence: (H, W) uint8, 0 to 255 for 0 to 1.
            truth: (H, W) uint8 class ids; pixels of 255 are ignored.

        Raises:
            ScoreError: the shapes differ.
        """
        if not labels.shape == confidence.shape == truth.shape:
            raise ScoreError(
                f"calibration: expected labels and confidence of the truth's shape {truth.shape}, "
                f"found {labels.shape} and {confidence.shape}; score in the camera's geometry"
            )
        known = truth != UNLABELLED
        right = (labels == truth)[known].astype(np.intp)
        self.counts += np.bincount(right * 256 + confidence[known], minlength=512).reshape(2, 256)

    def error(self, bins: int = BINS) -> float:
        """Expected calibration error, 0 to 1; nan without any pixel.

        The mean over all pixels of how far their bin's accuracy is from its mean confidence (Guo
        et al. 2017). Bin b of B is (b / B, (b + 1) / B]: a confidence on a border belongs to the
        bin below it, and 0 to the first. The bins are found in whole numbers, so that this is
        exact; with 15 of them, each holds 17 of the 255 values above 0.

        Args:
            bins: how many, equally wide.
        """
        surplus = self.counts[1] - self.counts.sum(axis=0) * np.arange(256) / 255
        upper = -(-np.arange(256) * bins // 255)  # confidence times bins, rounded up
        gaps = np.bincount(np.maximum(upper - 1, 0), surplus, minlength=bins)
        total = int(self.counts.sum())
        return float(np.abs(gaps).sum() / total) if total else float("nan")
