"""Night as NiSeNet's authors darken pictures where they have no CycleGAN: one look-up table.

It knows neither lamps nor distance nor sky. Their tool writes red and blue exchanged and over its
own input, so that a second run darkens twice; both are left out here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.synthesis.scene import pixels


@dataclass(frozen=True)
class NightLookup:
    """out = 255 (in / 255)^(1 / gamma), in every colour alike.

    Attributes:
        gamma: theirs is 0.35.
    """

    gamma: float = 0.35


def draw_night_lookup(rng: np.random.Generator, strength: float) -> NightLookup:
    """Theirs, at any strength."""
    return NightLookup()


def render_night_lookup(image: UInt8Array, lookup: NightLookup) -> UInt8Array:
    """Darken: (H, W, 3) uint8 RGB."""
    curve = 255.0 * (np.arange(256) / 255.0) ** (1.0 / lookup.gamma)
    return pixels(cv2.LUT(image, pixels(np.rint(curve))))
