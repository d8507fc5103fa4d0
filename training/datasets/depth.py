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
from numpy.typing import NDArray

from adverse_perception.files import write_bytes
from adverse_perception.frames import Float32Array
from training.datasets.pictures import BrokenPicture, DatasetError, read_raw
from training.synthesis.scene import ray_stretch

USUAL_BASELINE_M = 0.2093
USUAL_FOCAL_PX = 2262.5
USUAL_WIDTH_PX = 2048
"""Cityscapes' usual camera, where `camera/` is not unpacked; cars differ by some percent."""


class DepthFile(Protocol):
    """A file that depth can be read from."""

    @property
    def path(self) -> Path: ...

    def read(self) -> Float32Array:
        """(H, W) float32 metres, NaN where unknown. Raises `DatasetError`."""


def _stored(path: Path, kind: type[np.generic], what: str) -> NDArray[Any]:
    """(H, W) as it lies in the file."""
    stored = read_raw(path, cv2.IMREAD_UNCHANGED)
    if stored.ndim != 2 or stored.dtype != kind:
        raise BrokenPicture(
            f"{path}: expected one channel of {what}, found {stored.shape} {stored.dtype}; "
            "copy it anew, without converting it"
        )
    return stored


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
        stored = _stored(self.path, np.uint16, "16-bit disparity")
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
class Metres:
    """16-bit depth as KITTI keeps it: z = v / 256 metres, v = 0 is a hole; 65535 is the sky.

    Attributes:
        path: the PNG.
    """

    path: Path

    def read(self) -> Float32Array:
        """Depth along the optical axis; NaN at holes, infinite in the sky."""
        stored = _stored(self.path, np.uint16, "16-bit depth")
        depth = stored.astype(np.float32) / np.float32(_PER_METRE)
        depth[stored == _SKY] = np.inf
        depth[stored == 0] = np.nan
        return depth

    def write(self, depth_m: Float32Array) -> None:
        """Keep depth (H, W) float32 metres; all beyond 256 m is the sky. Raises `FileError`."""
        steps = np.clip(np.rint(np.minimum(depth_m, _SKY) * _PER_METRE), 1, _SKY)
        stored = np.where(np.isnan(depth_m), 0, steps).astype(np.uint16)
        _, code = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        write_bytes(self.path, code.tobytes())


_PER_METRE = 256
_SKY = 65535


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
        """Depth along the optical axis; NaN where t rounds to 0.

        The fog is as long as the ray, l = z sqrt(1 + (x^2 + y^2) / f^2), which Cityscapes' usual
        camera gives back for its pictures, whatever their size.
        """
        stored = _stored(self.path, np.uint8, "8-bit transmittance")
        with np.errstate(divide="ignore"):
            length = -np.log(stored.astype(np.float32) / 255) / np.float32(self.beta_per_m)
        depth = length / ray_stretch(*stored.shape, USUAL_FOCAL_PX / USUAL_WIDTH_PX)
        return np.where(stored > 0, depth, np.nan).astype(np.float32)
