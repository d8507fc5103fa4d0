"""Pictures from wherever they are: image files, folders of images, videos, bags."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from adverse_perception import bags, messages
from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.recordings import (
    Drops,
    Source,
    SourceError,
    SourceFrame,
    true_labels,
)

__all__ = ["Pictures", "Source", "SourceError", "SourceFrame", "Video", "open_source"]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})

# read once, when OpenCV first touches a video: what is wrong is said by our error, not on stderr
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def open_source(path: str | Path, rate_hz: float = 15.0) -> Source:
    """Open a bag, a video, a picture or a folder of pictures for reading frame by frame.

    Args:
        path: bag folder, .mcap or .db3 file, video file, picture, or folder of pictures (searched
            with its subfolders, in order of their names).
        rate_hz: rate at which pictures without a time of their own are said to be taken.

    Raises:
        SourceError: there is nothing at `path` that can be read; says what was expected.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist: expected a picture, a folder, a video or a bag")
    if bags.is_bag(path):
        return bags.Bag(path)
    if path.is_dir():
        return Pictures.below(path, rate_hz)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return Pictures(path, [path], path.parent, rate_hz)
    return Video(path)


class Pictures:
    """Image files in the order of their names, with the labels that lie beside them."""

    continuous = False

    def __init__(
        self, path: Path, files: Sequence[Path], root: Path, rate_hz: float = 15.0
    ) -> None:
        """Take `files` below `root`; a frame is named by its path from `root` without suffix."""
        self.name = str(path)
        self.rate_hz = rate_hz
        self.drops = Drops()
        self._files = files
        self._root = root

    @classmethod
    def below(cls, folder: Path, rate_hz: float = 15.0) -> Pictures:
        """Find the pictures below a folder; label pictures are not taken for camera pictures.

        Raises:
            SourceError: there are none.
        """
        root = folder / "images" if (folder / "images").is_dir() else folder
        files = sorted(file for file in root.rglob("*") if _is_picture(file, root))
        if not files:
            raise SourceError(
                f"{folder} holds no pictures: expected {', '.join(sorted(PICTURE_SUFFIXES))} "
                "files or a bag (metadata.yaml, .mcap, .db3) in it"
            )
        return cls(folder, files, root, rate_hz)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[SourceFrame]:
        self.drops = Drops()
        for number, file in enumerate(self._files):
            try:
                image = read_picture(file)
                labels = read_labels_beside(file, image)
            except SourceError as error:
                self.drops.add("unreadable", str(error))
                continue
            name = file.relative_to(self._root).with_suffix("").as_posix()
            yield SourceFrame(image, round(number * 1e9 / self.rate_hz), name, labels)


class Video:
    """A video file, frame by frame."""

    continuous = True

    def __init__(self, path: Path) -> None:
        """Open the file once to see that it is a video. Raises `SourceError`."""
        self.name = str(path)
        self.drops = Drops()
        self._path = path
        capture = self._open()
        self.rate_hz = float(capture.get(cv2.CAP_PROP_FPS)) or 15.0
        self._count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SourceFrame]:
        self.drops = Drops()
        capture = self._open()
        try:
            number = 0
            while (picture := capture.read())[0]:
                image = cv2.cvtColor(picture[1], cv2.COLOR_BGR2RGB)
                stamp_ns = round(number * 1e9 / self.rate_hz)
                yield SourceFrame(
                    cast(UInt8Array, image), stamp_ns, f"{self._path.stem}/{number:06d}"
                )
                number += 1
        finally:
            capture.release()

    def _open(self) -> Any:
        with _quiet():
            capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(
                f"{self._path} is neither a video nor a picture that can be read: expected one of "
                f"{', '.join(sorted(VIDEO_SUFFIXES | PICTURE_SUFFIXES))}, not truncated"
            )
        return capture


def read_picture(path: Path) -> UInt8Array:
    """Read a picture file.

    Returns:
        (H, W, 3) uint8 RGB, whatever depth and channels the file has, in the sensor's orientation.

    Raises:
        SourceError: the file cannot be read, is no picture, or is cut off.
    """
    try:
        return messages.decode(_Encoded(path.suffix, _bytes(path), None))
    except messages.MessageError as error:
        raise SourceError(f"{path} is not a whole picture: {error}; replace the file") from error


def read_labels_beside(path: Path, image: UInt8Array) -> UInt8Array | None:
    """Read the label picture that belongs to a camera picture, where there is one.

    Looked for: the same path with the folder `images` replaced by `labels` (the layout of the
    data packs), then the same name in a folder `labels` beside or in the picture's folder.

    Returns:
        (H, W) uint8 class ids, 255 = ignore; None without a label file, or when a `classes.json`
        above it says that its ids are not this package's classes.

    Raises:
        SourceError: there is a label file and it does not fit the picture or the classes.
    """
    beside = next((file for file in _label_places(path) if file.is_file()), None)
    if beside is None or not _has_our_classes(beside.parent):
        return None
    return true_labels(_label_ids(beside), image, str(beside))


def _is_picture(file: Path, root: Path) -> bool:
    parents = file.relative_to(root).parts[:-1]
    return (
        file.suffix.lower() in PICTURE_SUFFIXES
        and "labels" not in parents
        and not any(part.startswith(".") for part in (*parents, file.name))
        and file.is_file()
    )


def _label_places(path: Path) -> Iterator[Path]:
    path = path.absolute()
    folders = path.parts[:-1]
    name = f"{path.stem}.png"
    for place in reversed([at for at, folder in enumerate(folders) if folder == "images"]):
        yield Path(*folders[:place], "labels", *folders[place + 1 :], name)
    yield path.parent.parent / "labels" / name
    yield path.parent / "labels" / name


def _has_our_classes(folder: Path) -> bool:
    for place in (folder, *folder.parents[:3]):
        if (table := place / "classes.json").is_file():
            names = [entry["name"] for entry in json.loads(table.read_text())["classes"]]
            return names == list(CLASS_NAMES)
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """As above, for what OpenCV itself says about a file it cannot open."""
    # up to 4.5 only the first is there, from 5 on only the second; both return the old level
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    level = set_level(0)
    try:
        yield
    finally:
        set_level(level)


@dataclass
class _Encoded:
    """A picture file seen as a CompressedImage."""

    format: str
    data: Any
    header: Any


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error


def _label_ids(path: Path) -> Any:
    data = np.frombuffer(_bytes(path), np.uint8)
    # decoding by hand: cv2.imread prints its own warnings and hides why it failed
    ids = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if ids is None:
        raise SourceError(f"{path} is not a label picture: expected a one-channel 8-bit PNG")
    return ids
