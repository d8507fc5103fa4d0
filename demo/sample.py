"""The sample drive, drawn once and kept: second runs start in seconds."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from tqdm import tqdm

from adverse_perception import labels
from adverse_perception.files import folder_aside
from adverse_perception.frames import UInt8Array, Weather
from demo.footage import Shot, Size
from training import drive, street, synthesis
from training.drive import Drive

KEPT = 2
"""Rendered drives kept in the cache; one of 40 s at 480x360 takes 400 MB."""
FILES = {"images": (3,), "labels": ()}
"""Arrays of a rendered drive, and what follows frame, height and width in their shapes."""
_MARKER = "drive.json"


@dataclass(frozen=True)
class DriveRequest:
    """Which drive: everything that decides what it looks like, beside the renderer's source."""

    seed: int = 0
    seconds: float = 40.0
    rate_hz: float = 15.0
    size: Size = (480, 360)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return max(1, round(self.seconds * self.rate_hz))


class SampleDrive:
    """The drawn drive, read from the cache without taking it into memory."""

    unreadable = 0

    def __init__(self, folder: Path) -> None:
        """Open what `open_drive` has put into `folder`."""
        self.name = "sample drive"
        record = json.loads((folder / _MARKER).read_text())
        self._weathers = [Weather(word) for word in record["weathers"]]
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        self._labels = np.load(folder / "labels.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._weathers)

    def __iter__(self) -> Iterator[Shot]:
        return map(Shot, self._images, self._labels, self._weathers)


def open_drive(request: DriveRequest, cache: Path) -> SampleDrive:
    """Open the drive, drawing it first when the cache does not hold this very one.

    Args:
        request: which drive.
        cache: folder for drawn drives.

    Raises:
        FileError: the cache cannot be written.
    """
    folder = cache / f"drive-{_key(request)}"
    if not (folder / _MARKER).is_file():
        with folder_aside(folder, _MARKER) as aside:
            aside.mkdir()
            _render(request, aside)
        _forget_oldest(cache)
    (folder / _MARKER).touch()  # used last, forgotten last
    return SampleDrive(folder)


def _render(request: DriveRequest, folder: Path) -> None:
    width, height = request.size
    shape = (request.frames, height, width)
    for name, channels in FILES.items():
        path = folder / f"{name}.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (*shape, *channels))
    draw = partial(_draw, request, folder)
    workers = min(2, os.cpu_count() or 1, request.frames)
    context = multiprocessing.get_context("spawn")
    with _without_interrupt():  # Ctrl-C is for this process, which then ends the pool
        pool = context.Pool(workers, cv2.setNumThreads, (1,))
    with pool:
        drawn = pool.imap(draw, range(request.frames), chunksize=4)
        bar = tqdm(drawn, "drawing the drive", request.frames, unit="frame", leave=False)
        weathers = list(bar)
    record = {**asdict(request), "weathers": weathers}
    (folder / _MARKER).write_text(json.dumps(record) + "\n")


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Processes started inside ignore SIGINT from their first instruction on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _draw(request: DriveRequest, folder: Path, number: int) -> str:
    """Draw one frame into the files; returns its weather."""
    road, images, truth = _opened(request, folder)
    frame = road.frame(number / request.rate_hz, 1 / request.rate_hz)
    images[number], truth[number] = frame.image, frame.labels
    return frame.weather.value


@cache
def _opened(request: DriveRequest, folder: Path) -> tuple[Drive, UInt8Array, UInt8Array]:
    """What a worker needs for every frame, made once in each."""
    images, truth = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in FILES)
    return Drive.draw(request.seed, request.size, request.seconds), images, truth


def _key(request: DriveRequest) -> str:
    """Changes with the request and with every line of source that draws."""
    digest = hashlib.sha256(json.dumps(asdict(request)).encode())
    for module in (drive, street, synthesis, labels):
        for path in _sources(Path(cast(str, module.__file__))):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(path: Path) -> list[Path]:
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def _forget_oldest(cache: Path) -> None:
    drives = sorted(cache.glob(f"drive-*/{_MARKER}"), key=lambda path: path.stat().st_mtime)
    for marker in drives[:-KEPT]:
        shutil.rmtree(marker.parent, ignore_errors=True)
