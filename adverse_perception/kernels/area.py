"""The CPU twin of the area average that makes pictures smaller, compiled by numba.

`cv2.resize` with INTER_AREA does the same up to a grey value, in two to three times the time
(1280x720 to 664x376: 1.5 ms against 4.4). Rows are added up first, since that is the cheap part:
what lies beside each other in memory is multiplied by one number.
"""

from __future__ import annotations

import numpy as np

from adverse_perception.kernels.compiling import Array, compiled


@compiled
def shrink(image: Array, small: Array, down: Array, places: Array, parts: Array) -> None:
    """Average the area that every pixel of the smaller picture covers.

    Args:
        image: (H, W * 3) uint8, H * W up to 2^24.
        small: (h, w * 3) uint8, filled; h up to H and w up to W.
        down: (h, 1 + n) int64 for each row of the new picture: the first old one it covers, and
            how much of that and of those behind it.
        places: (w * 3,) uintp: the first value of an old row that each new one covers.
        parts: (m, w * 3) uint32: how much of that, and of the same colour in the pixels behind it.
    """
    old, new = image.shape[1], small.shape[1]
    whole = image.shape[0] * (old // 3)
    # a quarter keeps sums that are whole away from the edge that rounding could push them over
    half, scale = np.float64(whole // 2) + 0.25, 1.0 / np.float64(whole)
    row = np.zeros(old + 3 * parts.shape[0], np.uint32)
    sums = np.zeros(new, np.uint32)
    for y in range(small.shape[0]):
        first, share = down[y, 0], np.uint32(down[y, 1])
        for i in range(old):
            row[i] = share * np.uint32(image[first, i])
        for n in range(2, down.shape[1]):
            share = np.uint32(down[y, n])
            if share:
                for i in range(old):
                    row[i] += share * np.uint32(image[first + n - 1, i])
        for i in range(new):
            sums[i] = parts[0, i] * row[places[i]]
        for m in range(1, parts.shape[0]):
            for i in range(new):
                sums[i] += parts[m, i] * row[places[i] + np.uintp(3 * m)]
        for i in range(new):
            small[y, i] = np.uint8(np.int32((np.float64(sums[i]) + half) * scale))
