"""The sky: a gradient with clouds, as one plate at infinity."""

from __future__ import annotations

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.street import noise
from training.street.plates import opaque

Colour = tuple[float, float, float]

WIDTH, HEIGHT = 384, 192
SPREAD = 2.2
"""Half the plate's width at distance 1: wide enough for any camera's field of view."""


def sky(seed: int, cloudiness: float, glare: float) -> UInt8Array:
    """(192, 384, 4) sky picture: left to right across the view, the horizon at the lower edge.

    Args:
        seed: which clouds.
        cloudiness: 0 (blue) to 1 (overcast).
        glare: 0 to 1, how far the picture is overexposed towards the horizon.
    """
    rng = np.random.default_rng((seed, 91))
    up = np.linspace(1, 0, HEIGHT, dtype=np.float32)[:, None] * np.ones((1, WIDTH), np.float32)
    zenith, horizon = np.array([98, 142, 204], np.float32), np.array([206, 220, 232], np.float32)
    blue = horizon + (zenith - horizon) * np.sqrt(up)[..., None]
    # Clouds are a flat layer seen from below, so they shrink towards the horizon.
    stretch = 1 / (up + 0.12)
    x = (np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :] * stretch) * 90 + rng.uniform(0, 512)
    y = stretch * 70 + np.float32(rng.uniform(0, 512))
    source = noise.field(int(rng.integers(50, 54)), 2, 256, 0.9)
    clouds = cv2.remap(
        source, (x % 512).astype(np.float32), (y % 512).astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    amount = np.clip((clouds + 3.4 * cloudiness - 1.6) * 0.75, 0, 1)[..., None]
    grey = 226 - 40 * cloudiness * np.clip(clouds, -0.5, 1.5)
    body = np.dstack([grey, grey, grey * 1.01])
    picture = blue + (body - blue) * amount
    picture = picture + (252 - picture) * (glare * (1 - 0.6 * up))[..., None]
    return opaque(np.clip(picture, 0, 255).astype(np.uint8))
