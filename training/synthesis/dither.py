"""Few colours, mixed by a pattern."""

from __future__ import annotations

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import floats, pixels


def dither(image: UInt8Array, colours: int, seed: int = 0) -> UInt8Array:
    """Show the picture in few colours, those that fit it best: (H, W, 3) uint8 RGB.

    Colours are k-means of its pixels; what lies between is mixed by an ordered 8x8 pattern.
    """
    sample = image.reshape(-1, 3)[:: max(1, image.size // 4500)].astype(np.float32)
    palette = _palette(sample, min(colours, len(sample)), seed)
    pattern = np.tile(_BAYER, (image.shape[0] // 8 + 1, image.shape[1] // 8 + 1))
    offset = pattern[: image.shape[0], : image.shape[1]] * (220.0 / len(palette) ** 0.5)
    full = cv2.merge([offset.astype(np.float32)] * 3)
    cells = pixels(cv2.add(image, full, dtype=cv2.CV_8U)) >> 3
    places = cells.astype(np.uint16) @ np.array([1024, 32, 1], np.uint16)
    return pixels(np.rint(palette).astype(np.uint8)[_nearest(palette)[places]])


def _palette(sample: Float32Array, count: int, seed: int) -> Float32Array:
    """k-means from random pixels: (count, 3) float32."""
    palette = sample[np.random.default_rng(seed).choice(len(sample), count, replace=False)]
    for _ in range(6):
        away = (palette**2).sum(axis=1) - 2.0 * sample @ palette.T
        own = np.eye(count, dtype=np.float32)[away.argmin(axis=1)]
        members = own.sum(axis=0)[:, None]
        palette = np.where(members > 0, own.T @ sample / np.maximum(members, 1), palette)
    return floats(palette)


def _nearest(palette: Float32Array) -> UInt8Array:
    """Number of the nearest colour for each cell of RGB, 5 bits a channel: (32768,)."""
    axis = np.arange(32, dtype=np.float32) * 8 + 4
    red, green, blue = ((axis[:, None] - palette[:, channel]) ** 2 for channel in range(3))
    away = red[:, None, None] + green[None, :, None] + blue[None, None]
    return pixels(away.argmin(axis=-1).astype(np.uint8).ravel())


def _bayer() -> Float32Array:
    """Thresholds of an ordered dither, (8, 8) float32 from -0.5 to 0.5."""
    pattern = np.zeros((1, 1))
    for _ in range(3):
        pattern = np.block([[4 * pattern, 4 * pattern + 2], [4 * pattern + 3, 4 * pattern + 1]])
    return floats((pattern + 0.5) / 64 - 0.5)


_BAYER = _bayer()
