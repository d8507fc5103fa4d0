"""How good and how fast: intersection over union, latency, steadiness. One rule for all rooms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_NAMES, UNLABELLED


class ScoreError(ValueError):
    """Labels that cannot be compared."""


class ConfusionMatrix:
    """Counts of predicted class against true class over any number of frames.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.add(np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8))
        >>> matrix.miou()
        1.0
    """

    def __init__(self, classes: int = len(CLASS_NAMES)) -> None:
        """Start empty; `classes` is the number of class ids, 1 to 255."""
        self.counts: NDArray[np.int64] = np.zeros((classes, classes + 1), np.int64)
        """(classes, classes + 1): row true class, column predicted; last = unlabelled."""

    def add(self, predicted: UInt8Array, truth: UInt8Array) -> None:
        """Count one frame.

        Args:
            predicted: (H, W) uint8 class ids; 255 (no label given) counts as a miss.
            truth: (H, W) uint8 class ids; pixels of 255 are ignored.

        Raises:
            ScoreError: the shapes differ, or an id is no class.
        """
        classes = len(self.counts)
        if predicted.shape != truth.shape:
            raise ScoreError(
                f"labels: expected the truth's shape {truth.shape}, found {predicted.shape};"
                " score in the camera's geometry"
            )
        pairs = np.bincount(
            truth.ravel().astype(np.intp) * 256 + predicted.ravel(), minlength=65536
        )
        table = pairs.reshape(256, 256)[:UNLABELLED]
        if table[classes:].any() or table[:classes, classes:UNLABELLED].any():
            raise ScoreError(
                f"labels: expected ids 0 to {classes - 1} and {UNLABELLED},"
                f" found up to {_largest_id(predicted, truth)}"
            )
        self.counts[:, :-1] += table[:classes, :classes]
        self.counts[:, -1] += table[:classes, UNLABELLED]

    def merge(self, other: ConfusionMatrix) -> None:
        """Add another matrix's counts, of the same number of classes."""
        self.counts += other.counts

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of every class, 0 to 1; nan where absent from both."""
        right = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - right
        with np.errstate(invalid="ignore"):
            return np.asarray(right / np.where(union > 0, union, np.nan), np.float64)

    def miou(self) -> float:
        """Mean over the classes that occur, 0 to 1; nan without any."""
        iou = self.iou()
        present = iou[~np.isnan(iou)]
        return float(present.mean()) if present.size else float("nan")

    def accuracy(self) -> float:
        """Share of labelled pixels with the right class, 0 to 1; nan without any."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts) / total) if total else float("nan")


def _largest_id(predicted: UInt8Array, truth: UInt8Array) -> int:
    known = truth != UNLABELLED
    ids = np.concatenate([truth[known], predicted[known]])
    return int(ids[ids != UNLABELLED].max())


class Latency:
    """Durations of one stage and their percentiles."""

    def __init__(self) -> None:
        self._values_ms: list[float] = []

    def __len__(self) -> int:
        return len(self._values_ms)

    def add(self, value_ms: float) -> None:
        """Note one duration in milliseconds."""
        self._values_ms.append(value_ms)

    def percentile(self, share: float) -> float:
        """The duration that `share` (0 to 100) per cent stay under, in ms; nan without any."""
        if not self._values_ms:
            return float("nan")
        return float(np.percentile(self._values_ms, share))

    def summary(self) -> dict[str, float]:
        """Milliseconds by name: p50, p95, p99."""
        return {f"p{share}": self.percentile(share) for share in (50, 95, 99)}


def consistency(labels: UInt8Array, previous: UInt8Array) -> float:
    """Share of pixels that keep their label from one frame to the next, 0 to 1.

    Args:
        labels: (H, W) uint8 class ids; pixels of 255 in either are ignored.
        previous: (H, W) uint8 class ids of the frame before, in the same geometry (warp it
            first where the camera moves and the flow is known).

    Returns:
        The share; nan when no pixel can be compared.

    Raises:
        ScoreError: the shapes differ.
    """
    if labels.shape != previous.shape:
        raise ScoreError(
            f"labels: expected two of one shape, found {labels.shape}, {previous.shape}"
        )
    known = (labels != UNLABELLED) & (previous != UNLABELLED)
    return float((labels == previous)[known].mean()) if known.any() else float("nan")
