"""The drive to look at: a side-by-side video and a contact sheet of chosen moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from adverse_perception.drawing import caption, colour, overlay, write_text
from adverse_perception.files import FileError, write_aside
from adverse_perception.frames import UInt8Array, Weather
from adverse_perception.labels import CLASSES
from demo.footage import DemoError, Size
from demo.record import Moment

PAPER = (250, 250, 250)
INK = (30, 30, 30)
FAINT = (205, 205, 205)
BAR = (70, 110, 180)
GAP = 6
"""Pixels between the pictures of a sheet."""
PANEL_WIDTH = 240
"""Width of one picture of a sheet, pixels."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def side_by_side(moment: Moment) -> UInt8Array:
    """Camera and overlay beside each other, the condition written on the latter.

    Returns:
        (H, 2 W, 3) uint8 RGB, even in both directions, as video needs it.
    """
    camera = write_text(moment.shot.image, f"{moment.time_s:5.1f} s{_true_weather(moment)}")
    pair = np.hstack([camera, write_text(_overlay(moment), _said(moment))])
    height, width = pair.shape[0] // 2 * 2, pair.shape[1] // 2 * 2
    return pair[:height, :width]


class Video:
    """An mp4 that is being written; every picture gets the size of the first."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        """Write to `path` at `rate_hz` pictures per second, from the first picture on."""
        self._path = path
        self._rate_hz = rate_hz
        self._writer: Any = None
        self._size = (0, 0)
        self._count = 0

    def add(self, picture: UInt8Array) -> None:
        """Append a (H, W, 3) uint8 RGB picture of even height and width."""
        if self._writer is None:
            self._size = picture.shape[1], picture.shape[0]
            self._writer = self._open()
        if picture.shape[1::-1] != self._size:
            picture = _resized(picture, self._size)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """Raise `FileError` unless the finished file holds every picture; OpenCV says nothing."""
        held = int(cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT))
        if held < self._count:
            raise FileError(
                f"cannot write a video in {self._path.parent}: it holds {max(held, 0)} of "
                f"{self._count} pictures; free space there, or choose another folder"
            )

    def _open(self) -> Any:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._path), code, self._rate_hz, self._size)
        if not writer.isOpened():
            raise DemoError(f"cannot write {self._path}: OpenCV has no mp4v encoder here")
        return writer


@contextmanager
def open_video(path: Path, rate_hz: float) -> Iterator[Video]:
    """Write a video that appears at `path`, complete, when the block ends well.

    Raises:
        DemoError: OpenCV cannot encode it.
        FileError: the file cannot be written.
    """
    with write_aside(path) as aside:
        video = Video(aside, rate_hz)
        try:
            yield video
        finally:
            video.close()
        video.check()


def choose(weathers: Sequence[Weather | None], count: int = 16) -> list[int]:
    """Choose frames for a sheet: spread evenly over every stretch of weather.

    Args:
        weathers: true condition of every frame; None where it is not known.
        count: number of frames wanted.

    Returns:
        Ascending frame numbers, at most `count` of them.
    """
    starts = [n for n in range(len(weathers)) if n == 0 or weathers[n] != weathers[n - 1]]
    ends = [*starts[1:], len(weathers)]
    each = max(1, count // max(1, len(starts)))
    middles = (np.arange(each) + 0.5) / each
    chosen = {
        int(start + (end - start) * share)
        for start, end in zip(starts, ends, strict=True)
        for share in middles
    }
    return sorted(chosen)[:count]


def contact_sheet(moments: Sequence[Moment], columns: int = 2) -> UInt8Array:
    """Lay moments out: camera, true colours, overlay, and what the node said of the weather.

    Args:
        moments: in the order they are to be read, down the first column first.
        columns: moments beside each other.

    Returns:
        (H, W, 3) uint8 RGB, with the colours of the classes below.
    """
    height = _panel_height(moments[0])
    rows = [_row(moment, height) for moment in moments]
    blank = np.full_like(rows[0], PAPER)
    per_column = -(-len(rows) // columns)
    rows += [blank] * (per_column * columns - len(rows))
    stacks = [
        np.vstack([_headings(blank.shape[1]), *rows[first : first + per_column]])
        for first in range(0, len(rows), per_column)
    ]
    sheet = np.hstack(stacks)
    return cast(UInt8Array, np.vstack([sheet, _legend(sheet.shape[1])]))


def _row(moment: Moment, height: int) -> UInt8Array:
    truth = moment.shot.labels
    pictures = (
        moment.shot.image,
        np.full_like(moment.shot.image, FAINT) if truth is None else colour(truth),
        _overlay(moment),
    )
    panels = [_framed(_resized(picture, (PANEL_WIDTH, height))) for picture in pictures]
    return cast(UInt8Array, np.hstack([*panels, _framed(_condition_panel(moment, height))]))


def _condition_panel(moment: Moment, height: int) -> UInt8Array:
    """The weather in words and every score as a bar: (height, PANEL_WIDTH, 3) uint8 RGB."""
    panel = np.full((height, PANEL_WIDTH, 3), PAPER, np.uint8)
    _write(panel, f"{moment.time_s:.1f} s{_true_weather(moment)}", (8, 22))
    _write(panel, f"seen: {_said(moment)}", (8, 44))
    scores = moment.condition.scores if moment.condition else {}
    for line, weather in enumerate(Weather):
        y = 58 + 20 * line
        _write(panel, weather.value, (8, y + 11), 0.4)
        cv2.rectangle(panel, (64, y), (PANEL_WIDTH - 8, y + 13), FAINT, cv2.FILLED)
        end = 64 + round(scores.get(weather, 0.0) * (PANEL_WIDTH - 72))
        cv2.rectangle(panel, (64, y), (end, y + 13), BAR, cv2.FILLED)
    if moment.engine:
        _write(panel, f"labelled by {moment.engine}", (8, 74 + 20 * len(Weather)), 0.4)
    return panel


def _headings(width: int) -> UInt8Array:
    strip = np.full((26, width, 3), PAPER, np.uint8)
    for number, title in enumerate(("camera", "truth", "overlay", "condition")):
        _write(strip, title, (number * (PANEL_WIDTH + GAP) + 8, 19))
    return strip


def _legend(width: int) -> UInt8Array:
    cell = width // len(CLASSES)
    strip = np.full((30, width, 3), PAPER, np.uint8)
    for number, label in enumerate(CLASSES):
        left = number * cell + 8
        cv2.rectangle(strip, (left, 8), (left + 16, 22), label.colour, cv2.FILLED)
        _write(strip, label.name, (left + 22, 20), 0.42)
    return strip


def _overlay(moment: Moment) -> UInt8Array:
    if moment.labels is None or moment.labels.shape != moment.shot.image.shape[:2]:
        return moment.shot.image // 3  # dropped: dark, and said so in words
    return overlay(moment.shot.image, moment.labels)


def _said(moment: Moment) -> str:
    if moment.labels is None:
        return "dropped"
    return caption(moment.condition) if moment.condition else "?"


def _true_weather(moment: Moment) -> str:
    return f"  {moment.shot.weather.value}" if moment.shot.weather else ""


def _panel_height(moment: Moment) -> int:
    height, width = moment.shot.image.shape[:2]
    # never lower than what stands beside the pictures
    return max(160, round(PANEL_WIDTH * int(height) / int(width)))


def _resized(picture: UInt8Array, size: Size) -> UInt8Array:
    return cast(UInt8Array, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _framed(picture: UInt8Array) -> UInt8Array:
    return cast(
        UInt8Array,
        cv2.copyMakeBorder(picture, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=PAPER),
    )


def _write(picture: UInt8Array, text: str, place: tuple[int, int], scale: float = 0.5) -> None:
    cv2.putText(picture, text, place, _FONT, scale, INK, 1, cv2.LINE_AA)
