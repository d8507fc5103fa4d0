"""What is done to pictures among their frequencies."""

from __future__ import annotations

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import floats, pixels

_DCT = floats(cv2.dct(np.eye(8, dtype=np.float32), flags=cv2.DCT_ROWS)).T
"""Rows are the eight basis functions."""


def high_pass(noise: Float32Array, cycles: int) -> Float32Array:
    """Take out what has at most so many cycles per picture: (H, W, 3) float32."""
    rows, columns = (np.fft.fftfreq(n) * n for n in noise.shape[:2])
    low = np.hypot(*np.meshgrid(rows, columns, indexing="ij")) <= cycles
    at = np.nonzero(low)
    planes = []
    for plane in cv2.split(noise):
        spectrum = cv2.dft(plane, flags=cv2.DFT_COMPLEX_OUTPUT)
        spectrum[at] = 0.0
        planes.append(cv2.idft(spectrum, flags=cv2.DFT_REAL_OUTPUT | cv2.DFT_SCALE))
    return floats(cv2.merge(planes))


def cut_weak(planes: UInt8Array, threshold: float) -> UInt8Array:
    """Forget weak DCT coefficients: what a denoiser keeps of a picture, (H, W, 3) uint8.

    This is the first step of BM3D without its search for similar blocks, on two grids of 8x8
    blocks. Means of blocks are kept.
    """
    height, width = planes.shape[:2]
    bottom, right = 12 + -height % 8, 12 + -width % 8
    padded = cv2.copyMakeBorder(planes, 4, bottom, 4, right, cv2.BORDER_REFLECT)
    kept = np.zeros((height, width, 3), np.float32)
    for shift in (0, 4):
        whole = padded[shift : -8 - shift or None, shift : -8 - shift or None]
        rows, columns = whole.shape[0] // 8 * 8, whole.shape[1] // 8 * 8
        grid = _cut_blocks(floats(whole[:rows, :columns]), threshold)
        kept += grid[4 - shift : 4 - shift + height, 4 - shift : 4 - shift + width]
    return pixels(cv2.convertScaleAbs(np.maximum(kept, 0.0), alpha=0.5))


def _cut_blocks(planes: Float32Array, threshold: float) -> Float32Array:
    height, width = planes.shape[:2]
    blocks = planes.reshape(height // 8, 8, width // 8, 8, 3).transpose(0, 2, 4, 1, 3)
    found = _DCT @ np.ascontiguousarray(blocks) @ _DCT.T
    means = found[..., 0, 0].copy()
    found *= np.abs(found) > threshold
    found[..., 0, 0] = means
    kept = _DCT.T @ found @ _DCT
    return floats(kept.transpose(0, 3, 1, 4, 2).reshape(planes.shape))
