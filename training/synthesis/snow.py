"""Snow: flakes in layers of distance, and the cover they leave on everything that faces up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_ID
from training.synthesis.falling import render_layers
from training.synthesis.noise import clouds, grain, wrapped
from training.synthesis.scene import FOCAL, class_mask, floats, pixels, road_mask

_TILE = 384
_LAYERS_M = (1.5, 3.0, 6.0, 12.0, 25.0)
_PATTERNS = 2


@dataclass(frozen=True)
class Flakes:
    """Falling snow.

    Attributes:
        density: flakes against a usual snowfall: 0.1 a few, 1 usual, 5 a blizzard.
        flake_mm: typical size.
        exposure_s: how long the shutter is open.
        wind_m_s: sideways speed across the view.
        brightness: display value of a flake, 0 to 255.
        seed: pattern.
    """

    density: float = 1.0
    flake_mm: float = 6.0
    exposure_s: float = 1 / 100
    wind_m_s: float = 0.5
    brightness: float = 225.0
    seed: int = 0


@dataclass(frozen=True)
class SnowCover:
    """Snow that lies.

    Attributes:
        cover: share of open ground covered, 0 to 1.
        road: share of the road covered, 0 to 1; wheels clear it first.
        tracks: how clear the wheel tracks are, 0 to 1.
        objects: snow on cars, roofs, branches, 0 to 1.
        white: RGB of the snow.
        seed: pattern.
    """

    cover: float = 0.8
    road: float = 0.4
    tracks: float = 0.7
    objects: float = 0.6
    white: tuple[float, float, float] = (226.0, 230.0, 236.0)
    seed: int = 0


def draw_flakes(rng: np.random.Generator, strength: float) -> Flakes:
    """Draw a snowfall from a few flakes (0) to a blizzard (1)."""
    return Flakes(
        density=float(0.12 * 70.0**strength * rng.uniform(0.7, 1.4)),
        flake_mm=float(rng.uniform(3, 9)),
        exposure_s=float(np.exp(rng.uniform(np.log(1 / 400), np.log(1 / 30)))),
        wind_m_s=float(rng.normal(0, 1.5)),
        brightness=float(rng.uniform(205, 245)),
        seed=int(rng.integers(1 << 30)),
    )


def draw_snow_cover(rng: np.random.Generator, strength: float) -> SnowCover:
    """Draw ground from patches (0) to deep snow (1)."""
    level = float(rng.uniform(195, 245))
    return SnowCover(
        cover=float(np.clip(strength * rng.uniform(0.8, 1.8) + 0.1, 0, 1)),
        road=float(np.clip(strength * rng.uniform(0.0, 1.3), 0, 1)),
        tracks=float(rng.uniform(0.2, 1.0)),
        objects=float(np.clip(strength * rng.uniform(0.3, 1.5), 0, 1)),
        white=(level * 0.975, level * 0.99, min(255.0, level * 1.01)),
        seed=int(rng.integers(1 << 30)),
    )


_PER_THICKNESS = np.full(256, 1e6, np.float32)
"""1.5 over the metres of snow under the upper edge of a class; none lies on the others."""
for _name, _thick_m in (("car", 0.5), ("fence", 0.25), ("building", 0.7), ("sign_symbol", 0.12)):
    _PER_THICKNESS[CLASS_ID[_name]] = 1.5 / _thick_m


def render_flakes(
    image: UInt8Array, depth_m: Float32Array, snow: Flakes, time_s: float = 0.0
) -> UInt8Array:
    """Let it snow between the camera and the scene: (H, W, 3) uint8 RGB."""
    shape = image.shape[:2]
    return render_layers(
        image,
        depth_m,
        lambda number: _layer(shape, snow, number, time_s),
        _LAYERS_M,
        snow.brightness,
        most=235,
    )


def _layer(
    shape: tuple[int, int], snow: Flakes, number: int, time_s: float
) -> tuple[UInt8Array, float]:
    """One layer's flakes, (H, W) uint8, and how opaque their 255 is."""
    pixels_per_m = FOCAL * shape[1] / _LAYERS_M[number]
    size = max(1.2, 0.001 * snow.flake_mm * pixels_per_m)
    blur = size + (0.004 * shape[1] if number == 0 else 0.0)  # the nearest are out of focus
    speed = math.hypot(1.2, snow.wind_m_s)
    length = speed * snow.exposure_s * pixels_per_m
    zoom = max(1.0, blur / 3.0)
    count = 8.0 * snow.density * 2.2**number * zoom
    tile = _flake_tile(
        float(_rounded(2 * blur / zoom)) / 2,
        _rounded(length / zoom),
        (snow.seed + number) % _PATTERNS,
        _rounded(min(count, 3500)),
    )
    angle = math.atan2(snow.wind_m_s, 1.2)
    fallen = speed * time_s * pixels_per_m / zoom
    start = np.random.default_rng(snow.seed + number).uniform(0, _TILE, 2)
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = np.array([[cos, -sin, start[0]], [sin, cos, (start[1] - fallen) % _TILE]], np.float32)
    opacity = (0.55, 0.8, 0.85, 0.75, 0.55)[number] * (size / (size + 0.3 * length)) ** 0.4
    return wrapped(tile, shape, matrix), float(opacity)


