"""Lines over time, drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.files import write_bytes
from adverse_perception.frames import UInt8Array

_SIZE = (900, 220)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 34, 28
_PAPER, _INK, _FAINT = (250, 250, 250), (30, 30, 30), (215, 215, 215)
_COLOURS = ((170, 90, 40), (60, 60, 200))  # blue and red, as OpenCV orders them
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Panel:
    """Lines over the same times; the axis of values begins at 0."""

    title: str
    times_s: Sequence[float]
    lines: Sequence[Sequence[float]]


def write_plot(path: Path, panels: Sequence[Panel]) -> None:
    """Write panels below each other as a PNG. Raises `FileError`."""
    picture = np.vstack([_drawn(panel) for panel in panels])
    write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())


def _drawn(panel: Panel) -> UInt8Array:
    width, height = _SIZE
    picture = np.full((height, width, 3), _PAPER, np.uint8)
    top = 1.1 * max(max(line, default=0.0) for line in panel.lines) or 1.0
    end_s = max(panel.times_s)
    cv2.putText(picture, panel.title, (_LEFT, 22), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = _place(0, share)
        cv2.line(picture, (_LEFT, y), (width - _RIGHT, y), _FAINT)
        cv2.putText(picture, f"{share * top:.4g}", (8, y + 4), _FONT, 0.4, _INK, 1, cv2.LINE_AA)
        x, _ = _place(share, 0)
        told = f"{share * end_s:.0f} s"
        cv2.putText(picture, told, (x - 14, height - 9), _FONT, 0.4, _INK, 1, cv2.LINE_AA)
    for line, colour in zip(panel.lines, _COLOURS, strict=False):
        points = [
            _place(t / end_s, value / top) for t, value in zip(panel.times_s, line, strict=True)
        ]
        cv2.polylines(picture, [np.array(points, np.int32)], False, colour, 1, cv2.LINE_AA)
    return picture


def _place(across: float, up: float) -> tuple[int, int]:
    width, height = _SIZE
    x = _LEFT + across * (width - _LEFT - _RIGHT)
    y = height - _BOTTOM - up * (height - _TOP - _BOTTOM)
    return round(x), round(y)
