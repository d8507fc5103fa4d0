"""Depth in metres from what data sets ship in its stead: disparity, or transmittance of fog.

Depth is (H, W) float32 in metres; NaN where the data set knows none (holes of the stereo matcher).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from adverse_perception.frames import Float32Array
from training.datasets.pictures import BrokenPicture, DatasetError, read_raw

USUAL_BASELINE_M = 0.2093
USUAL_FOCAL_PX = 2262.5
"""Cityscapes' usual camera, where `camera/` is not unpacked; cars differ by some percent."""


class DepthFile(Protocol):
    """A file that depth can be read from."""

    @property
    def path(self) -> Path: ...

    def read(self) -> Float32Array:
        """(H, W) float32 metres, NaN where unknown. Raises `DatasetError`."""


@dataclass(frozen=True)
class Disparity:
    """Cityscapes' 16-bit disparity: d = (v - 1) / 256 pixels, v = 0 is a hole; z = B f / d.

    Attributes:
        path: `disparity/.../*_disparity.png`.
        camera: `camera/.../*_camera.json`; none takes Cityscapes' usual camera.
    """

    path: Path
    camera: Path | None = None

    def read(self) -> Float32Array:
        """Depth along the optical axis; NaN at holes and where there is no disparity."""
        stored = read_raw(self.path, cv2.IMREAD_UNCHANGED)
        if stored.ndim != 2 or stored.dtype != np.uint16:
            raise BrokenPicture(
                f"{self.path}: expected a 16-bit disparity of one channel, found "
                f"{stored.shape} {stored.dtype}; copy it anew, without converting it"
            )
        disparity = (stored.astype(np.float32) - 1) / 256
        product = _baseline_times_focal(self.camera)
        with np.errstate(divide="ignore"):
            return np.where(disparity > 0, product / disparity, np.nan).astype(np.float32)


def _baseline_times_focal(camera: Path | None) -> float:
    if camera is None:
        return USUAL_BASELINE_M * USUAL_FOCAL_PX
    if not camera.is_file():
        raise BrokenPicture(
            f"{camera}: expected the camera of a picture, found no file; unpack it, or remove "
            "camera/ altogether to take the usual one"
        )
    try:
        described: Any = json.loads(camera.read_text())
        return float(described["extrinsic"]["baseline"]) * float(described["intrinsic"]["fx"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{camera}: expected JSON with extrinsic.baseline (m) and intrinsic.fx (px), found "
            f"{type(error).__name__}: {error}; copy it anew"
        ) from error


@dataclass(frozen=True)
class Transmittance:
    """Foggy Cityscapes' 8-bit transmittance t = v / 255 = exp(-beta l).

    Attributes:
        path: `leftImg8bit_transmittance/.../*_beta_B.png`.
        beta_per_m: extinction it was made with.
    """

    path: Path
    beta_per_m: float

    def read(self) -> Float32Array:
        """Length of the ray, which is a little more than depth; NaN where t rounds to 0."""
        stored = read_raw(self.path, cv2.IMREAD_UNCHANGED)
        if stored.ndim != 2 or stored.dtype != np.uint8:
            raise BrokenPicture(
                f"{self.path}: expected an 8-bit transmittance of one channel, found "
                f"{stored.shape} {stored.dtype}; copy it anew"
            )
        with np.errstate(divide="ignore"):
            length = -np.log(stored.astype(np.float32) / 255) / np.float32(self.beta_per_m)
        return np.where(stored > 0, length, np.nan).astype(np.float32)
