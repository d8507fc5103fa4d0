"""Random changes of a training picture: chance is drawn into a record, the record is applied.

What a network should not care about (scale, tilt, exposure, colour, sharpness, noise,
compression) changes here; what the weather does is `training.synthesis`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array


@dataclass(frozen=True)
class Geometry:
    """An affine look at the picture: as another camera, mounted otherwise, would see it.

    Attributes:
        scale: size of the source in the result, relative to filling it.
        stretch: width over height of what was square.
        tilt_deg: rotation.
        shift: (x, y) share of the free play, -1 to 1, by which the crop leaves the middle.
        mirrored: left and right change places.
    """

    scale: float
    stretch: float
    tilt_deg: float
    shift: tuple[float, float]
    mirrored: bool


def draw_geometry(rng: np.random.Generator, scales: tuple[float, float]) -> Geometry:
    """Scale is drawn evenly in its logarithm between the two given."""
    low, high = np.log(scales)
    return Geometry(
        scale=float(np.exp(rng.uniform(low, high))),
        stretch=float(np.exp(rng.normal(0, 0.08))),
        tilt_deg=float(rng.normal(0, 2.0)),
        shift=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        mirrored=bool(rng.random() < 0.5),
    )


Map = TypeVar("Map", UInt8Array, Float32Array)
_ALIASED = 0.7
"""Scale below which bilinear sampling would skip pixels."""


def warp_picture(image: UInt8Array, geometry: Geometry, size: tuple[int, int]) -> UInt8Array:
    """The crop of a picture (H, W, 3), of `size` (height, width); mirrored at its borders."""
    fill = _fill(image.shape, geometry, size)
    if fill < _ALIASED:
        small = cv2.resize(image, _reduced(image.shape, fill), interpolation=cv2.INTER_AREA)
        image, fill = np.asarray(small, np.uint8), 1.0
    matrix = _affine(geometry, fill, image.shape[:2], size)
    seen = cv2.warpAffine(
        image, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(seen, np.uint8)


def warp_map(values: Map, geometry: Geometry, size: tuple[int, int], outside: float) -> Map:
    """The same crop of what must not be mixed, labels or depth (H, W): the nearest pixel's.

    Args:
        values: (H, W), of the picture's size.
        geometry: of the picture.
        size: (height, width) of the crop.
        outside: value of what lies outside.
    """
    fill = _fill(values.shape, geometry, size)
    if fill < _ALIASED:
        # The plain nearest takes the corner of a cell, half a cell beside the picture's middle.
        reduced = _reduced(values.shape, fill)
        nearest = cv2.resize(values, reduced, interpolation=cv2.INTER_NEAREST_EXACT)
        values, fill = np.asarray(nearest, values.dtype), 1.0
    matrix = _affine(geometry, fill, values.shape[:2], size)
    warped = cv2.warpAffine(
        values, matrix, size[::-1], flags=cv2.INTER_NEAREST, borderValue=(outside,)
    )
    return np.asarray(warped, values.dtype)


def zoom(shape: tuple[int, ...], geometry: Geometry, size: tuple[int, int]) -> float:
    """How many times as wide, for its crop, a thing is as for the whole picture of that shape."""
    return _fill(shape, geometry, size) * shape[1] / size[1]


def affine(
    geometry: Geometry, shape: tuple[int, ...], size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(2, 3): where a pixel (x, y) of a picture of that shape lies in its crop."""
    return _affine(geometry, _fill(shape, geometry, size), (shape[0], shape[1]), size)


def _fill(shape: tuple[int, ...], geometry: Geometry, size: tuple[int, int]) -> float:
    """Pixels of the crop for one of the source."""
    return max(size[0] / shape[0], size[1] / shape[1]) * geometry.scale


def _reduced(shape: tuple[int, ...], fill: float) -> tuple[int, int]:
    return round(shape[1] * fill), round(shape[0] * fill)


