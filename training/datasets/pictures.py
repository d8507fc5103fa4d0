"""Pictures and label images read from disk; what cannot be read is named."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image

from adverse_perception.frames import UInt8Array


class DatasetError(ValueError):
    """A data folder is missing or laid out otherwise than expected."""


class BrokenPicture(DatasetError):
    """One file of a data set is missing or damaged; the others may well be whole."""


def read_image(path: Path) -> UInt8Array:
    """(H, W, 3) uint8 RGB. Raises `BrokenPicture`."""
    return np.asarray(cv2.cvtColor(read_raw(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def read_labels(path: Path) -> UInt8Array:
    """The ids of a label PNG as they are on disk, of one with a palette its indices.

    Returns (H, W) uint8 where the file is what it should be; the caller checks.

    Raises:
        BrokenPicture: the file is missing or cannot be decoded.
    """
    ids = read_raw(path, cv2.IMREAD_UNCHANGED)
    if ids.ndim == 3:  # OpenCV paints what has a palette
        with Image.open(path) as picture:
            if picture.mode == "P":
                return np.asarray(picture, np.uint8)
    return ids


def read_raw(path: Path, flags: int) -> UInt8Array:
    """What OpenCV makes of a file. Raises `BrokenPicture`."""
    if not path.is_file():
        raise BrokenPicture(
            f"{path}: expected a picture, found no file; copy it or take its line from the split"
        )
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise BrokenPicture(
            f"{path}: expected a picture, found a file that cannot be decoded; copy it anew"
        )
    return cast(UInt8Array, picture)
