"""What the camera adds when light is short: noise, softness, compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.synthesis.noise import grain
from training.synthesis.scene import pixels, to_image, to_light


@dataclass(frozen=True)
class Sensor:
    """A camera with its amplifier turned up.

    Attributes:
        full_scale_electrons: electrons that make a white pixel at this gain; few = noisy.
        read_noise_electrons: noise of reading a pixel.
        blur_px: deviation of the softness left by denoising and focus, at 480 px width.
        jpeg_quality: 100 = uncompressed.
        seed: pattern of the noise.
    """

    full_scale_electrons: float = 2000.0
    read_noise_electrons: float = 4.0
    blur_px: float = 0.0
    jpeg_quality: int = 100
    seed: int = 0


def draw_sensor(rng: np.random.Generator, strength: float) -> Sensor:
    """Draw a camera from well lit (0) to ISO 12800 (1)."""
    return Sensor(
        full_scale_electrons=float(8000.0 * (150.0 / 8000.0) ** (strength * rng.uniform(0.5, 1))),
        read_noise_electrons=float(rng.uniform(1.0, 5.0)),
        blur_px=float(rng.choice([0.0, rng.uniform(0.4, 1.3)])),
        jpeg_quality=int(rng.integers(30, 90)) if rng.random() < 0.5 else 100,
        seed=int(rng.integers(1 << 30)),
    )


def render_sensor(image: UInt8Array, sensor: Sensor, time_s: float = 0.0) -> UInt8Array:
    """Photograph the scene once more with this camera: (H, W, 3) uint8 RGB."""
    light = to_light(image)
    frame = sensor.seed + int(time_s * 1000.0)  # noise is new in every frame
    full, read = sensor.full_scale_electrons, sensor.read_noise_electrons
    spread = cv2.sqrt(light * np.float32(1.0 / full) + np.float32((read / full) ** 2))
    light += spread * grain(light.shape, frame)
    noisy = to_image(np.maximum(light, 0.0, out=light))
    if sensor.blur_px > 0:
        soft = sensor.blur_px * image.shape[1] / 480
        noisy = pixels(cv2.GaussianBlur(noisy, (0, 0), soft))
    if sensor.jpeg_quality < 100:
        quality = [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg_quality]
        coded = cv2.imencode(".jpg", noisy[..., ::-1], quality)[1]
        noisy = pixels(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)))[..., ::-1].copy()
    return noisy