def _affine(
    geometry: Geometry, fill: float, source: tuple[int, int], size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    angle, stretch = np.deg2rad(geometry.tilt_deg), np.sqrt(geometry.stretch)
    across = fill * stretch * (-1 if geometry.mirrored else 1)
    down = fill / stretch
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([across, down])
    middle, target = np.array(source[::-1]) / 2, np.array(size[::-1]) / 2
    play = np.maximum(0, middle * fill - target)
    target = target + play * np.array(geometry.shift)
    # OpenCV counts from the middle of the first pixel, pictures begin half a pixel before it.
    offset = target - linear @ (middle - 0.5) - 0.5
    return np.asarray(np.column_stack([linear, offset]), np.float64)


@dataclass(frozen=True)
class Photometry:
    """What another sensor, lens or codec would have made of the same light.

    Attributes:
        gain, offset, gamma: of the brightness.
        balance: gain of red, green and blue.
        saturation: 0 is grey, 1 leaves colours.
        blur_px: sigma of the lens.
        noise: standard deviation in grey values.
        jpeg_quality: 100 means none.
        seed: of the noise.
    """

    gain: float
    offset: float
    gamma: float
    balance: tuple[float, float, float]
    saturation: float
    blur_px: float
    noise: float
    jpeg_quality: int
    seed: int


def draw_photometry(rng: np.random.Generator, strength: float) -> Photometry:
    """Strength 0 changes nothing, 1 changes much."""
    red, green, blue = np.exp(rng.normal(0, 0.1 * strength, 3))
    return Photometry(
        gain=float(np.exp(rng.normal(0, 0.25 * strength))),
        offset=float(rng.normal(0, 15 * strength)),
        gamma=float(np.exp(rng.normal(0, 0.25 * strength))),
        balance=(float(red), float(green), float(blue)),
        saturation=float(np.clip(rng.normal(1 - 0.1 * strength, 0.35 * strength), 0, 2)),
        blur_px=float(rng.uniform(0.3, 1.5) * strength) if rng.random() < 0.25 * strength else 0.0,
        noise=float(rng.uniform(1, 12) * strength) if rng.random() < 0.3 * strength else 0.0,
        jpeg_quality=int(rng.integers(25, 90)) if rng.random() < 0.25 * strength else 100,
        seed=int(rng.integers(2**31)),
    )


def of_the_light(photometry: Photometry) -> Photometry:
    """Only what changes the scene's light and colours."""
    return replace(photometry, blur_px=0.0, noise=0.0, jpeg_quality=100)


def of_the_sensor(photometry: Photometry) -> Photometry:
    """Only what lens, sensor and codec spoil."""
    return replace(
        photometry, gain=1.0, offset=0.0, gamma=1.0, balance=(1.0, 1.0, 1.0), saturation=1.0
    )


def apply_photometry(image: UInt8Array, photometry: Photometry) -> UInt8Array:
    """(H, W, 3) uint8 RGB in and out."""
    image = np.asarray(cv2.LUT(image, _curves(photometry)), np.uint8)
    if photometry.saturation != 1.0:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        kept = photometry.saturation
        image = np.asarray(cv2.addWeighted(image, kept, grey, 1 - kept, 0), np.uint8)
    if photometry.blur_px > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), photometry.blur_px), np.uint8)
    if photometry.noise > 0:
        grain = np.random.default_rng(photometry.seed).integers(
            -128, 128, image.shape, dtype=np.int8
        )
        amount = photometry.noise / 74.0  # the deviation of an even draw from -128 to 127
        image = np.asarray(cv2.convertScaleAbs(_sum(image, grain, amount)), np.uint8)
    if photometry.jpeg_quality < 100:
        image = _compressed(image, photometry.jpeg_quality)
    return image


def _curves(photometry: Photometry) -> UInt8Array:
    """One look-up table per channel: (1, 256, 3) uint8."""
    grey = (np.arange(256) / 255.0) ** photometry.gamma * 255 * photometry.gain
    table = (grey + photometry.offset)[:, None] * np.array(photometry.balance)
    return np.asarray(np.rint(np.clip(table, 0, 255))[None], np.uint8)


def _sum(
    image: UInt8Array, grain: np.ndarray[tuple[int, ...], np.dtype[np.int8]], amount: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.clip(image + grain * np.float32(amount), 0, 255).astype(np.float32)


def _compressed(image: UInt8Array, quality: int) -> UInt8Array:
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
