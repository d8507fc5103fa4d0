"""What labelling is; every kernel is held to this.

Logits of K classes on a coarse grid (K, h, w) become a label for every pixel of (H, W):

- Pixel y looks at row max((y + 0.5) * h / H - 0.5, 0) of the grid, and x likewise (half-pixel
  centres), between the rows below and above it; the last row is repeated beyond the edge.
- *Logits* are interpolated linearly along the row, then between the rows, in float32. This is
  torch's `interpolate(mode="bilinear", align_corners=False)`.
- The *label* is the class of the greatest interpolated logit; of equal ones the lowest id.
- The *confidence* is 255 times the interpolated softmax probability of that class, rounded.

A kernel may round in another order: where the two greatest logits differ by less than 1e-5 of
the greatest magnitude, either is right, and confidence may be off by one.

This file is the definition in numpy, far too slow to drive with.
"""

from __future__ import annotations

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array


def label(logits: Float32Array, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Labels and confidence of every pixel, by the book.

    Args:
        logits: (K, h, w) float32.
        height: H of the picture.
        width: W of the picture.

    Returns:
        (H, W) uint8 class ids and (H, W) uint8 confidence.
    """
    labels = upsample(logits, height, width).argmax(axis=0)
    weights = np.exp(logits - logits.max(axis=0))
    probabilities = upsample(weights / weights.sum(axis=0), height, width)
    confidence = np.take_along_axis(probabilities, labels[np.newaxis], axis=0)[0]
    return labels.astype(np.uint8), np.rint(confidence * 255).astype(np.uint8)


def upsample(planes: Float32Array, height: int, width: int) -> Float32Array:
    """Bilinear interpolation of (K, h, w) float32 to (K, height, width) float32."""
    top, bottom, weight_y = axis(planes.shape[1], height)
    left, right, weight_x = axis(planes.shape[2], width)
    one = np.float32(1)
    rows = planes[:, :, left] * (one - weight_x) + planes[:, :, right] * weight_x
    weight_y = weight_y[:, np.newaxis]
    mixed = rows[:, top] * (one - weight_y) + rows[:, bottom] * weight_y
    return np.asarray(mixed, np.float32)


def axis(coarse: int, fine: int) -> tuple[np.ndarray, np.ndarray, Float32Array]:
    """Where every pixel of one axis looks: two neighbours and the share of the second.

    Returns:
        (fine,) intp lower neighbour, (fine,) intp upper neighbour, (fine,) float32 share.
    """
    scale = np.float32(coarse) / np.float32(fine)
    place = (np.arange(fine, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    place = np.maximum(place, np.float32(0))
    lower = np.minimum(place.astype(np.intp), coarse - 1)
    share = np.clip(place - lower.astype(np.float32), 0, 1).astype(np.float32)
    return lower, np.minimum(lower + 1, coarse - 1), share
