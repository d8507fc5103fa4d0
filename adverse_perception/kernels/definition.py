"""What resizing, warping and labelling are; every kernel is held to this.

*Resizing* brings a picture (H, W, 3) of 8 bits to another size (h, w):

- Where no side grows, a new pixel is the mean of what it covers of the old ones, those at its
  edges by the share it covers of them.
- Where a side grows, pixel y looks at row (y + 0.5) * H / h - 0.5, clamped to the picture, and x
  likewise (half-pixel centres), and takes the bilinear mix of the four pixels around.
- Halves are rounded up. All of this is counted in whole numbers, so that it is exact; OpenCV's
  `INTER_AREA` and `INTER_LINEAR` are off by one at most, and by nothing where a picture is halved.

*Warping* carries planes (C, h, w) along a flow (h, w, 2) of (x, y) in pixels of that grid:

- Pixel (y, x) looks at row y + v and column x + u, each clamped to the grid, and takes the
  bilinear mix of the four points around, in float32. This is torch's
  `grid_sample(mode="bilinear", padding_mode="border", align_corners=True)`.
- A flow with a component that is not finite is no flow: the pixel looks at itself.

*Labelling* turns logits of K classes on a coarse grid (K, h, w) into a label for every pixel of
(H, W):

- Pixel y looks at row max((y + 0.5) * h / H - 0.5, 0) of the grid, and x likewise (half-pixel
  centres), between the rows below and above it; the last row is repeated beyond the edge.
- *Logits* are interpolated linearly along the row, then between the rows, in float32. This is
  torch's `interpolate(mode="bilinear", align_corners=False)`.
- The *label* is the class of the greatest interpolated logit; of equal ones the lowest id.
- The *confidence* is 255 times the interpolated softmax probability of that class, rounded.

*Correcting and labelling* does the same to two sets of logits, warped ones W and a correction C,
of which the distortion D (h, w), 0 to 1, says where the warp is no good:

- All three are interpolated; the logits of a pixel are (1 - D) * W + D * C of what comes out.
- The softmax behind the confidence is taken at the grid's points, of the logits blended there.
- With D = 0 it is the labelling of W, with D = 1 that of C; D beyond these counts as these.

A kernel may round in another order: where the two greatest logits differ by less than 1e-5 of
the greatest magnitude, either is right, and confidence may be off by one.

This file is the definition in numpy, far too slow to drive with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array


def resize(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """A picture at another size, by the book.

    Args:
        image: (H, W, 3) uint8.
        height: h of the new one.
        width: w of the new one.

    Returns:
        (h, w, 3) uint8.
    """
    grows = height > image.shape[0] or width > image.shape[1]
    shares = _shares_between if grows else _shares_covered
    down, across = shares(image.shape[0], height), shares(image.shape[1], width)
    sums = np.einsum("yi,ijc,xj->yxc", down, image.astype(np.int64), across, optimize=True)
    whole = down[0].sum() * across[0].sum()
    return np.asarray((sums + whole // 2) // whole, np.uint8)


def label(logits: Float32Array, height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Labels and confidence of every pixel, by the book.

    Args:
        logits: (K, h, w) float32.
        height: H of the picture.
        width: W of the picture.

    Returns:
        (H, W) uint8 class ids and (H, W) uint8 confidence.
    """
    return _labelled(upsample(logits, height, width), logits)


def correct_and_label(
    warped: Float32Array,
    correction: Float32Array,
    distortion: Float32Array,
    height: int,
    width: int,
) -> tuple[UInt8Array, UInt8Array]:
    """Labels and confidence of every pixel of two sets of logits, by the book.

    Args:
        warped: (K, h, w) float32.
        correction: (K, h, w) float32.
        distortion: (h, w) float32, 0 to 1: the share of the correction.
        height: H of the picture.
        width: W of the picture.

    Returns:
        (H, W) uint8 class ids and (H, W) uint8 confidence.
    """
    distortion = np.clip(distortion, np.float32(0), np.float32(1))
    large = blend(
        upsample(warped, height, width),
        upsample(correction, height, width),
        upsample(distortion[np.newaxis], height, width),
    )
    return _labelled(large, blend(warped, correction, distortion))


def _shares_covered(old: int, new: int) -> NDArray[np.int64]:
    """How much of each old pixel of an axis a new one covers, (new, old), in parts of 1 / new."""
    begin, place = np.arange(new)[:, np.newaxis] * old, np.arange(old) * new
    covered = np.minimum(begin + old, place + new) - np.maximum(begin, place)
    return np.asarray(np.maximum(covered, 0), np.int64)


def _shares_between(old: int, new: int) -> NDArray[np.int64]:
    """Share of each old pixel of an axis in a new one between two, (new, old), of 2 * new."""
    centre = np.clip((2 * np.arange(new) + 1) * old - new, 0, 2 * new * (old - 1))
    apart = np.abs(centre[:, np.newaxis] - np.arange(old) * 2 * new)
    return np.asarray(np.maximum(2 * new - apart, 0), np.int64)


def blend(
    warped: Float32Array, correction: Float32Array, distortion: Float32Array
) -> Float32Array:
    """Replace by the correction as far as the warp is distorted; all of one size."""
    return np.asarray((np.float32(1) - distortion) * warped + distortion * correction, np.float32)


def warp(planes: Float32Array, flow: Float32Array) -> Float32Array:
    """Sample planes where a flow points, by the book.

    Args:
        planes: (C, h, w) float32.
        flow: (h, w, 2) float32, (x, y) in pixels.

    Returns:
        (C, h, w) float32.
    """
    height, width = flow.shape[:2]
    flow = np.where(np.isfinite(flow).all(axis=2, keepdims=True), flow, np.float32(0))
    left, right, weight_x = _aim(np.arange(width, dtype=np.float32) + flow[..., 0], width)
    rows = np.arange(height, dtype=np.float32)[:, np.newaxis]
    top, bottom, weight_y = _aim(rows + flow[..., 1], height)
    one = np.float32(1)
    upper = planes[:, top, left] * (one - weight_x) + planes[:, top, right] * weight_x
    lower = planes[:, bottom, left] * (one - weight_x) + planes[:, bottom, right] * weight_x
    return np.asarray(upper * (one - weight_y) + lower * weight_y, np.float32)


def _labelled(large: Float32Array, logits: Float32Array) -> tuple[UInt8Array, UInt8Array]:
    """Labels of interpolated logits, and their confidence by those on the grid."""
    labels = large.argmax(axis=0)
    weights = np.exp(logits - logits.max(axis=0))
    probabilities = upsample(weights / weights.sum(axis=0), *labels.shape)
    confidence = np.take_along_axis(probabilities, labels[np.newaxis], axis=0)[0]
    return labels.astype(np.uint8), np.rint(confidence * 255).astype(np.uint8)


def _aim(place: Float32Array, size: int) -> tuple[np.ndarray, np.ndarray, Float32Array]:
    """Two neighbours of every place on an axis of the grid, and the share of the second."""
    place = np.clip(place, np.float32(0), np.float32(size - 1))
    lower = place.astype(np.intp)
    share = place - lower.astype(np.float32)
    return lower, np.minimum(lower + 1, size - 1), share


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
