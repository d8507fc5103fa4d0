"""Rain in the air: streaks by rain rate and exposure, in layers of distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.falling import render_layers
from training.synthesis.noise import wrapped
from training.synthesis.scene import FOCAL, pixels

_TILE = 384
_LAYERS_M = (2.5, 5.0, 10.0, 20.0)
"""Distance of each layer of falling drops."""
_PATTERNS = 2


@dataclass(frozen=True)
class Streaks:
    """Falling rain.

    Attributes:
        rain_mm_per_h: rate; 2 is light, 10 moderate, 50 a downpour.
        exposure_s: how long the shutter is open; longer gives longer, fainter streaks.
        wind_m_s: sideways speed of the drops, across the view.
        brightness: display value (0 to 255) of the light a streak shows.
        seed: pattern.
    """

    rain_mm_per_h: float
    exposure_s: float = 1 / 100
    wind_m_s: float = 0.0
    brightness: float = 200.0
    seed: int = 0


def draw_streaks(rng: np.random.Generator, strength: float) -> Streaks:
    """Draw rain of 1 mm/h (strength 0) to 80 mm/h (1)."""
    return Streaks(
        rain_mm_per_h=float(80.0**strength * rng.uniform(0.8, 1.25)),
        exposure_s=float(np.exp(rng.uniform(np.log(1 / 500), np.log(1 / 30)))),
        wind_m_s=float(rng.normal(0.0, 1.5)),
        brightness=float(rng.uniform(150, 230)),
        seed=int(rng.integers(1 << 30)),
    )


def rain_visibility_m(rain_mm_per_h: float) -> float:
    """Visibility through rain alone: extinction 0.312 R^0.67 per km (5 % of the light left)."""
    return float(2996.0 / (0.312 * rain_mm_per_h**0.67))


def fall_speed_m_s(rain_mm_per_h: float) -> float:
    """Terminal speed of the typical drop, which grows with the rate (Marshall-Palmer, Atlas)."""
    diameter_mm = 3.67 / (4.1 * rain_mm_per_h**-0.21)
    return 9.65 - 10.3 * math.exp(-0.6 * diameter_mm)


def render_streaks(
    image: UInt8Array, depth_m: Float32Array, rain: Streaks, time_s: float = 0.0
) -> UInt8Array:
    """Let it rain between the camera and the scene: (H, W, 3) uint8 RGB."""
    shape = image.shape[:2]
    return render_layers(
        image,
        depth_m,
        lambda number: _layer(shape, rain, number, time_s),
        _LAYERS_M,
        rain.brightness,
        most=190,
    )


def _layer(
    shape: tuple[int, int], rain: Streaks, number: int, time_s: float
) -> tuple[UInt8Array, float]:
    """One layer's streaks, (H, W) uint8, and how opaque their 255 is."""
    pixels_per_m = FOCAL * shape[1] / _LAYERS_M[number]
    speed = fall_speed_m_s(rain.rain_mm_per_h)
    length = float(np.clip(speed * rain.exposure_s * pixels_per_m, 3, 0.3 * shape[0]))
    thick = max(0.8, 0.0025 * pixels_per_m * (shape[1] / 480) ** 0.5)
    squeeze = max(1.0, thick / 1.6)
    tile = _streak_tile(
        _rounded(length / squeeze), (rain.seed + number) % _PATTERNS, _density(rain, number)
    )
    angle = math.atan2(rain.wind_m_s, speed)
    fallen = speed * time_s * pixels_per_m / squeeze
    start = np.random.default_rng(rain.seed + number).uniform(0, _TILE, 2)
    cos, sin = math.cos(angle) / squeeze, math.sin(angle) / squeeze
    matrix = np.array([[cos, -sin, start[0]], [sin, cos, (start[1] - fallen) % _TILE]], np.float32)
    opacity = 0.9 * min(1.0, (6.0 / length) ** 0.5) * (0.85, 0.7, 0.55, 0.4)[number]
    return wrapped(tile, shape, matrix), float(opacity)


def _rounded(length: float) -> int:
    """Lengths in steps of 1.6, so that few tiles are ever made."""
    return max(2, round(1.6 ** round(math.log(length, 1.6))))


def _density(rain: Streaks, number: int) -> int:
    """Streaks per tile, in steps of a factor 2; they grow with the rate and with distance."""
    count = 17.0 * rain.rain_mm_per_h**0.55 * 1.9**number
    return 1 << round(math.log2(max(count, 1.0)))


@lru_cache(maxsize=128)
def _streak_tile(length: int, pattern: int, count: int) -> UInt8Array:
    """Vertical streaks, periodic: (384, 384) uint8 opacity."""
    rng = np.random.default_rng(1000 * pattern + count)
    seeds = np.zeros((_TILE, _TILE), np.float32)
    columns, rows = rng.integers(0, _TILE, (2, min(count, 5000)))
    seeds[rows, columns] = rng.uniform(0.25, 1.0, len(rows)) ** 1.5
    half = length // 2 + 1
    padded = cv2.copyMakeBorder(seeds, length, length, 2, 2, cv2.BORDER_WRAP)
    drawn = cv2.boxFilter(padded, -1, (1, half), normalize=False)  # twice: ends fade
    drawn = cv2.boxFilter(drawn, -1, (1, half), normalize=False) * np.float32(1.0 / half)
    drawn = cv2.GaussianBlur(drawn, (3, 1), 0.6)[length:-length, 2:-2]
    return pixels(cv2.convertScaleAbs(np.minimum(drawn, 1.0), alpha=255.0))
