"""Rain as RainCityscapes has it: streaks and fog by one formula. Kept for tests, not trained on.

`cooperative-restoration.md`, section 3.6. The streaks are noise blurred along a line; they share
nothing with those of `rain.py`, so that who has learnt the one by heart fails on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.airlight import airlight_of
from training.synthesis.noise import wrapped
from training.synthesis.scene import floats, pixels

_TILE = 512
_FOCAL_PX = 2262.0
"""Of the camera of Cityscapes, 2048 pixels wide."""
SETS = ((0.01, 0.005, 0.01), (0.02, 0.01, 0.005), (0.03, 0.015, 0.002))
"""The data set's three (alpha, beta, drop size); streaks fade as fog thickens."""
PATTERNS = 12


@dataclass(frozen=True)
class CityRain:
    """O = J (1 - S - A) + S + A0 A, with A = 1 - exp(-beta d), S = pattern exp(-alpha max(d1, d)).

    Attributes:
        alpha: how fast streaks fade with distance, per metre.
        beta: extinction of the fog, per metre.
        drop_m: radius of a drop; d1 = 2 f radius is where it is one pixel wide.
        airlight: A0, RGB 0 to 255; if None, found in the picture as Foggy Cityscapes does.
        pattern: which of twelve.
        fall: picture heights that the pattern falls in a second.
    """

    alpha: float = 0.02
    beta: float = 0.01
    drop_m: float = 0.005
    airlight: tuple[float, float, float] | None = None
    pattern: int = 0
    fall: float = 6.0


@dataclass(frozen=True)
class NoiseStreaks:
    """Sparse noise, blurred along a line and added: the streaks of the recipe for raindrops.

    Attributes:
        amount: light added where a streak is fullest, 0.1 to 0.3 of white.
        length_px: 10 to 40, at 1024 px width.
        angle_deg: from the vertical, -20 to 20.
        seed: place in the noise.
        fall: picture heights that they fall in a second.
    """

    amount: float = 0.2
    length_px: float = 25.0
    angle_deg: float = 0.0
    seed: int = 0
    fall: float = 6.0


def draw_city_rain(rng: np.random.Generator, strength: float) -> CityRain:
    """Draw one of the three sets, from light (strength 0) to heavy (1), and one of 12 patterns."""
    alpha, beta, drop_m = SETS[min(2, int(3 * strength))]
    return CityRain(alpha, beta, drop_m, pattern=int(rng.integers(PATTERNS)))


def draw_noise_streaks(rng: np.random.Generator, strength: float) -> NoiseStreaks:
    """Draw the recipe's ranges; strength goes from its faintest to its brightest."""
    return NoiseStreaks(
        amount=0.1 + 0.2 * strength,
        length_px=float(rng.uniform(10, 40)),
        angle_deg=float(rng.uniform(-20, 20)),
        seed=int(rng.integers(1 << 30)),
    )


def streak_layer(depth_m: Float32Array, rain: CityRain, time_s: float = 0.0) -> Float32Array:
    """S of the formula: (H, W) float32, 0 to 1."""
    nearest_m = 2.0 * _FOCAL_PX * rain.drop_m
    fading = cv2.exp(np.maximum(depth_m, np.float32(nearest_m)) * np.float32(-rain.alpha))
    rng = np.random.default_rng(rain.pattern)
    angle, length = (
        float(rng.uniform(-15, 15)),
        float(rng.uniform(20, 60)) * depth_m.shape[1] / 640,
    )
    fallen = rain.fall * time_s
    falling = _window((depth_m.shape[0], depth_m.shape[1]), length, angle, rain.pattern, fallen)
    return floats(cv2.multiply(falling, fading, scale=1 / 255, dtype=cv2.CV_32F))


def render_city_rain(
    image: UInt8Array, depth_m: Float32Array, rain: CityRain, time_s: float = 0.0
) -> UInt8Array:
    """Put the data set's rain over the picture: (H, W, 3) uint8 RGB."""
    streaks = streak_layer(depth_m, rain, time_s)
    fog = 1.0 - cv2.exp(depth_m * np.float32(-rain.beta))
    air = airlight_of(image) if rain.airlight is None else rain.airlight
    kept = 1.0 - streaks - fog
    mixed = floats(cv2.multiply(image, cv2.merge([kept] * 3), dtype=cv2.CV_32F))
    mixed += cv2.merge([255.0 * streaks + np.float32(channel) * fog for channel in air])
    return pixels(cv2.convertScaleAbs(np.maximum(mixed, 0.0, out=mixed)))


def render_noise_streaks(
    image: UInt8Array, streaks: NoiseStreaks, time_s: float = 0.0
) -> UInt8Array:
    """Add the streaks: (H, W, 3) uint8 RGB."""
    shape, length = (image.shape[0], image.shape[1]), streaks.length_px * image.shape[1] / 1024
    fallen = streaks.fall * time_s
    falling = _window(shape, length, streaks.angle_deg, streaks.seed, fallen)
    light = cv2.merge([cv2.convertScaleAbs(falling, alpha=streaks.amount)] * 3)
    return pixels(cv2.add(image, light))


def _window(
    shape: tuple[int, int], length: float, angle_deg: float, seed: int, fallen: float
) -> UInt8Array:
    """Slanted streaks that have fallen so many picture heights: (H, W) uint8, 0 to 255."""
    tile = _tile(max(3, 2 * round(length / 2) + 1), seed % PATTERNS)
    angle = math.radians(angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    start = np.random.default_rng(seed).uniform(0, _TILE, 2)
    down = (start[1] - fallen * shape[0]) % _TILE
    matrix = np.array([[cos, -sin, start[0]], [sin, cos, down]], np.float32)
    return pixels(wrapped(tile, shape, matrix))


@lru_cache(maxsize=48)
def _tile(length: int, pattern: int) -> UInt8Array:
    """Noise above a threshold, blurred down a line of `length`: (512, 512) uint8, periodic."""
    rng = np.random.default_rng(1000 + pattern)
    noise = np.asarray(rng.standard_normal((_TILE, _TILE)), np.float32)
    padded = cv2.copyMakeBorder(noise, length, length, 4, 4, cv2.BORDER_WRAP)
    specks = np.maximum(cv2.GaussianBlur(padded, (0, 0), 0.7) - 0.85, 0.0)  # about 2 % of all
    line = cv2.blur(specks, (1, length))[length:-length, 4:-4]
    return pixels(cv2.convertScaleAbs(line, alpha=180.0 / float(np.quantile(line, 0.995))))
