"""The CPU twin of the area average that makes pictures smaller, compiled by numba.

`cv2.resize` with INTER_AREA does the same up to a grey value, in three times the time. Rows are
added up first, since that is the cheap part: what lies beside each other in memory is multiplied
by one number. Every sum is a whole number that its floating-point type holds exactly.
"""

from __future__ import annotations

import numpy as np

from adverse_perception.kernels.compiling import Array, compiled, part


@compiled
def shrink(image: Array, small: Array, down: Array, places: Array, parts: Array) -> None:
    """Average the area that every pixel of the smaller picture covers.

    Args:
        image: (H, W * 3) uint8, H up to 2^16 and H * W up to 2^24.
        small: (h, w * 3) uint8, filled; h up to H and w up to W.
        down: (h, 1 + n) int64 for each row of the new picture: the first old one it covers, and
            how much of that and of those behind it.
        places: (w,) uintp: the first value of an old row that each new pixel covers.
        parts: (w, m) float64, m from 3: how much of that pixel and of those behind it.
    """
    old, new = image.shape[1], small.shape[1]
    # a quarter keeps sums that are whole away from the edge that rounding could push them over
    whole = image.shape[0] * (old // 3)
    half, scale = np.float64(whole // 2) + 0.25, 1.0 / np.float64(whole)
    row = np.empty(old, np.float32)
    wide = np.zeros(old + 3 * parts.shape[1], np.float64)
    sums = np.empty(new, np.float64)
    for y in range(small.shape[0]):
        first, share = down[y, 0], np.float32(down[y, 1])
        for i in range(old):
            row[i] = share * np.float32(np.int32(image[first, i]))
        for n in range(2, down.shape[1]):
            share = np.float32(down[y, n])
            if share:
                for i in range(old):
                    row[i] += share * np.float32(np.int32(image[first + n - 1, i]))
        for i in range(old):
            wide[i] = row[i]
        _across(wide, places, parts, sums)
        for i in range(new):
            small[y, i] = np.uint8(np.int32((sums[i] + half) * scale))


@part
def _across(wide: Array, places: Array, parts: Array, sums: Array) -> None:
    """Add up what every new pixel covers of a row."""
    green, blue, beside = np.uintp(1), np.uintp(2), np.uintp(3)
    for x in range(len(places)):
        # written out, since three are what cameras mostly need and a loop costs a third more
        first, second, third = places[x], places[x] + beside, places[x] + beside + beside
        a, b, c = parts[x, 0], parts[x, 1], parts[x, 2]
        reds = a * wide[first] + b * wide[second] + c * wide[third]
        greens = a * wide[first + green] + b * wide[second + green] + c * wide[third + green]
        blues = a * wide[first + blue] + b * wide[second + blue] + c * wide[third + blue]
        for m in range(3, parts.shape[1]):
            third += beside
            c = parts[x, m]
            reds += c * wide[third]
            greens += c * wide[third + green]
            blues += c * wide[third + blue]
        new = beside * np.uintp(x)
        sums[new], sums[new + green], sums[new + blue] = reds, greens, blues
