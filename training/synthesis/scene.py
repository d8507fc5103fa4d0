"""What every effect is given: a checked picture with distances and surfaces."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_ID

SKY_M = 1000.0
"""Distance written where nothing stands in the way of the view."""
FOCAL = 0.8
"""Assumed focal length in picture widths (a horizontal view of 64 degrees)."""


SMALLEST = 16
"""Fewest pixels a side that a picture may have: below, drops and clouds mean nothing."""


class SynthesisError(ValueError):
    """A picture, depth, label map or weather name that cannot be rendered."""


def floats(array: NDArray[Any]) -> Float32Array:
    """State that an array holds float32, which OpenCV's stubs do not know; a copy only if not."""
    return np.asarray(array, np.float32)


def pixels(array: NDArray[Any]) -> UInt8Array:
    """State that an array holds uint8, which OpenCV's stubs do not know; a copy only if not."""
    return np.asarray(array, np.uint8)


def stencil(where: NDArray[np.bool_]) -> UInt8Array:
    """255 where true, for OpenCV's bitwise operations: uint8."""
    return where.view(np.uint8) * np.uint8(255)


def check_picture(name: str, picture: UInt8Array) -> None:
    """Refuse what is no (H, W, 3) uint8 picture, by name."""
    if (
        not isinstance(picture, np.ndarray)
        or picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
    ):
        raise SynthesisError(
            f"{name}: expected (H, W, 3) uint8 RGB, found {_found(picture)}; convert it first"
        )
    if min(picture.shape[:2]) < SMALLEST:
        raise SynthesisError(
            f"{name}: expected at least {SMALLEST}x{SMALLEST} pixels, found "
            f"{picture.shape[1]}x{picture.shape[0]}; enlarge it"
        )


def check_scene(
    image: UInt8Array, depth_m: Float32Array | None = None, labels: UInt8Array | None = None
) -> None:
    """Refuse arrays that do not fit together, naming what was expected and what was found."""
    check_picture("image", image)
    for name, array in (("depth_m", depth_m), ("labels", labels)):
        if array is not None and array.shape != image.shape[:2]:
            raise SynthesisError(
                f"{name}: expected {image.shape[:2]} as the image, found {array.shape}; resize it"
            )


def check_depth(depth_m: Float32Array) -> None:
    """Refuse depth that is missing, holds no numbers of metres, or is nothing but holes."""
    if not isinstance(depth_m, np.ndarray) or depth_m.dtype.kind not in "fiu":
        raise SynthesisError(
            f"depth_m: expected (H, W) float32 metres, found {_found(depth_m)}; where there is "
            "none, estimate_depth(image, labels) guesses it"
        )
    if not (depth_m > 0).any():
        raise SynthesisError(
            "depth_m: expected metres, found only holes (nan, 0 or less); where nothing is known, "
            "estimate_depth(image, labels) guesses it"
        )


def _found(value: object) -> str:
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else repr(value)


def to_light(image: UInt8Array) -> Float32Array:
    """Turn display values into light, 0 to 1 float32. The square is close to sRGB and cheap."""
    return floats(cv2.LUT(image, _SQUARES))


_SQUARES = (np.arange(256, dtype=np.float32) / 255.0) ** 2


def to_image(light: Float32Array) -> UInt8Array:
    """Turn light, not negative and used up, into display values, (H, W, 3) uint8."""
    return pixels(cv2.convertScaleAbs(cv2.sqrt(light, dst=light), alpha=255.0))


@lru_cache(maxsize=8)
def ray_stretch(height: int, width: int, focal: float = FOCAL) -> Float32Array:
    """Distance along the ray per metre of depth: (H, W) float32, 1 at the centre.

    The focal length is in picture widths.
    """
    y, x = np.ogrid[:height, :width]
    focal *= width
    across, down = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    return np.sqrt(1.0 + across**2 + down**2).astype(np.float32)


def class_mask(labels: UInt8Array, *names: str) -> Float32Array:
    """Where the labels are one of the named classes: (H, W) float32, 0 or 1."""
    table = np.zeros(256, np.float32)
    table[[CLASS_ID[name] for name in names]] = 1.0
    return floats(cv2.LUT(labels, table))


def sky_matte(image: UInt8Array, depth_m: Float32Array, labels: UInt8Array | None) -> Float32Array:
    """Sky by pixel, also where it shines through branches and past a coarse outline.

    A bright seam of day sky around dark trees would give every night picture away.

    Returns:
        (H, W) float32, 0 to 1.
    """
    hard = _sky(depth_m, labels)
    small = cv2.resize(hard, (48, 36), interpolation=cv2.INTER_AREA)
    if small.max() < 20:
        return floats(pixels(cv2.blur(hard, (3, 3))) * np.float32(1 / 255))
    weight = (pixels(small) * np.float32(1 / 255)) ** 2
    mixed = cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA) * weight[..., None]
    spread = floats(cv2.GaussianBlur(mixed, (0, 0), 3.0))
    spread /= cv2.GaussianBlur(weight, (0, 0), 3.0)[..., None] + 1e-4
    typical = cv2.resize(cv2.convertScaleAbs(spread), image.shape[1::-1])
    unlike = cv2.transform(cv2.absdiff(image, typical), np.full((1, 3), 1 / 3, np.float32))
    seam = cv2.dilate(hard, np.ones((7, 7), np.uint8))
    matte = cv2.max(cv2.blur(hard, (3, 3)), cv2.bitwise_and(seam, cv2.LUT(unlike, _ALIKE)))
    if labels is not None:
        wide = cv2.resize(cv2.dilate(small, np.ones((3, 3), np.uint8)), image.shape[1::-1])
        lace = cv2.bitwise_and(cv2.LUT(labels, _LACE), stencil(np.greater(wide, 12)))
        matte = cv2.max(matte, cv2.bitwise_and(lace, cv2.LUT(unlike, _MIXED)))
    return floats(pixels(matte) * np.float32(1 / 255))


_ALIKE = np.clip(382.0 - np.arange(256) * (255.0 / 40.0), 0, 255).astype(np.uint8)
# Twigs finer than a pixel are mixed with sky: the more alike, the more sky.
_MIXED = np.clip(300.0 - np.arange(256) * (255.0 / 95.0), 0, 255).astype(np.uint8)
_LACE = np.zeros(256, np.uint8)
_LACE[[CLASS_ID["tree"], CLASS_ID["pole"]]] = 255


def _sky(depth_m: Float32Array, labels: UInt8Array | None) -> UInt8Array:
    """(H, W) uint8, 255 where there is sky."""
    if labels is not None:
        return stencil(labels == CLASS_ID["sky"])
    return stencil(depth_m > 0.9 * SKY_M)


def road_mask(depth_m: Float32Array, labels: UInt8Array | None) -> Float32Array:
    """Road and pavement: (H, W) float32, 0 to 1; without labels, where the depth lies flat."""
    if labels is not None:
        return floats(cv2.blur(class_mask(labels, "road", "pavement"), (3, 3)))
    height, width = depth_m.shape
    inverse = 1.0 / np.maximum(cv2.resize(depth_m, (64, 48), interpolation=cv2.INTER_AREA), 0.1)
    slope = np.gradient(cv2.GaussianBlur(inverse, (0, 0), 1.0), axis=0)
    plane = np.median(slope[-10:, 20:44])  # on a plane, 1/depth grows evenly down the picture
    flat = ((slope > 0.55 * plane) & (slope < 1.8 * plane)).astype(np.float32)
    flat[: int(0.35 * len(flat))] = 0.0
    return floats(cv2.resize(flat, (width, height), interpolation=cv2.INTER_LINEAR))
