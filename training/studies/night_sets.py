"""Labelled frames of the night: CamVid's test frames darkened, its dusk, and drawn streets.

Seeds are fixed and never used in training. A frame is made when it is asked for and not kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from adverse_perception.frames import UInt8Array, Weather
from training.datasets import Pack, open_pack
from training.drive import Drive
from training.evaluate import weathered
from training.recipes import NOTICEABLE

Shown = tuple[UInt8Array, UInt8Array]
"""A picture (H, W, 3) uint8 RGB and its labels (H, W) uint8."""

STRENGTHS = (0.3, 0.6, 0.9)
NIGHTS = tuple(f"night {strength}" for strength in STRENGTHS)
"""CamVid's test split by night: the same frames at every strength."""
LOOKUP, DUSK, DRIVE, DAY = "lookup", "dusk", "drive", "day"
SAID = {
    NIGHTS[
        0
    ]: "CamVid's test frames turned to night at strength 0.3 (0 is dusk); a quarter of them"
    " were taken at dusk",
    NIGHTS[1]: "the same at 0.6",
    NIGHTS[2]: "the same at 0.9; 1 is an unlit road",
    LOOKUP: "the same by the paper's look-up table, 255 (in / 255)^(1 / 0.35)",
    DUSK: "CamVid's test frames at dusk, as they are",
    DRIVE: "drawn streets by night, with known lamps and exact labels",
    DAY: "CamVid's test frames by day, as they are",
}
"""What each set is."""
DRIVES = (101, 102, 103, 104, 105, 106, 107, 108)
"""Seeds of the drawn drives, a street and a night each; training does not use them."""
DRIVE_FRAMES = 64


@dataclass(frozen=True)
class FrameSet:
    """Labelled frames by number, 0 to `count` - 1."""

    name: str
    count: int
    load: Callable[[int], Shown]


def sets_of(data: Path, every: int = 1, drive_frames: int = DRIVE_FRAMES) -> list[FrameSet]:
    """Everything that the night is measured on.

    Args:
        data: folder that holds camvid/.
        every: only every so manieth of CamVid's frames.
        drive_frames: of all drawn drives together; 0 leaves them out.

    Raises:
        DatasetError: CamVid or one of its splits is missing.
    """
    test, dusk, day = (
        open_pack(data / "camvid", split) for split in ("test", "test_dusk", "test_day")
    )
    sets = [
        _of_pack(name, test, every, "night", (strength, strength))
        for name, strength in zip(NIGHTS, STRENGTHS, strict=True)
    ]
    sets.append(_of_pack(LOOKUP, test, every, "night_lookup"))
    sets.append(_of_pack(DUSK, dusk, every))
    if drive_frames > 0:
        sets.append(FrameSet(DRIVE, drive_frames, partial(drawn_night, count=drive_frames)))
    return [*sets, _of_pack(DAY, day, every)]


def _of_pack(
    name: str,
    pack: Pack,
    every: int,
    weather: str | None = None,
    strength: tuple[float, float] = NOTICEABLE,
) -> FrameSet:
    numbers = range(0, len(pack.pairs), every)

    def load(turn: int) -> Shown:
        image, labels = pack.load(numbers[turn])
        if weather is not None:
            image = weathered(image, weather, numbers[turn], strength)
        return image, labels

    return FrameSet(name, len(numbers), load)


def drawn_night(number: int, count: int) -> Shown:
    """One of `count` moments spread evenly over the drawn drives, by night.

    The renderer's labels are exact, and the night knows the street's lamps.
    """
    share, street = math.modf(number * len(DRIVES) / count)
    drive = _drive(DRIVES[int(street)])
    at_s = share * drive.seconds
    view = drive.street.render(at_s, 1.0)
    return drive.in_weather(Weather.NIGHT, view, at_s), view.labels


@lru_cache(maxsize=1)
def _drive(seed: int) -> Drive:
    return Drive.draw(seed)
