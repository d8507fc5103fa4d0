"""The exact sparse twin for the CPU, compiled by numba when first used, then cached on disk.

A bilinear value is a convex mix of its four corners. In a cell of the coarse grid whose four
corners agree on the class, no pixel can have another: it needs no interpolation, and its
confidence is the mix of the corners' greatest probabilities. Only the cells that disagree, an
eighth on streets, are interpolated, and there only the classes that can win.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from numba import njit
except ImportError as error:
    raise ImportError(
        f"labelling on the CPU: expected the package numba, found none ({error});"
        " install it with: pip install numba"
    ) from error

Array = Any
"""numba infers array types; naming them here would only repeat the docstrings."""


def _kept(**options: Any) -> Callable[[Any], Any]:
    """Compile once and keep the code on disk, or at every start where no disk can be written."""

    def decorate(function: Any) -> Any:
        try:
            return njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither beside this file nor in the user's cache folder
            return njit(error_model="numpy", **options)(function)

    return decorate


_compiled = _kept(nogil=True)
_part = _kept(inline="never")

_FLOOR = np.float32(-24.0)
"""Logits further than this below the greatest weigh nothing in an 8-bit probability."""


@_compiled
def summarise(logits: Array, winner: Array, best: Array, share: Array) -> None:
    """Winner, its logit and its probability in every point of the coarse grid.

    Args:
        logits: (K, h, w) float32.
        winner: (h, w) uint8, filled with the class of the greatest logit.
        best: (h, w) float32, filled with that logit.
        share: (h, w) float32, filled with its softmax probability.
    """
    classes, height, width = logits.shape
    number = np.empty(width, np.int32)
    for i in range(height):
        top, total = best[i], share[i]
        for j in range(width):
            top[j] = logits[0, i, j]
            number[j] = 0
            total[j] = 0.0
        for k in range(1, classes):
            row = logits[k, i]
            for j in range(width):
                greater = row[j] > top[j]
                number[j] = np.int32(k) if greater else number[j]
                top[j] = row[j] if greater else top[j]
        for k in range(classes):
            row = logits[k, i]
            for j in range(width):
                total[j] += _exp(row[j] - top[j])
        for j in range(width):
            winner[i, j] = number[j]
            total[j] = np.float32(1.0) / total[j]


@njit(inline="always", error_model="numpy")
def _exp(x: Any) -> Any:
    """e^x of a float32 in [-24, 0] to 3e-5: a short series, then eight squarings; vectorises."""
    y = max(x, _FLOOR) * np.float32(1 / 256)
    third = np.float32(1 / 3)
    half = np.float32(0.5)
    one = np.float32(1.0)
    value = one + y * (one + y * half * (one + y * third))
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    value *= value
    return value * value


@_compiled
def fill(maps: Array, rows: Array, columns: Array, labels: Array, confidence: Array) -> None:
    """Label every pixel as if the four corners of every cell agreed.

    Args:
        maps: (winner, share) of `summarise`.
        rows: lower, upper (intp) and share (float32) for every picture row.
        columns: the same for every picture column.
        labels: (H, W) uint8, filled.
        confidence: (H, W) uint8, filled.
    """
    winner, share = maps
    top, bottom, weight_y, _ = rows
    left, right, weight_x, _ = columns
    height, width = labels.shape
    coarse = share.shape[0]
    wide = np.empty((coarse, width), np.float32)
    scale = np.float32(255.0)
    for i in range(coarse):
        for x in range(width):
            wide[i, x] = scale * (
                share[i, left[x]] * (np.float32(1.0) - weight_x[x])
                + share[i, right[x]] * weight_x[x]
            )
    half = np.float32(0.5)
    for y in range(height):
        i = top[y]
        upper, lower, weight = wide[i], wide[bottom[y]], weight_y[y]
        for x in range(width):
            value = upper[x] + (lower[x] - upper[x]) * weight + half
            confidence[y, x] = np.uint8(np.int32(value))
        if y > 0 and top[y - 1] == i:
            labels[y] = labels[y - 1]
        else:
            for x in range(width):
                labels[y, x] = winner[i, left[x]]


@_compiled
def correct(
    logits: Array, maps: Array, rows: Array, columns: Array, labels: Array, confidence: Array
) -> int:
    """Interpolate the cells whose corners disagree; the number of them is returned.

    Args:
        logits: (K, h, w) float32.
        maps: (winner, best, share) of `summarise`.
        rows: as for `fill`, and the first picture row of every cell, (h + 1,) intp.
        columns: as for `fill`, and the first picture column of every cell, (w + 1,) intp.
        labels: (H, W) uint8 of `fill`, corrected.
        confidence: (H, W) uint8 of `fill`, corrected.
    """
    winner = maps[0]
    classes, height, width = logits.shape
    candidates = np.empty(classes, np.intp)
    corners = np.empty((classes, 4), np.float32)
    shares = np.empty((classes, 4), np.float32)
    found = 0
    for i in range(height):
        below = min(i + 1, height - 1)
        for j in range(width):
            beside = min(j + 1, width - 1)
            first = winner[i, j]
            if (
                first == winner[i, beside]
                and first == winner[below, j]
                and first == winner[below, beside]
            ):
                continue
            found += 1
            cell = (i, below, j, beside)
            count = _candidates(logits, maps, cell, candidates, corners, shares)
            _interpolate(
                (rows[3][i], rows[3][i + 1], columns[3][j], columns[3][j + 1]),
                (rows[2], columns[2]),
                (candidates, corners, shares, count),
                labels,
                confidence,
            )
    return found


@_part
def _candidates(
    logits: Array, maps: Array, cell: Any, candidates: Array, corners: Array, shares: Array
) -> int:
    """Gather the classes that can win somewhere in a cell, lowest id first, with their corners.

    A class cannot win whose greatest corner is under another class's smallest.
    """
    best, share = maps[1], maps[2]
    i, below, j, beside = cell
    bar = np.float32(-np.inf)
    for k in range(logits.shape[0]):
        smallest = min(
            min(logits[k, i, j], logits[k, i, beside]),
            min(logits[k, below, j], logits[k, below, beside]),
        )
        bar = max(bar, smallest)
    count = 0
    for k in range(logits.shape[0]):
        a, b = logits[k, i, j], logits[k, i, beside]
        c, d = logits[k, below, j], logits[k, below, beside]
        if max(max(a, b), max(c, d)) < bar:
            continue
        candidates[count] = k
        corners[count, 0], corners[count, 1] = a, b
        corners[count, 2], corners[count, 3] = c, d
        shares[count, 0] = _exp(a - best[i, j]) * share[i, j]
        shares[count, 1] = _exp(b - best[i, beside]) * share[i, beside]
        shares[count, 2] = _exp(c - best[below, j]) * share[below, j]
        shares[count, 3] = _exp(d - best[below, beside]) * share[below, beside]
        count += 1
    return count


@_part
def _interpolate(box: Any, weights: Any, classes: Any, labels: Array, confidence: Array) -> None:
    """Label the pixels of one cell; the order of operations is torch's."""
    candidates, corners, shares, count = classes
    one = np.float32(1.0)
    for y in range(box[0], box[1]):
        down = weights[0][y]
        up = one - down
        for x in range(box[2], box[3]):
            right = weights[1][x]
            left = one - right
            winner = 0
            greatest = np.float32(-np.inf)
            for n in range(count):
                value = (corners[n, 0] * left + corners[n, 1] * right) * up + (
                    corners[n, 2] * left + corners[n, 3] * right
                ) * down
                if value > greatest:
                    greatest = value
                    winner = n
            probability = (shares[winner, 0] * left + shares[winner, 1] * right) * up + (
                shares[winner, 2] * left + shares[winner, 3] * right
            ) * down
            labels[y, x] = candidates[winner]
            confidence[y, x] = np.uint8(
                np.int32(probability * np.float32(255.0) + np.float32(0.5))
            )
