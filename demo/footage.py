"""What is played to the node: pictures in order, with the truth where somebody knows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, cast

import cv2

from adverse_perception.frames import UInt8Array, Weather
from adverse_perception.recordings import Source, SourceFrame
from adverse_perception.sources import open_source

Size = tuple[int, int]
"""Width and height in pixels."""


class DemoError(Exception):
    """The demonstration cannot go on; one line says why and what to do."""


@dataclass(frozen=True)
class Shot:
    """One picture to play.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 true class ids, 255 = ignore, where they are known.
        weather: the true condition, where it is known.
    """

    image: UInt8Array
    labels: UInt8Array | None = None
    weather: Weather | None = None


class Footage(Protocol):
    """Pictures that can be gone through more than once, in the same order each time."""

    name: str

    @property
    def unreadable(self) -> int:
        """Number of pictures that could not be read when it was gone through last."""
        ...

    def __len__(self) -> int:
        """Expected number of shots; may be an estimate for a video."""
        ...

    def __iter__(self) -> Iterator[Shot]:
        """Go through the shots from the start."""
        ...


class OwnFootage:
    """The user's bag, video or folder of images; of a bag with several cameras, the first."""

    def __init__(self, path: Path, rate_hz: float, limit: int | None, size: Size | None) -> None:
        """Open the recording.

        Args:
            path: bag, video, picture or folder of pictures.
            rate_hz: frames per second at which the pictures will be played.
            limit: number of pictures to take at most; None = all.
            size: width and height to resize to; None = as they are.

        Raises:
            SourceError: there is nothing at `path` that can be read.
        """
        self.name = str(path)
        self._source: Source = open_source(path, rate_hz)
        self._limit = limit
        self._size = size

    @property
    def unreadable(self) -> int:
        return self._source.drops.total

    def __len__(self) -> int:
        count = len(self._source)
        return count if self._limit is None else min(count, self._limit)

    def __iter__(self) -> Iterator[Shot]:
        return (self._shot(frame) for frame in islice(self._first_camera(), self._limit))

    def _first_camera(self) -> Iterator[SourceFrame]:
        camera = None
        for frame in self._source:
            camera = camera or frame.camera
            if frame.camera == camera:
                yield frame

    def _shot(self, frame: SourceFrame) -> Shot:
        image, labels = frame.image, frame.labels
        if self._size is not None:
            image = _resized(image, self._size, cv2.INTER_AREA)
            if labels is not None:
                labels = _resized(labels, self._size, cv2.INTER_NEAREST)
        return Shot(image, labels)


def _resized(picture: UInt8Array, size: Size, how: int) -> UInt8Array:
    return cast(UInt8Array, cv2.resize(picture, size, interpolation=how))
