"""Fog: light lost on the way, replaced by the light of the air."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.airlight import airlight_of, guided
from training.synthesis.noise import clouds
from training.synthesis.scene import floats, pixels, ray_stretch, to_image, to_light

CONTRAST = 2.996
"""ln(1 / 0.05): visibility is the meteorological optical range, where 5 % of the light is left.
Extinction is 2.996 / visibility: Foggy Cityscapes' 0.005, 0.01 and 0.02 per metre are
600, 300 and 150 m. (Koschmieder's 2 % convention would be 3.912.)"""

AIRLIGHTS: dict[str, tuple[int, int, int]] = {
    "white": (226, 228, 228),
    "grey": (190, 192, 194),
    "bluish": (182, 191, 198),
    "greenish": (182, 190, 187),
    "yellowish": (206, 203, 194),
    "smog": (178, 164, 146),
    "dawn": (120, 116, 124),
    "dusk": (84, 90, 104),
}


@dataclass(frozen=True)
class Fog:
    """Fog, mist, haze, or the veil of rain and snow.

    Attributes:
        visibility_m: meteorological optical range (5 % of the light left).
        airlight: RGB of the fog itself, 0 to 255.
        patchiness: 0 = even, 1 = banks that double and clear the density.
        gradient: how much brighter the air is at the top of the picture, share.
        linear_light: mix light (physical) instead of display values (as Foggy Cityscapes does).
        wind_m_s: speed with which banks drift across the view.
        seed: pattern of the banks.
        guided: the veil follows the picture's edges where the depth does not, as in Foggy
            Cityscapes; costs a guided filter.
    """

    visibility_m: float
    airlight: tuple[float, float, float] = (200.0, 202.0, 204.0)
    patchiness: float = 0.0
    gradient: float = 0.0
    linear_light: bool = False
    wind_m_s: float = 1.0
    seed: int = 0
    guided: bool = False


def draw_fog(rng: np.random.Generator, strength: float) -> Fog:
    """Draw daytime fog: strength 0 is mist of 600 m, 1 is fog of 25 m."""
    visibility = 600.0 * (25.0 / 600.0) ** strength * rng.uniform(0.8, 1.25)
    names = list(AIRLIGHTS)
    shares = np.array([0.24, 0.30, 0.17, 0.07, 0.06, 0.03, 0.07, 0.06])
    colour = AIRLIGHTS[names[rng.choice(len(names), p=shares)]]
    return Fog(
        visibility_m=float(visibility),
        airlight=tint(rng, colour, 0.12),
        patchiness=float(rng.choice([0.0, rng.uniform(0.2, 0.9)])),
        gradient=float(rng.uniform(0.0, 0.25)),
        linear_light=bool(rng.random() < 0.4),
        wind_m_s=float(rng.normal(0.0, 2.0)),
        seed=int(rng.integers(1 << 30)),
    )


def foggy_cityscapes(image: UInt8Array, visibility_m: float) -> Fog:
    """The fog that Foggy Cityscapes would give this picture: even, its airlight from the picture.

    Args:
        image: (H, W, 3) uint8 RGB, clear.
        visibility_m: the data set has 600, 300 and 150.
    """
    return Fog(visibility_m, airlight_of(image), guided=True)


def tint(
    rng: np.random.Generator, colour: Sequence[float] | Float32Array, spread: float
) -> tuple[float, float, float]:
    """Vary a colour's brightness by `spread` and its hue an eighth as much."""
    scale = rng.uniform(1 - spread, 1 + spread) * rng.uniform(1 - spread / 8, 1 + spread / 8, 3)
    red, green, blue = (float(v) for v in np.clip(np.asarray(colour) * scale, 0, 255))
    return red, green, blue


def transmission(fog: Fog, depth_m: Float32Array, time_s: float = 0.0) -> Float32Array:
    """Share of light that arrives through the fog: (H, W) float32, 0 to 1."""
    height, width = depth_m.shape
    thickness = depth_m * ray_stretch(height, width)
    if fog.patchiness > 0:
        drift = (fog.wind_m_s * time_s / 60.0, 0.0)  # banks some 30 m away: 60 m fill the view
        banks = clouds((height, width), fog.seed, 0.5, drift, stretch=1.6)
        thickness *= 1.0 + fog.patchiness * (1.6 * banks - 0.8)
    thickness *= -CONTRAST / fog.visibility_m
    return floats(cv2.exp(thickness, dst=thickness))


def render_fog(
    image: UInt8Array, depth_m: Float32Array, fog: Fog, time_s: float = 0.0
) -> UInt8Array:
    """Put fog between the camera and the scene: (H, W, 3) uint8 RGB."""
    share = transmission(fog, depth_m, time_s)
    if fog.guided:
        share = np.clip(guided(share, image), 0.0, 1.0)
    else:
        share = floats(cv2.blur(share, (3, 3)))
    air = _air(fog, image.shape[0], image.shape[1])
    if fog.linear_light:
        light = cv2.blendLinear(to_light(image), to_light(air), share, 1.0 - share)
        return to_image(floats(light))
    return pixels(cv2.blendLinear(image, air, share, 1.0 - share))


def _air(fog: Fog, height: int, width: int) -> UInt8Array:
    """The picture of fog alone, brighter towards the zenith."""
    rows = 1.0 + fog.gradient * np.linspace(0.5, -0.5, height, dtype=np.float32)
    column = np.clip(rows[:, None, None] * np.array(fog.airlight, np.float32), 0, 255)
    return np.ascontiguousarray(np.broadcast_to(column.astype(np.uint8), (height, width, 3)))
