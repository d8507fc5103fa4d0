"""The nouns of recorded pictures: a frame of a recording, and the frames nobody could use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from adverse_perception.frames import Frame, UInt8Array
from adverse_perception.labels import CLASS_NAMES, CLASSES, UNLABELLED


class SourceError(Exception):
    """A recording cannot be read at all, or nothing in it can be used."""


@dataclass(frozen=True)
class SourceFrame:
    """One picture of a recording.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        stamp_ns: acquisition time in nanoseconds (header stamp, time in the video).
        name: what to call results of it, a relative path without suffix.
        labels: (H, W) uint8 true class ids, 255 = ignore, where the recording has them.
        camera: name of the camera; pictures of one camera are in order.
        frame_id: the camera's coordinate frame, from the message header.
        logged_ns: when the recorder wrote it (bags only).
    """

    image: UInt8Array
    stamp_ns: int
    name: str
    labels: UInt8Array | None = None
    camera: str = "camera"
    frame_id: str = ""
    logged_ns: int = 0

    @property
    def frame(self) -> Frame:
        """The picture as the pipeline takes it."""
        return Frame(self.image, self.stamp_ns, self.camera)


@dataclass
class Drops:
    """Frames that could not be used: how many by cause, and the first message of each cause."""

    counts: Counter[str] = field(default_factory=Counter)
    messages: dict[str, str] = field(default_factory=dict)

    def add(self, cause: str, message: str) -> None:
        """Count one frame lost for a `cause` (one word); `message` says which one and why."""
        self.counts[cause] += 1
        self.messages.setdefault(cause, message)

    @property
    def total(self) -> int:
        """Number of frames lost."""
        return sum(self.counts.values())


class Source(Protocol):
    """A recording. Iterating it yields every readable frame; the others go to `drops`.

    Attributes:
        name: the path it was opened from.
        continuous: frames follow each other in time (video, bag), so memory of a camera helps.
        rate_hz: nominal rate of one camera.
        drops: what could not be read in the latest iteration.
    """

    name: str
    continuous: bool
    rate_hz: float
    drops: Drops

    def __len__(self) -> int:
        """Expected number of frames; may be an estimate for a video."""
        ...

    def __iter__(self) -> Iterator[SourceFrame]:
        """Read from the start, frame by frame, never the whole recording into memory."""
        ...


def true_labels(labels: Any, image: UInt8Array, where: str) -> UInt8Array:
    """Let an array pass as the true labels of a picture, or say why it cannot be them.

    Args:
        labels: any array; good ones are (H, W) uint8 class ids, 255 = ignore.
        image: (H, W, 3) uint8 RGB they belong to.
        where: file or topic they come from.

    Raises:
        SourceError: wrong type, size or class ids.
    """
    if labels.dtype != np.uint8 or labels.shape != image.shape[:2]:
        raise SourceError(
            f"{where} does not fit its picture: expected one 8-bit channel of "
            f"{image.shape[1]}x{image.shape[0]}, found {labels.dtype} of shape {labels.shape}"
        )
    highest = int(np.max(labels, where=labels != UNLABELLED, initial=0))
    if highest >= len(CLASSES):
        raise SourceError(
            f"{where} holds class id {highest}: expected 0 to {len(CLASSES) - 1} "
            f"({CLASS_NAMES[0]} to {CLASS_NAMES[-1]}) and {UNLABELLED}; map its classes first"
        )
    return cast(UInt8Array, labels)