def _rounded(value: float) -> int:
    """Steps of 1.7, so that few tiles are ever made."""
    return max(1, round(1.7 ** round(math.log(max(value, 1.0), 1.7))))


@lru_cache(maxsize=160)
def _flake_tile(size: float, length: int, pattern: int, count: int) -> UInt8Array:
    """Flakes smeared along the columns, periodic: (384, 384) uint8 opacity."""
    rng = np.random.default_rng(1000 * pattern + count)
    seeds = np.zeros((_TILE, _TILE), np.float32)
    columns, rows = rng.integers(0, _TILE, (2, count))
    seeds[rows, columns] = rng.uniform(0.3, 1.0, count)
    edge = 16 + length
    tile = cv2.copyMakeBorder(seeds, edge, edge, 16, 16, cv2.BORDER_WRAP)
    sigma = max(0.45, 0.4 * size)
    tile = floats(cv2.GaussianBlur(tile, (0, 0), sigma)) * np.float32(2 * math.pi * sigma**2)
    tile = cv2.boxFilter(tile, -1, (1, length), normalize=False)
    tile = floats(tile) * np.float32(min(1.0, (2.5 * sigma + 1.0) / length))
    return pixels(cv2.convertScaleAbs(np.minimum(tile[edge:-edge, 16:-16], 1.0), alpha=255.0))


def render_snow_cover(
    image: UInt8Array, depth_m: Float32Array, snow: SnowCover, labels: UInt8Array | None = None
) -> UInt8Array:
    """Lay snow on the ground and on what stands there: (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    half = (width // 2, height // 2)
    small = pixels(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
    depth = np.minimum(cv2.resize(depth_m, half, interpolation=cv2.INTER_NEAREST), 100.0)
    if labels is not None:
        labels = pixels(cv2.resize(labels, half, interpolation=cv2.INTER_NEAREST))
    amount = _ground_snow(depth, snow, labels)
    if labels is not None:
        amount = np.maximum(amount, _object_snow(small, depth, snow, labels))
    luma = small[..., 1].astype(np.float32)
    wide = cv2.resize(cv2.resize(luma, (40, 30), interpolation=cv2.INTER_AREA), half)
    relief = 0.03 * grain(luma.shape, snow.seed) + (luma - wide) / 500.0 + (wide - 110.0) / 900.0
    bright = cv2.resize(np.clip(0.9 + relief, 0.5, 1.08), (width, height))
    cover = cv2.merge([cv2.convertScaleAbs(bright, alpha=channel) for channel in snow.white])
    share = cv2.resize(cv2.blur(np.minimum(amount, 0.96), (3, 3)), (width, height))
    return pixels(cv2.blendLinear(cover, image, share, 1.0 - share))


def _ground_snow(
    depth_m: Float32Array, snow: SnowCover, labels: UInt8Array | None
) -> Float32Array:
    height, width = depth_m.shape
    field = 0.6 * clouds((height, width), snow.seed, 0.8, stretch=3.0)
    field += 0.4 * clouds((height, width), snow.seed + 1, 4.0, stretch=3.0)
    aside = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (FOCAL * width) * depth_m
    offset = (snow.seed % 13 - 6) / 6.0
    wheel = np.abs(np.abs(np.mod(aside + offset, 3.5) - 1.75) - 0.8)  # two tracks in each lane
    cleared = snow.tracks * np.clip(1.4 - wheel / 0.45, 0.0, 1.0)
    street = np.clip((1.3 * snow.road - 0.7 * cleared - 0.8 * field) * 1.8 + 0.25, 0.0, 1.0)
    street *= min(1.0, 0.3 + snow.road)
    if labels is None:
        return floats(street * road_mask(depth_m, labels))
    open_ground = np.clip((1.25 * snow.cover - field) * 2.5 + 0.1, 0.0, 1.0)
    low = np.arange(height)[:, None] > 0.55 * height
    meadow = class_mask(labels, "tree") * low
    ground = np.maximum(class_mask(labels, "pavement"), meadow)
    return floats(np.maximum(street * class_mask(labels, "road"), open_ground * ground))


def _object_snow(
    image: UInt8Array, depth_m: Float32Array, snow: SnowCover, labels: UInt8Array
) -> Float32Array:
    """Snow just under the upper edges of things, and among branches."""
    height = len(labels)
    rows = np.arange(height, dtype=np.float32)[:, None]
    edges = np.full(labels.shape, np.float32(-1e4))
    edges[1:] = np.where(labels[1:] != labels[:-1], rows[1:], np.float32(-1e4))
    under = rows - np.maximum.accumulate(edges, axis=0)
    under = (under + 0.01) * depth_m * np.float32(1.0 / (FOCAL * labels.shape[1]))  # in metres
    amount = np.clip(1.5 - floats(cv2.LUT(labels, _PER_THICKNESS)) * under, 0.0, 0.9)
    twigs = clouds((height, labels.shape[1]), snow.seed + 1, 3.0)
    texture = cv2.convertScaleAbs(cv2.Sobel(image[..., 1], cv2.CV_16S, 0, 1), alpha=0.5)
    branches = class_mask(labels, "tree") * (0.45 * twigs + texture.astype(np.float32) / 140.0)
    return floats(np.maximum(amount, np.minimum(branches, 0.8)) * np.float32(snow.objects))
