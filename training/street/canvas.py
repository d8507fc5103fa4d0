"""Painting plates into a picture, and reading labels, depth and flow off what was painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from training.street import noise
from training.street.camera import Camera, FloatArray, Pose
from training.street.plates import SHADE, Plate

NEAR_M = 0.6
"""Nothing nearer to the camera plane is painted."""

_CUTS_M = NEAR_M * 1.7 ** np.arange(14)
_CORNERS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
_SMALLEST_PX = 3.0
_SMALLEST_SCALE = 1e-3
"""Of a pixel's next depth to its present one: what passes the camera flows out of the picture."""
_ALL_LIT = (1.0, 1.0, 1.0)


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
        rows = _inverse(homographies)[:, 2]
        rows[self._near == 0] = 0.0
        return rows

    def order(self, homographies: FloatArray, pose: Pose, time_s: float) -> NDArray[np.intp]:
        """Numbers of the plates that may be seen, in the order of painting."""
        depth = homographies[:, 2] @ _CORNERS.T
        size = np.linalg.det(homographies)
        key = self._key + self._velocity[:, 2] * time_s
        seen = (depth.max(axis=1) > NEAR_M) & (self._facing * size >= 0) & (abs(size) > 1e-9)
        seen &= key - pose.position[2] < self._reach
        seen &= (self._present[:, 0] <= time_s) & (time_s <= self._present[:, 1])
        order = np.lexsort((-key, self._layer))
        return np.asarray(order[seen[order]], np.intp)


