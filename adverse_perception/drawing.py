"""Labels made visible: colours, the overlay, the condition written on a picture."""

from __future__ import annotations

from functools import cache
from typing import cast

import cv2
import numpy as np

from adverse_perception.frames import Condition, UInt8Array
from adverse_perception.labels import UNLABELLED, palette

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour(labels: UInt8Array) -> UInt8Array:
    """Paint every label in its class's colour.

    Args:
        labels: (H, W) uint8 class ids.

    Returns:
        (H, W, 3) uint8 RGB; ids without a class are black.
    """
    # 2 ms at 1920x1080, where palette[labels] takes 23 and np.take 7; the order of the channels is
    # that of the table given, RGB here.
    return cast(UInt8Array, cv2.applyColorMap(np.ascontiguousarray(labels), _table()))


def overlay(image: UInt8Array, labels: UInt8Array, opacity: float = 0.5) -> UInt8Array:
    """Lay the colours of the labels over the picture; unlabelled pixels show the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        opacity: share of the label's colour, 0 to 1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    blended = cv2.addWeighted(colour(labels), opacity, image, 1.0 - opacity, 0.0)
    unlabelled = cv2.threshold(labels, UNLABELLED - 1, 255, cv2.THRESH_BINARY)[1]
    if cv2.countNonZero(unlabelled):
        cv2.copyTo(image, unlabelled, blended)
    return cast(UInt8Array, blended)


def caption(condition: Condition) -> str:
    """Say the condition in a line: `rain 0.93`, `night (set)`."""
    if condition.forced:
        return f"{condition.weather.value} (set)"
    score = condition.scores.get(condition.weather)
    return condition.weather.value if score is None else f"{condition.weather.value} {score:.2f}"


def write_text(picture: UInt8Array, text: str, line: int = 0) -> UInt8Array:
    """Return a copy of the picture with a line of text at its top left.

    Args:
        picture: (H, W, 3) uint8 RGB.
        text: ASCII.
        line: 0 is the topmost line.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    written = picture.copy()
    scale = max(picture.shape[0] / 720.0, 0.35)
    thickness = max(1, round(2 * scale))
    (width, height), base = cv2.getTextSize(text, _FONT, scale, thickness)
    left, top = height // 2, height // 2 + line * 2 * height
    # a dark plate keeps the text readable on sky and in the night alike
    plate = written[top : top + height + 2 * base, left : left + width + 2 * base]
    plate //= 3
    cv2.putText(
        written, text, (left + base, top + height + base // 2), _FONT, scale, (255, 255, 255),
        thickness, cv2.LINE_AA,
    )  # fmt: skip
    return written


@cache
def _table() -> UInt8Array:
    return palette().reshape(256, 1, 3)
