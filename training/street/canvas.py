"""Painting plates into a picture, and reading labels, depth and flow off what was painted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from training.street.camera import Camera, FloatArray, Pose
from training.street.plates import SHADE, Plate

NEAR_M = 0.6
"""Nothing nearer to the camera plane is painted."""

_CUTS_M = NEAR_M * 1.7 ** np.arange(14)
_CORNERS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)


class Scene:
    """Plates stacked into arrays, so that one frame's geometry is a few matrix products."""

    def __init__(self, plates: Sequence[Plate]) -> None:
        self.plates = plates
        self._basis = np.array([(p.across, p.down, p.origin) for p in plates], np.float64)
        self._velocity = np.array([p.velocity for p in plates], np.float64)
        self._near = np.array([not p.far_away for p in plates], np.float64)
        self._layer = np.array([p.layer for p in plates])
        self._key = np.array([p.depth_key_m for p in plates])
        self._reach = np.array([p.reach_m for p in plates])
        self._present = np.array([p.present_s for p in plates])
        self._facing = np.array([p.facing for p in plates])
        self.labels = np.array([max(p.label, 0) for p in plates], np.uint8)

    def homographies(self, camera: Camera, pose: Pose, time_s: float) -> FloatArray:
        """(N, 3, 3): (u, v, 1) of every plate to pixels times depth."""
        basis = self._basis.transpose(0, 2, 1).copy()
        basis[:, :, 2] += self._velocity * time_s - self._near[:, None] * pose.position
        return np.asarray(camera.intrinsics @ pose.rotation @ basis)

    def steps(self, pose: Pose, following: Pose, dt_s: float) -> FloatArray:
        """(N, 3) motion of every plate as seen from the moving camera, in world axes."""
        travel = following.position - pose.position
        return self._near[:, None] * (self._velocity * dt_s - travel)

    def nearness(self, homographies: FloatArray) -> FloatArray:
        """(N, 3) rows whose product with (x, y, 1) is 1 / depth; zero for what is at infinity."""
        rows = np.cross(homographies[:, :, 0], homographies[:, :, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            rows /= np.einsum("ni,ni->n", rows, homographies[:, :, 2])[:, None]
        rows[self._near == 0] = 0.0
        return rows

    def order(self, homographies: FloatArray, pose: Pose, time_s: float) -> Iterator[int]:
        """Plates worth painting, the farthest first."""
        corners = homographies @ _CORNERS.T  # (N, 3, 4)
        depth = corners[:, 2]
        seen = depth.max(axis=1) > NEAR_M
        seen &= self._facing * np.linalg.det(homographies) >= 0
        key = self._key + self._velocity[:, 2] * time_s
        seen &= key - pose.position[2] < self._reach
        seen &= (self._present[:, 0] <= time_s) & (time_s <= self._present[:, 1])
        for number in np.lexsort((-key, self._layer)):
            if seen[number]:
                yield int(number)


@dataclass(frozen=True)
class Piece:
    """The part of a plate between two cuts of depth: u from `start` to `end`."""

    start: float
    end: float


def pieces(homography: FloatArray) -> list[Piece]:
    """Cut a plate along u so that depth varies little inside a piece; the farthest comes first."""
    slope, tilt, base = homography[2]
    depths = base + np.array([0.0, slope]) + min(tilt, 0.0)
    if depths.min() > NEAR_M and depths.max() < 1.9 * depths.min():
        return [Piece(0.0, 1.0)]
    if abs(slope) < 1e-6:
        return [Piece(0.0, 1.0)] if depths.min() > NEAR_M else []
    low, high = max(float(depths.min()), NEAR_M), float(depths.max())
    inner = [float(cut) for cut in _CUTS_M if low * 1.02 < cut < high / 1.02]
    edges = (np.array([low, *inner, high]) - base - min(tilt, 0.0)) / slope
    bounds = np.clip(edges, 0.0, 1.0)
    return [
        Piece(float(min(pair)), float(max(pair)))
        for pair in zip(bounds[-2::-1], bounds[:0:-1], strict=True)
    ]


class Canvas:
    """The picture being painted, with the number of the plate seen at every pixel."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.image = np.zeros((camera.height, camera.width, 4), np.uint8)
        self.owners = np.zeros((camera.height, camera.width), np.uint16)

    def paint(self, number: int, plate: Plate, homography: FloatArray) -> None:
        """Paint one plate over what is there; `number` is remembered where it covers."""
        for piece in pieces(homography):
            self._paint_piece(number, plate, homography, piece)

    def _paint_piece(
        self, number: int, plate: Plate, homography: FloatArray, piece: Piece
    ) -> None:
        box = self._box(homography, piece)
        if box is None:
            return
        if abs(np.linalg.det(homography)) < 1e-9:  # seen edge-on
            return
        left, top, right, bottom = box
        picture, texels = _texels(plate, homography, piece)
        shift = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
        source = cv2.warpPerspective(
            picture,
            texels @ np.linalg.inv(homography) @ shift,
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        if plate.gain != (1.0, 1.0, 1.0):
            source = cv2.multiply(source, (*plate.gain, 1.0))
        alpha = cv2.extractChannel(source, 3)
        below = self.image[top:bottom, left:right]
        uncovered = cv2.bitwise_not(cv2.merge([alpha, alpha, alpha, alpha]))
        cv2.add(cv2.multiply(below, uncovered, scale=1 / 255), source, dst=below)
        if plate.label == SHADE:
            return
        _, mask = cv2.threshold(alpha, plate.cover, 255, cv2.THRESH_BINARY)
        owners = self.owners[top:bottom, left:right]
        cv2.copyTo(np.full(owners.shape, number, np.uint16), mask, owners)

    def _box(self, homography: FloatArray, piece: Piece) -> tuple[int, int, int, int] | None:
        """Pixels around a piece (left, top, right, bottom; ends exclusive); None if not seen."""
        corners = _CORNERS.copy()
        corners[:, 0] = np.where(corners[:, 0] > 0.5, piece.end, piece.start)
        x, y, depth = homography @ corners.T
        if depth.min() < 0.5 * NEAR_M:
            return None
        x, y = x / depth, y / depth
        if (x.max() - x.min()) * (y.max() - y.min()) < 0.3:
            return None
        left, right = max(int(x.min()) - 1, 0), min(int(x.max()) + 3, self._camera.width)
        top, bottom = max(int(y.min()) - 1, 0), min(int(y.max()) + 3, self._camera.height)
        return (left, top, right, bottom) if left < right and top < bottom else None


def _texels(plate: Plate, homography: FloatArray, piece: Piece) -> tuple[UInt8Array, FloatArray]:
    """The part of the texture a piece shows, as fine as the picture needs, and uv to its texels."""
    full = plate.texture.level(0, 0)
    middle = homography @ np.array([(piece.start + piece.end) / 2, 0.5, 1.0])
    jacobian = (homography[:2, :2] - np.outer(middle[:2] / middle[2], homography[2, :2])) / middle[
        2
    ]
    lengths = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-3)  # pixels per unit of u and v
    ratio = np.array([full.shape[1], full.shape[0]]) / lengths
    finest = np.log2(np.array([full.shape[1], full.shape[0]]))
    across, down = np.clip(np.floor(np.log2(np.maximum(ratio, 1.0)) + 0.35), 0, finest)
    picture = plate.texture.level(int(across), int(down))
    height, width = picture.shape[:2]
    first = max(int(piece.start * width) - 2, 0)
    last = min(int(np.ceil(piece.end * width)) + 2, width)
    texels = np.array([[width, 0, -0.5 - first], [0, height, -0.5], [0, 0, 1.0]])
    return picture[:, first:last], texels


def measure(
    owners: NDArray[np.uint16],
    nearness: FloatArray,
    moves: FloatArray,
    matrix: FloatArray,
) -> tuple[Float32Array, Float32Array]:
    """Depth and flow of every pixel.

    Args:
        owners: (H, W) plate number of every pixel.
        nearness: (N, 3) from `Scene.nearness`.
        moves: (N, 3) motion of every plate between the pictures, in pixels times depth.
        matrix: (3, 3) turn of the camera, pixels to pixels.

    Returns:
        Depth in metres (H, W) float32, infinite in the sky, and flow in pixels (H, W, 2) float32.
    """
    table = np.hstack([nearness, moves]).astype(np.float32)
    row = table.take(owners, axis=0)
    x = np.arange(owners.shape[1], dtype=np.float32)[None, :]
    y = np.arange(owners.shape[0], dtype=np.float32)[:, None]
    inverse = row[..., 0] * x + row[..., 1] * y + row[..., 2]
    a = matrix.astype(np.float32)
    after = [a[i, 0] * x + (a[i, 1] * y + a[i, 2]) + inverse * row[..., 3 + i] for i in range(3)]
    flow = np.dstack([after[0] / after[2] - x, after[1] / after[2] - y])
    with np.errstate(divide="ignore"):
        depth = np.float32(1) / np.maximum(inverse, np.float32(0))
    return depth, flow
