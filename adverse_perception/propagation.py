"""From a key frame to the frames after it: optical flow, warp, and what tells where that failed.

The networks see less than the camera: the working picture of the key network (`segmenters`) is
halved, and logits lie on a grid of a quarter of it. Flow is estimated from frame to frame on the
halved picture and composed, so that the key frame's logits are interpolated once however far they
have come (the paper warps the warped again and again, which blurs them).

Training draws its samples through this very module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception import kernels
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.inference import ROLE_MAPS, EngineMetadata
from adverse_perception.kernels.evidence import evidence_of, key_planes

EVIDENCE = ("red", "green", "blue", "wandered", "entropy", "outside")
"""Planes of `Step.evidence`, each 0 to 1: what the warped key picture differs by in each colour,
how far forward and backward flow have disagreed since the key frame, the entropy of the warped
logits, and what the key frame did not see."""

_FINEST = 1
"""Finest scale of the pyramid that flow is estimated on: a quarter of the working picture, as
large as the grid. One finer is 1.5 points of mIoU better nine frames on, for 4 times the time."""
_FINEST_BACK = 2
"""The same for the way back, which only has to tell where the two disagree."""
_PATCH_PX = 8
"""Side of the patches that the estimator looks for."""

Estimator = Callable[[UInt8Array, UInt8Array], Float32Array]
"""From two grey pictures (H, W) to where each pixel of the first lies in the second, (H, W, 2)."""


@dataclass(frozen=True)
class Step:
    """What is known of a frame before anything is corrected.

    Attributes:
        picture: (H/2, W/2, 3) uint8 RGB, the halved working picture.
        warped: (K, h, w) float32, the key frame's logits where the flow puts them.
        evidence: (E, h, w) float32, 0 to 1, the planes of `EVIDENCE`.
    """

    picture: UInt8Array
    warped: Float32Array
    evidence: Float32Array

    @property
    def maps(self) -> dict[str, Float32Array]:
        """What an engine of role "correction" reads beside the picture."""
        return {"warped": self.warped, "evidence": self.evidence}

    @property
    def residual(self) -> float:
        """Mean difference of the picture from the warped key picture, 0 to 1."""
        return float(self.evidence[:3].mean())


def map_shapes(metadata: EngineMetadata, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Shape of everything that an engine reads beside a picture of that size, by name."""
    planes = {"warped": len(metadata.classes), "evidence": len(EVIDENCE)}
    grid = -(-height // metadata.stride), -(-width // metadata.stride)
    return {name: (planes[name], *grid) for name in ROLE_MAPS.get(metadata.role, ())}


def nothing_for(metadata: EngineMetadata) -> tuple[UInt8Array, dict[str, Float32Array]]:
    """A black picture of an engine's nominal size, and maps of zeros, to try the engine with."""
    size = metadata.input_height, metadata.input_width
    maps = {
        name: np.zeros(shape, np.float32) for name, shape in map_shapes(metadata, *size).items()
    }
    return np.zeros((*size, 3), np.uint8), maps


def halved(working: UInt8Array) -> UInt8Array:
    """The picture that flow and correction see, (H/2, W/2, 3) uint8 RGB, of a working picture."""
    height, width = working.shape[0] // 2, working.shape[1] // 2
    return np.asarray(cv2.resize(working, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class Motion:
    """How the camera has moved since a key frame: flow from frame to frame, composed.

    Attributes:
        flow: (h, w, 2) float32: from the last frame back to the key frame, in pixels of the grid.
        wandered: (1, h, w) float32: how far forward and backward flow have disagreed since.
    """

    def __init__(self, picture: UInt8Array, height: int, width: int) -> None:
        """Begin at a key frame.

        Args:
            picture: (H/2, W/2, 3) uint8 RGB, `halved`.
            height: h of the grid.
            width: w of the grid.
        """
        size = picture.shape[0], picture.shape[1]
        self._forth = _flow_estimator(*size, _FINEST)
        self._back = _flow_estimator(*size, _FINEST_BACK)
        self._grid = (width, height)
        self._grey = _grey(picture)
        self.flow = np.zeros((height, width, 2), np.float32)
        self.wandered = np.zeros((1, height, width), np.float32)

    def step(self, picture: UInt8Array) -> None:
        """Go on to the next frame.

        Args:
            picture: (H/2, W/2, 3) uint8 RGB, of the key frame's size.

        Raises:
            ValueError: it is of another size.
        """
        grey = _grey(picture)
        if grey.shape != self._grey.shape:
            raise ValueError(
                f"propagation: expected a picture of {self._grey.shape} as the key frame's, found"
                f" {grey.shape}; begin anew with a key frame"
            )
        forth = self._estimated(self._forth, grey, self._grey)
        back = self._estimated(self._back, self._grey, grey)
        self._compose(forth, back)
        self._grey = grey

    def check(self) -> None:
        """Refuse flow that is no number. Raises `ValueError`."""
        if not (np.isfinite(self.flow).all() and np.isfinite(self.wandered).all()):
            raise ValueError("expected finite optical flow, found nan or infinity")

    def _estimated(
        self, estimator: Estimator, seen: UInt8Array, before: UInt8Array
    ) -> Float32Array:
        """Flow from one picture to another, (h, w, 2) in pixels of the grid."""
        flow = estimator(seen, before)
        scale = seen.shape[1] / self._grid[0]
        small = cv2.resize(flow, self._grid, interpolation=cv2.INTER_AREA)
        return np.asarray(small / np.float32(scale), np.float32)

    def _compose(self, forth: Float32Array, back: Float32Array) -> None:
        """Flow to the key frame: F_t(p) = f_t(p) + F_{t-1}(p + f_t(p)); its errors add up."""
        before = np.concatenate([_planes(self.flow), self.wandered, _planes(back)])
        before = kernels.warp(before, forth)
        self.flow = np.ascontiguousarray(forth + before[:2].transpose(1, 2, 0))
        apart = np.linalg.norm(_planes(forth) + before[3:], axis=0, keepdims=True)
        self.wandered = np.asarray(before[2:3] + apart, np.float32)


class Propagation:
    """Remembers one key frame and how the camera has moved since."""

    def __init__(self, picture: UInt8Array, logits: Float32Array) -> None:
        """Begin at a key frame.

        Args:
            picture: (H/2, W/2, 3) uint8 RGB, `halved`.
            logits: (K, h, w) float32, of that frame.
        """
        _, height, width = logits.shape
        self.motion = Motion(picture, height, width)
        self._grid = (width, height)
        self._planes = key_planes(logits, _on_grid(picture, self._grid))

    def step(self, picture: UInt8Array) -> Step:
        """Go on to the next frame.

        Args:
            picture: (H/2, W/2, 3) uint8 RGB, of the key frame's size.

        Raises:
            ValueError: it is of another size.
        """
        self.motion.step(picture)
        flow, small = self.motion.flow, _on_grid(picture, self._grid)
        moved = kernels.warp(self._planes, flow)
        return Step(picture, moved[:-4], evidence_of(moved, small, flow, self.motion.wandered))


def _flow_estimator(height: int, width: int, finest: int) -> Estimator:
    """Dense inverse search (Kroeger et al. 2016): the best flow for a few milliseconds of CPU.

    In a picture that is too small for it nothing moves.
    """
    coarsest = _coarsest_scale(height, width)
    if coarsest < 0:
        return _no_flow
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # a finest scale above the coarsest would let OpenCV choose both by the width alone, which
    # takes the process down where the picture is wide and low
    estimator.setFinestScale(min(finest, coarsest))
    nothing = np.empty(0, np.float32)
    return lambda seen, before: np.asarray(estimator.calc(seen, before, nothing), np.float32)


def _coarsest_scale(height: int, width: int) -> int:
    """Coarsest scale of the pyramid by OpenCV's rule; -1 where it refuses the picture."""
    patches = min(height, width) // _PATCH_PX
    if patches < 1:
        return -1
    across = math.log2(max(height, width) / (4 * _PATCH_PX)) + 0.5
    return min(int(across), int(math.log2(patches)))


def _no_flow(seen: UInt8Array, before: UInt8Array) -> Float32Array:
    return np.zeros((*seen.shape, 2), np.float32)


def _grey(picture: UInt8Array) -> UInt8Array:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def _on_grid(picture: UInt8Array, grid: tuple[int, int]) -> UInt8Array:
    """The picture as small as the grid (w, h), (h, w, 3) uint8 RGB."""
    return np.asarray(cv2.resize(picture, grid, interpolation=cv2.INTER_AREA), np.uint8)


def _planes(field: Float32Array) -> Float32Array:
    return np.ascontiguousarray(field.transpose(2, 0, 1))
