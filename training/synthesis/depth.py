"""Distances for road pictures that come without any.

The estimate assumes a flat ground seen from `CAMERA_HEIGHT_M`, a sky, and a street whose walls
run to the vanishing point. What stands on the ground (labels given) is as far as its foot.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_ID
from training.synthesis.scene import FOCAL, SKY_M, class_mask, floats, pixels

CAMERA_HEIGHT_M = 1.4
WALL_M = 8.0
"""Half the width of the street: how far to the side the walls of the corridor stand."""
_FARTHEST_M = 300.0
_STANDING = ("building", "tree", "fence", "pole", "sign_symbol")


def estimate_depth(
    image_or_shape: UInt8Array | tuple[int, int],
    labels: UInt8Array | None = None,
    horizon: float | None = None,
) -> Float32Array:
    """Guess how far every pixel of a road picture is.

    Args:
        image_or_shape: (H, W, 3) uint8 RGB, or only (H, W); the picture helps to find the sky.
        labels: (H, W) uint8 ids of `adverse_perception.labels`; they make the guess much better.
        horizon: height of the horizon in shares from the top; found, or 0.45, if None.

    Returns:
        (H, W) float32 metres along the camera's axis; sky is `SKY_M`.
    """
    image = None if isinstance(image_or_shape, tuple) else image_or_shape
    height, width = (
        image_or_shape if isinstance(image_or_shape, tuple) else image_or_shape.shape[:2]
    )
    if horizon is None:
        horizon = 0.45 if labels is None else horizon_of(labels)
    if labels is not None:  # half size is fine enough, and a quarter of the work
        size = (max(1, width // 2), max(1, height // 2))
        small = pixels(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
        depth = _standing(_ground(size[1], size[0], horizon), _walls(size[0])[None, :], small)
        depth = floats(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST))
        depth[labels == CLASS_ID["sky"]] = SKY_M
        return depth
    ground, walls = _ground(height, width, horizon), _walls(width)[None, :]
    depth = np.minimum(ground[:, None], walls)
    depth[_open_sky(image, height, width, horizon)] = SKY_M
    return depth


def horizon_of(labels: UInt8Array) -> float:
    """The far end of the road lies just under the horizon."""
    counts = np.count_nonzero(class_mask(labels, "road", "pavement"), axis=1)
    rows = np.flatnonzero(counts > 0.015 * labels.shape[1])
    if len(rows) == 0:
        return 0.45
    return float(np.clip(rows[0] / len(labels) - 0.015, 0.2, 0.65))


def _ground(height: int, width: int, horizon: float) -> Float32Array:
    """Depth of the ground plane for every row: (H,) float32."""
    below = np.arange(height, dtype=np.float32) + 0.5 - horizon * height
    far = FOCAL * width * CAMERA_HEIGHT_M / np.maximum(below, 1e-3)
    return floats(np.minimum(far, _FARTHEST_M))


def _walls(width: int) -> Float32Array:
    """Depth of the corridor's walls for every column: (W,) float32."""
    aside = np.abs(np.arange(width, dtype=np.float32) + 0.5 - width / 2)
    return floats(np.minimum(FOCAL * width * WALL_M / np.maximum(aside, 1.0), _FARTHEST_M))


def _standing(ground: Float32Array, walls: Float32Array, labels: UInt8Array) -> Float32Array:
    flat = class_mask(labels, "road", "pavement") > 0
    rows = np.arange(len(labels), dtype=np.int16)[:, None]
    foot = np.where(flat, rows, np.int16(len(labels) - 1))
    foot = np.minimum.accumulate(foot[::-1], axis=0)[::-1]  # nearest ground below each pixel
    depth = ground[foot]
    behind = class_mask(labels, *_STANDING) > 0
    # A house seen over a parked car does not stand where the car does: then the wall is taken.
    rooted = np.take_along_axis(behind, np.maximum(foot - 1, 0).astype(np.intp), axis=0)
    nearest = np.where(rooted, np.float32(0.0), np.minimum(walls, 90.0))
    depth = np.where(behind, np.clip(depth, nearest, 2.0 * walls), depth)
    depth = np.where(behind, _evened(depth, behind.astype(np.float32)), depth)
    depth[class_mask(labels, "sky") > 0] = SKY_M
    return depth


def _evened(depth: Float32Array, mask: Float32Array) -> Float32Array:
    """Neighbouring columns of a facade share its distance: mean of 1/depth within the mask."""
    window = (max(3, depth.shape[1] // 14), max(3, depth.shape[0] // 40))
    inverse = cv2.blur(mask / depth, window)
    return floats(cv2.blur(mask, window) / np.maximum(inverse, 1e-6))


def _open_sky(
    image: UInt8Array | None, height: int, width: int, horizon: float
) -> NDArray[np.bool_]:
    """Rows above the horizon that are even and bright, seen from the top: (H, W) bool."""
    rows = np.arange(height)[:, None] < 0.3 * horizon * height
    if image is None:
        return np.broadcast_to(rows, (height, width))
    small = cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA).astype(np.float32)
    luma = small @ np.array([0.2, 0.4, 0.4], np.float32)  # blue sky counts as bright
    edges = np.abs(cv2.Sobel(luma, cv2.CV_32F, 0, 1)) + np.abs(cv2.Sobel(luma, cv2.CV_32F, 1, 0))
    even = (edges < 90) & (luma > max(60.0, float(luma.mean())))
    even[int(horizon * 72) :] = False
    sky = np.logical_and.accumulate(even, axis=0).astype(np.float32)
    return floats(cv2.resize(sky, (width, height))) > 0.5
