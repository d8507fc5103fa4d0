"""Small recordings that tests make for themselves."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.bag_writer import write_bag
from adverse_perception.bags import BagFrame
from adverse_perception.frames import UInt8Array
from adverse_perception.recordings import SourceFrame

HEIGHT, WIDTH = 48, 64
START_NS = 1_700_000_000_123_456_789


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> UInt8Array:
    """Blurred noise with a colour of its own: (height, width, 3) uint8 RGB."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


def source_frame(number: int, camera: str = "front") -> SourceFrame:
    """Frame `number` of a 10 Hz camera, logged 5 ms after its stamp."""
    stamp_ns = START_NS + number * 100_000_000
    return SourceFrame(
        picture(number),
        stamp_ns,
        f"{camera}/{stamp_ns}",
        None,
        camera,
        f"{camera}_optical",
        stamp_ns + 5_000_000,
    )


def write_drive(
    path: Path,
    storage: str = "mcap",
    frames: int = 4,
    cameras: tuple[str, ...] = ("front",),
    broken: tuple[int, ...] = (),
) -> Path:
    """Write a bag of camera pictures; messages with a number in `broken` are garbage."""
    with write_bag(path, storage) as bag:
        for number in range(frames):
            for camera in cameras:
                frame = source_frame(number, camera)
                topic = f"/{camera}/image_raw"
                if number in broken:
                    garbage = BagFrame(
                        **vars(frame), topic=topic, serialized=b"\x00\x01\x00\x00garbage"
                    )
                    bag.copy(garbage)
                else:
                    bag.image(topic, frame.image, frame)
    return path


def storage_file(bag: Path) -> Path:
    """The one storage file of a bag folder."""
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


def truncate(file: Path, share: float) -> None:
    """Cut a file off after a share of its bytes."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to make any file longer than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def everything_in(folder: Path) -> list[str]:
    """Relative paths of all files below a folder, hidden ones too."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
