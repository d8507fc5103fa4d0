"""The exact sparse twin for the CPU, compiled by numba when first used, then cached on disk.

A bilinear value is a convex mix of its four corners. In a cell of the coarse grid whose four
corners agree on the class, no pixel can have another: it needs no interpolation, and its
confidence is the mix of the corners' greatest probabilities. Only the cells that disagree, an
eighth on streets, are interpolated, and there only the classes that can win.

Two sets of logits blended by distortion are a convex mix too: a cell in which both sets agree,
with themselves and with each other, needs no interpolation either. `planes` is therefore a tuple
of one set, (logits,), or of two, (warped, correction), and the code is compiled for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adverse_perception.kernels.compiling import Array, compiled, inlined, part

_FLOOR = np.float32(-24.0)
"""Logits further than this below the greatest weigh nothing in an 8-bit probability."""

_NOBODY = 255
"""Stands for the winner where the two sets of logits have different ones; no class has this id."""

_BEST, _SHARE, _DISTORTION = 0, 1, 2
"""Planes of what is known in every point of the grid: the greatest logit after blending, its
softmax probability, and the share of the second set (not looked at where there is only one)."""


@compiled
def summarise(planes: Array, winner: Array, known: Array) -> None:
    """Winner, its logit and its probability in every point of the coarse grid.

    Args:
        planes: one or two sets of logits, (K, h, w) float32 each.
        winner: (h, w) uint8, filled with the class of the greatest logit, 255 where two sets
            have different ones.
        known: (3, h, w) float32, the distortion given, the rest filled.
    """
    best, share, distortion = known[_BEST], known[_SHARE], known[_DISTORTION]
    classes, height, width = planes[0].shape
    blend = np.empty((classes, 1, width), np.float32)
    other = np.empty(width, np.uint8)
    for i in range(height):
        _strongest(planes[0], i, winner[i], best[i])
        if len(planes) == 1:
            _probability(planes[0], i, best[i], share[i])
        else:
            _strongest(planes[-1], i, other, best[i])
            for j in range(width):
                winner[i, j] = winner[i, j] if winner[i, j] == other[j] else _NOBODY
            _blend(planes, i, distortion[i], blend)
            _strongest(blend, 0, other, best[i])
            _probability(blend, 0, best[i], share[i])


@part
def _blend(planes: Array, i: int, distortion: Array, blend: Array) -> None:
    """Blend a row of the grid."""
    warped, correction = planes[0], planes[-1]
    for k in range(len(blend)):
        for j in range(len(distortion)):
            blend[k, 0, j] = _mix(warped[k, i, j], correction[k, i, j], distortion[j])


@part
def _strongest(logits: Array, i: int, winner: Array, best: Array) -> None:
    """Class of the greatest logit at every point of a row, the lowest of equals, and the logit."""
    number = np.zeros(len(best), np.int32)
    for j in range(len(best)):
        best[j] = logits[0, i, j]
    for k in range(1, len(logits)):
        row = logits[k, i]
        for j in range(len(best)):
            greater = row[j] > best[j]
            number[j] = np.int32(k) if greater else number[j]
            best[j] = row[j] if greater else best[j]
    for j in range(len(best)):
        winner[j] = number[j]


@part
def _probability(logits: Array, i: int, best: Array, share: Array) -> None:
    """Softmax probability of the greatest logit at every point of a row."""
    for j in range(len(best)):
        share[j] = 0.0
    for k in range(len(logits)):
        row = logits[k, i]
        for j in range(len(best)):
            share[j] += _exp(row[j] - best[j])
    for j in range(len(best)):
        share[j] = np.float32(1.0) / share[j]


@inlined
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


@inlined
def _mix(a: Any, b: Any, share: Any) -> Any:
    """Go from a to b by a share."""
    return a * (np.float32(1.0) - share) + b * share


@compiled
def fill(
    winner: Array, share: Array, rows: Array, columns: Array, labels: Array, confidence: Array
) -> None:
    """Label every pixel as if the four corners of every cell agreed.

    Args:
        winner: of `summarise`.
        share: probability of the winner, (h, w) float32 of `summarise`.
        rows: lower, upper (intp) and share (float32) for every picture row.
        columns: the same for every picture column.
        labels: (H, W) uint8, filled.
        confidence: (H, W) uint8, filled.
    """
    top, bottom, weight_y, _ = rows
    left, right, weight_x, _ = columns
    height, width = labels.shape
    coarse = share.shape[0]
    wide = np.empty((coarse, width), np.float32)
    for i in range(coarse):
        for x in range(width):
            certain = _mix(share[i, left[x]], share[i, right[x]], weight_x[x])
            wide[i, x] = np.float32(255.0) * certain
    for y in range(height):
        i = top[y]
        upper, lower, weight = wide[i], wide[bottom[y]], weight_y[y]
        for x in range(width):
            value = upper[x] + (lower[x] - upper[x]) * weight + np.float32(0.5)
            confidence[y, x] = np.uint8(np.int32(value))
        if y > 0 and top[y - 1] == i:
            labels[y] = labels[y - 1]
        else:
            for x in range(width):
                labels[y, x] = winner[i, left[x]]


@compiled
def correct(
    planes: Array, maps: Array, rows: Array, columns: Array, labels: Array, confidence: Array
) -> int:
    """Interpolate the cells whose corners disagree; the number of them is returned.

    Args:
        planes: one or two sets of logits, (K, h, w) float32 each.
        maps: (winner, known) of `summarise`.
        rows: as for `fill`, and the first picture row of every cell, (h + 1,) intp.
        columns: as for `fill`, and the first picture column of every cell, (w + 1,) intp.
        labels: (H, W) uint8 of `fill`, corrected.
        confidence: (H, W) uint8 of `fill`, corrected.
    """
    # Taken out of their tuples once: numba counts references each time, which costs as much as
    # the work on a cell.
    winner, known = maps
    first_row, first_column = rows[3], columns[3]
    number, height, width = planes[0].shape
    reach = np.empty(number, np.float32)
    candidates = np.zeros(number, np.intp)
    # a cell's candidates: logits of the one set or the two, probabilities; then the distortion
    corners = np.zeros((len(planes) + 2, number, 4), np.float32)
    # the same along the upper and the lower edge of a cell
    edges = np.empty((2, len(planes) + 2, number, np.diff(first_column).max()), np.float32)
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
                and first != _NOBODY
            ):
                continue
            found += 1
            cell = (i, below, j, beside)
            bar = _reach(planes, known, cell, reach)
            count = _gather(planes, known, cell, (reach, bar), candidates, corners)
            box = (first_row[i], first_row[i + 1], first_column[j], first_column[j + 1])
            if count == 1:  # it has all four corners: its confidence is filled in already
                labels[box[0] : box[1], box[2] : box[3]] = candidates[0]
            else:
                _cross(box, columns[2], corners[:, :count], edges)
                _interpolate(box, rows[2], candidates[:count], edges, labels, confidence)
    return found


@part
def _reach(planes: Array, known: Array, cell: Any, reach: Array) -> Any:
    """Find the greatest logit of every class in a cell; the greatest smallest is returned.

    The blend is linear in the distortion and convex in the corners, so both are found at a corner
    with the cell's least or greatest distortion.
    """
    warped, correction = planes[0], planes[-1]
    i, below, j, beside = cell
    least = most = np.float32(0.0)
    if len(planes) == 2:
        a, b = known[_DISTORTION, i, j], known[_DISTORTION, i, beside]
        c, d = known[_DISTORTION, below, j], known[_DISTORTION, below, beside]
        least, most = _span(a, b, c, d)
    bar = np.float32(-np.inf)
    for k in range(len(reach)):
        a, b = warped[k, i, j], warped[k, i, beside]
        c, d = warped[k, below, j], warped[k, below, beside]
        low, high = _span(a, b, c, d)
        if len(planes) == 2:
            e, f = correction[k, i, j], correction[k, i, beside]
            g, h = correction[k, below, j], correction[k, below, beside]
            lows = _span(
                _mix(a, e, least), _mix(b, f, least), _mix(c, g, least), _mix(d, h, least)
            )
            highs = _span(_mix(a, e, most), _mix(b, f, most), _mix(c, g, most), _mix(d, h, most))
            low, high = min(lows[0], highs[0]), max(lows[1], highs[1])
        reach[k] = high
        bar = max(bar, low)
    return bar


@inlined
def _span(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Least and greatest of four."""
    return min(min(a, b), min(c, d)), max(max(a, b), max(c, d))


