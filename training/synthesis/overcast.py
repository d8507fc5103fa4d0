"""The light under clouds: grey sky, no hard shadows, pale colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.fog import tint
from training.synthesis.noise import clouds
from training.synthesis.scene import floats, pixels, sky_matte

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Overcast:
    """Cloudy light.

    Attributes:
        gain: brightness against the clear picture, display values.
        saturation: 0 grey, 1 as it was.
        shadow_fill: 0 = shadows stay, 1 = large shadows and lit patches become equal.
        sky: RGB of the clouds, 0 to 255.
        sky_cover: share of the sky that turns into clouds.
        tint: RGB factors of the light.
        seed: pattern of the clouds.
    """

    gain: float = 0.9
    saturation: float = 0.7
    shadow_fill: float = 0.4
    sky: tuple[float, float, float] = (190.0, 194.0, 198.0)
    sky_cover: float = 0.9
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = 0


def draw_overcast(rng: np.random.Generator, strength: float) -> Overcast:
    """Draw light from slightly cloudy (0) to a dark rain front (1)."""
    level = 225 - 90 * strength * rng.uniform(0.3, 1.2)
    cold = rng.uniform(-0.02, 0.07)
    return Overcast(
        gain=float(1.0 - 0.32 * strength * rng.uniform(0.2, 1.2)),
        saturation=float(rng.uniform(0.35, 0.95 - 0.35 * strength)),
        shadow_fill=float(rng.uniform(0.3, 0.7)),
        sky=tint(rng, (level * (1 - 0.6 * cold), level, level * (1 + cold)), 0.06),
        sky_cover=float(rng.uniform(0.7, 1.0)),
        tint=(1.0 - float(cold), 1.0, 1.0 + float(cold)),
        seed=int(rng.integers(1 << 30)),
    )


def render_overcast(
    image: UInt8Array, depth_m: Float32Array, state: Overcast, labels: UInt8Array | None = None
) -> UInt8Array:
    """Light the scene from a closed sky: (H, W, 3) uint8 RGB."""
    lit = even_out(image, state.shadow_fill)
    keep = state.saturation * np.eye(3, dtype=np.float32) + (1 - state.saturation) * _LUMA
    colour = keep * np.array(state.tint, np.float32)[:, None] * state.gain
    lit = pixels(cv2.transform(lit, floats(colour)))
    cover = sky_matte(image, depth_m, labels) * state.sky_cover
    sky = cloud_cover(image.shape[:2], state.sky, state.seed)
    return pixels(cv2.blendLinear(sky, lit, cover, 1.0 - cover))


def even_out(image: UInt8Array, fill: float) -> UInt8Array:
    """Lift large shadows and lower large sunlit patches by `fill`, 0 to 1; detail stays."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA) @ _LUMA + 12.0
    wide = cv2.GaussianBlur(small, (0, 0), 2.5)
    below = float(np.median(wide[12:]))
    aim = max(below, 75.0)  # an underexposed picture is lifted as a camera would
    gain = np.clip(aim / wide, 0.55, 2.6) ** fill
    full = cv2.resize(gain.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels(cv2.multiply(image, cv2.merge([full, full, full]), dtype=cv2.CV_8U))


def cloud_cover(
    shape: tuple[int, int], colour: tuple[float, float, float], seed: int
) -> UInt8Array:
    """A closed cloudy sky: (H, W, 3) uint8 RGB."""
    relief = 0.9 + 0.2 * clouds(shape, seed, 0.3, stretch=2.5)
    return pixels(cv2.merge([cv2.convertScaleAbs(relief, alpha=channel) for channel in colour]))
