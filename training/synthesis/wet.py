"""Wet ground: darker, and a blurred mirror of what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.noise import clouds
from training.synthesis.scene import floats, pixels, road_mask


@dataclass(frozen=True)
class WetRoad:
    """Water on road and pavement.

    Attributes:
        wetness: 0 = damp and only darker, 1 = a film that mirrors.
        puddles: share of the ground under standing water.
        roughness: how far mirror images are smeared downwards, share of the height.
        seed: pattern of the puddles.
    """

    wetness: float = 0.7
    puddles: float = 0.2
    roughness: float = 0.08
    seed: int = 0


def draw_wet_road(rng: np.random.Generator, strength: float) -> WetRoad:
    """Draw ground from damp (0) to flooded (1)."""
    return WetRoad(
        wetness=float(np.clip(strength * rng.uniform(0.6, 1.4) + 0.1, 0.1, 1.0)),
        puddles=float(rng.uniform(0.0, 0.15 + 0.4 * strength)),
        roughness=float(rng.uniform(0.03, 0.14)),
        seed=int(rng.integers(1 << 30)),
    )


def render_wet_road(
    image: UInt8Array, depth_m: Float32Array, wet: WetRoad, labels: UInt8Array | None = None
) -> UInt8Array:
    """Wet the ground: (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    ground = road_mask(depth_m, labels)
    mirror = cv2.resize(_mirror(image, ground, wet), (width, height))
    small = (height // 2, width // 2)
    # Fresnel: water seen at a grazing angle, that is far away, mirrors most of the light.
    shine = cv2.resize(depth_m, small[::-1], interpolation=cv2.INTER_NEAREST) * np.float32(1 / 45)
    shine = np.clip(shine, 0.12, 0.75) * np.float32(0.25 + 0.75 * wet.wetness)
    if wet.puddles > 0:
        field = clouds(small, wet.seed, 0.8, stretch=3.0)
        shine += 0.35 * np.clip((wet.puddles - field) * 12.0, 0.0, 1.0)
    shine = np.minimum(shine, 0.85) * np.float32(wet.wetness)
    share = cv2.multiply(cv2.resize(shine, (width, height)), ground)
    darker = 1.0 - np.float32(0.12 + 0.28 * wet.wetness) * ground
    soaked = cv2.multiply(image, cv2.merge([darker, darker, darker]), dtype=cv2.CV_8U)
    return pixels(cv2.blendLinear(mirror, soaked, share, 1.0 - share))


def _mirror(image: UInt8Array, ground: Float32Array, wet: WetRoad) -> UInt8Array:
    """Each column turned over at the line where the ground begins, at half size."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    dry = cv2.resize(ground, (width, height)) < 0.5
    rows = np.arange(height, dtype=np.int16)[:, None]
    edge = np.maximum.accumulate(np.where(dry, rows, np.int16(0)), axis=0).astype(np.float32)
    edge = floats(cv2.blur(edge, (5, 1)))
    source = np.clip(2.0 * edge - rows, 0, height - 1).astype(np.float32)
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
    turned = cv2.remap(small, columns, source, cv2.INTER_LINEAR)
    smear = max(3, int(wet.roughness * height))
    return pixels(cv2.blur(turned, (3, smear)))
