"""What a clear picture says about fog: the colour of its air, and where veils may end."""

from __future__ import annotations

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import floats

_WINDOW_PX = 15
_BRIGHTEST = 0.001
_RADIUS = 20 / 2048
"""Of the guided filter, share of the picture's width: a window of 41 pixels on Cityscapes."""


def dark_channel(image: UInt8Array) -> UInt8Array:
    """Darkest value of all colours within 15x15 pixels: (H, W) uint8."""
    darkest = np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])
    return np.asarray(cv2.erode(darkest, np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)), np.uint8)


def airlight_of(image: UInt8Array) -> tuple[float, float, float]:
    """Colour of the air, RGB 0 to 255, as Foggy Cityscapes finds it.

    Of the pixels whose dark channel is among the brightest 0.1 %, the one of median grey.
    """
    dark = dark_channel(image).ravel()
    count = max(1, int(_BRIGHTEST * dark.size))
    candidates = image.reshape(-1, 3)[np.argpartition(dark, -count)[-count:]]
    grey = candidates @ np.array([0.299, 0.587, 0.114])
    red, green, blue = candidates[np.argsort(grey, kind="stable")[(count - 1) // 2]].tolist()
    return float(red), float(green), float(blue)


def guided(field: Float32Array, image: UInt8Array, flatness: float = 1e-3) -> Float32Array:
    """Smooth a field, but not across edges of the picture (He's guided filter, grey guide).

    Args:
        field: (H, W) float32, such as a transmission.
        image: (H, W, 3) uint8 RGB.
        flatness: variance of the guide, on values of 0 to 1, that counts as none.

    Returns:
        (H, W) float32.
    """
    side = 2 * max(1, round(_RADIUS * image.shape[1])) + 1

    def mean(values: Float32Array) -> Float32Array:
        return floats(cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT))

    guide = floats(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) * np.float32(1 / 255)
    guide_mean, field_mean = mean(guide), mean(field)
    variance = mean(floats(guide * guide)) - guide_mean * guide_mean
    slope = floats(
        (mean(floats(guide * field)) - guide_mean * field_mean) / (variance + np.float32(flatness))
    )
    return floats(mean(slope) * guide + mean(floats(field_mean - slope * guide_mean)))