def _inverse(homographies: FloatArray) -> FloatArray:
    """(N, 3, 3) inverses; nonsense instead of an error for plates seen edge-on."""
    first, second, third = (homographies[:, :, i] for i in range(3))
    rows = np.stack(
        [np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=1
    )
    size = np.einsum("ni,ni->n", rows[:, 2], third)
    return rows / np.where(size == 0, 1.0, size)[:, None, None]


@dataclass(frozen=True)
class Pieces:
    """Parts of plates between two cuts of depth: plate and range of u, in painting order."""

    number: NDArray[np.intp]
    start: FloatArray
    end: FloatArray


def cut(homographies: FloatArray, order: NDArray[np.intp]) -> Pieces:
    """Cut plates along u so that depth varies little inside a piece; far pieces come first."""
    slope, tilt, base = homographies[order, 2].T
    base = base + np.minimum(tilt, 0.0)
    low, high = np.minimum(base, base + slope), np.maximum(base, base + slope)
    whole = (low > NEAR_M) & (high < 1.9 * low)
    rows: list[tuple[int, float, float]] = []
    for place, number in enumerate(order):
        if whole[place]:
            rows.append((int(number), 0.0, 1.0))
        elif abs(slope[place]) > 1e-6:
            bounds = _bounds(max(low[place], NEAR_M), high[place], base[place], slope[place])
            rows += [(int(number), *pair) for pair in bounds]
    table = np.array(rows).reshape(-1, 3)
    return Pieces(table[:, 0].astype(np.intp), table[:, 1], table[:, 2])


def _bounds(low: float, high: float, base: float, slope: float) -> list[tuple[float, float]]:
    """Ranges of u between cuts of depth, the farthest first."""
    inner = _CUTS_M[(low * 1.02 < _CUTS_M) & (high / 1.02 > _CUTS_M)]
    edges = np.clip((np.array([low, *inner, high]) - base) / slope, 0.0, 1.0).tolist()
    nearer, farther = edges[-2::-1], edges[:0:-1]
    return [(min(pair), max(pair)) for pair in zip(nearer, farther, strict=True)]


class Canvas:
    """The picture being painted, with the number of the plate seen at every pixel."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.image = np.zeros((camera.height, camera.width, 4), np.uint8)
        self.owners = np.zeros((camera.height, camera.width), np.uint16)

    def paint(self, plates: Sequence[Plate], homographies: FloatArray, pieces: Pieces) -> None:
        """Paint pieces one over the other."""
        matrices = homographies[pieces.number]
        boxes, seen = self._boxes(matrices, pieces)
        pieces = Pieces(pieces.number[seen], pieces.start[seen], pieces.end[seen])
        matrices, boxes = matrices[seen], boxes[seen]
        shown = [plates[number] for number in pieces.number]
        levels, texels = _texels(shown, matrices, pieces)
        shift = np.tile(np.eye(3), (len(shown), 1, 1))
        shift[:, :2, 2] = boxes[:, :2]
        to_texels = texels @ _inverse(matrices) @ shift
        firsts = (-0.5 - texels[:, 0, 2]).astype(int).tolist()
        ends = np.ceil(pieces.end * texels[:, 0, 0]).astype(int) + 2
        for plate, number, (across, down), first, end, box, matrix in zip(
            shown, pieces.number, levels, firsts, ends, boxes.tolist(), to_texels, strict=True
        ):
            picture = plate.texture.level(across, down)[:, first:end]
            self._paint_piece(int(number), plate, picture, matrix, box)

    def _paint_piece(
        self, number: int, plate: Plate, picture: UInt8Array, matrix: FloatArray, box: list[int]
    ) -> None:
        left, top, right, bottom = box
        source = cv2.warpPerspective(
            picture,
            matrix,
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        alpha = cv2.extractChannel(source, 3)
        if plate.gain != _ALL_LIT:
            source = cv2.multiply(source, np.array((*plate.gain, 1.0)))
        below = self.image[top:bottom, left:right]
        open_ = cv2.bitwise_not(alpha)
        uncovered = cv2.merge([open_, open_, open_, open_])
        cv2.add(cv2.multiply(below, uncovered, scale=1 / 255), source, dst=below)
        if plate.label == SHADE:
            return
        _, mask = cv2.threshold(alpha, plate.cover, 255, cv2.THRESH_BINARY)
        owners = self.owners[top:bottom, left:right]
        cv2.copyTo(np.full(owners.shape, number, np.uint16), mask, owners)

    def _boxes(
        self, matrices: FloatArray, pieces: Pieces
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Pixels around each piece (left, top, right, bottom; ends exclusive); whether seen."""
        u = np.stack([pieces.start, pieces.end, pieces.end, pieces.start], axis=1)[:, None]
        corners = matrices[:, :, :1] * u + (matrices[:, :, 1:] @ _CORNERS[:, 1:].T)
        depth = corners[:, 2]
        seen = depth.min(axis=1) > 0.5 * NEAR_M
        points = corners[:, :2] / np.maximum(depth, 0.5 * NEAR_M)[:, None]
        low, high = points.min(axis=2), points.max(axis=2)
        seen &= (high - low).prod(axis=1) > _SMALLEST_PX
        limit = np.array([self._camera.width, self._camera.height])
        ends = np.clip(np.floor(high) + 2, 0, limit)
        boxes = np.hstack([np.clip(np.floor(low) - 1, 0, limit), ends])
        seen &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return boxes.astype(np.int64), seen


def _texels(
    plates: Sequence[Plate], matrices: FloatArray, pieces: Pieces
) -> tuple[list[list[int]], FloatArray]:
    """Halvings of each texture that suit the picture, and (P, 3, 3) from (u, v, 1) to texels."""
    middle = np.stack([(pieces.start + pieces.end) / 2, np.full(len(plates), 0.5)], axis=1)
    at = np.einsum("nij,nj->ni", matrices[:, :, :2], middle) + matrices[:, :, 2]
    depth = np.maximum(at[:, 2], NEAR_M)[:, None, None]
    turned = at[:, :2, None] / depth * matrices[:, 2:, :2]
    lengths = np.linalg.norm((matrices[:, :2, :2] - turned) / depth, axis=1)
    full = np.array([plate.texture.size for plate in plates], np.float64).reshape(-1, 2)
    ratio = np.maximum(full / np.maximum(lengths, 1e-3), 1.0)
    halvings = np.minimum(np.floor(np.log2(ratio) + 0.35), np.ceil(np.log2(full)))
    size = np.ceil(full / 2**halvings)
    texels = np.zeros((len(plates), 3, 3))
    texels[:, 0, 0], texels[:, 1, 1] = size.T
    texels[:, 0, 2] = -0.5 - np.maximum(np.floor(pieces.start * size[:, 0]) - 2, 0)
    texels[:, 1, 2] = -0.5
    texels[:, 2, 2] = 1.0
    return halvings.astype(int).tolist(), texels


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
    scale = np.maximum(after[2], _SMALLEST_SCALE)
    flow = np.dstack([after[0] / scale - x, after[1] / scale - y])
    with np.errstate(divide="ignore"):
        depth = 1 / np.maximum(inverse, 0)
    return noise.floats(depth), noise.floats(flow)
