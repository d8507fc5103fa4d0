"""Writing so that a name never stands for half a file: aside first, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2

from adverse_perception.frames import UInt8Array


class FileError(Exception):
    """Something could not be written; what was there before is untouched."""


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Give a name to write to; `path` appears, complete, when the block ends well.

    Missing folders are made. The name given has the suffix of `path`, lies in the same folder and
    is gone after a failure; a file that was at `path` before then stays as it was.

    Raises:
        FileError: the folder cannot be made, or the file cannot be written (full disk, ...).
    """
    path = Path(path)
    aside: Path | None = None
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}.", path.parent)
            os.close(handle)
            aside = Path(name)
            yield aside
            aside.chmod(0o666 & ~_umask())
            aside.replace(path)
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_aside(path: Path, marker: str) -> Iterator[Path]:
    """Give a folder name (not yet made) to fill; it becomes `path` when the block ends well.

    Args:
        path: the folder to make; one that is already there is replaced at the very end, but only
            when it is empty or holds a file named `marker`.
        marker: file by which a folder is known to be the product of an earlier run.

    Raises:
        FileError: something else is at `path`, or the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not _replaceable(path, marker):
        raise FileError(
            f"{path} is there already and was not written by this command: choose another folder"
        )
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp("", f".{path.name}.", path.parent))
    try:
        yield workshop / path.name
        with explained(path):
            if path.exists():
                path.rename(workshop / "previous")
            (workshop / path.name).rename(path)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing. Raises `FileError`."""
    with write_aside(path) as aside:
        aside.write_bytes(data)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write an indented JSON file or nothing. Raises `FileError`."""
    write_bytes(path, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())


def write_labels(path: Path, labels: UInt8Array) -> None:
    """Write (H, W) uint8 class ids as a lossless one-channel PNG. Raises `FileError`."""
    write_bytes(path, _encoded(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1]))


def write_picture(path: Path, picture: UInt8Array) -> None:
    """Write a (H, W, 3) uint8 RGB picture, PNG or JPEG by the suffix. Raises `FileError`."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix.lower() != ".png" else []
    write_bytes(path, _encoded(path.suffix, bgr, quality))


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about writing `path` into a `FileError` with the way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(
            f"cannot write {path}: {reason}; free space or permissions there, "
            "or choose another folder"
        ) from error


def _encoded(suffix: str, picture: Any, options: list[int]) -> bytes:
    ok, data = cv2.imencode(suffix, picture, options)
    if not ok:
        raise FileError(f"cannot encode a picture as {suffix}: expected .png or .jpg")
    return bytes(data)


def _replaceable(path: Path, marker: str) -> bool:
    return path.is_dir() and ((path / marker).is_file() or not any(path.iterdir()))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