@part
def _gather(
    planes: Array, known: Array, cell: Any, reach: Any, candidates: Array, corners: Array
) -> int:
    """Gather the classes that can win somewhere in a cell, lowest id first, with their corners.

    A class cannot win whose greatest logit is under another class's smallest.
    """
    warped, correction = planes[0], planes[-1]
    reach, bar = reach
    count = 0
    for k in range(len(candidates)):
        if reach[k] < bar:
            continue
        candidates[count] = k
        for n in range(4):
            i, j = cell[n // 2], cell[2 + n % 2]
            value = corners[0, count, n] = warped[k, i, j]
            if len(planes) == 2:
                corners[1, count, n] = correction[k, i, j]
                value = _mix(value, correction[k, i, j], known[_DISTORTION, i, j])
                corners[-1, 0, n] = known[_DISTORTION, i, j]
            corners[-2, count, n] = _exp(value - known[_BEST, i, j]) * known[_SHARE, i, j]
        count += 1
    return max(count, 1)  # logits that are not numbers still name a class


@part
def _cross(box: Any, weight_x: Array, corners: Array, edges: Array) -> None:
    """Interpolate along the upper and the lower edge of a cell: the same for all of its rows."""
    for m in range(len(corners)):
        for n in range(corners.shape[1] if m < len(corners) - 1 else 1):  # one distortion
            a, b, c, d = corners[m, n, 0], corners[m, n, 1], corners[m, n, 2], corners[m, n, 3]
            for x in range(box[3] - box[2]):
                right = weight_x[box[2] + x]
                edges[0, m, n, x] = _mix(a, b, right)
                edges[1, m, n, x] = _mix(c, d, right)


@part
def _interpolate(
    box: Any, weight_y: Array, candidates: Array, edges: Array, labels: Array, confidence: Array
) -> None:
    """Label the pixels of one cell; the order of operations is torch's."""
    above, under = edges[0], edges[1]
    for y in range(box[0], box[1]):
        down = weight_y[y]
        for x in range(box[3] - box[2]):
            damage = _mix(above[-1, 0, x], under[-1, 0, x], down)
            winner = 0
            greatest = np.float32(-np.inf)
            for n in range(len(candidates)):
                value = _mix(above[0, n, x], under[0, n, x], down)
                if len(above) == 4:
                    value = _mix(value, _mix(above[1, n, x], under[1, n, x], down), damage)
                better = value > greatest
                greatest = value if better else greatest
                winner = n if better else winner
            certain = _mix(above[-2, winner, x], under[-2, winner, x], down)
            labels[y, box[2] + x] = candidates[winner]
            confidence[y, box[2] + x] = np.uint8(
                np.int32(certain * np.float32(255.0) + np.float32(0.5))
            )
