"""What several ways make of the night, to look at rather than to score.

  python -m training.studies.night_sheet clear=engines/clear.onnx night=engines/night.onnx
      --out docs/images/night.jpg
  python -m training.studies.night_sheet night=engines/night.onnx --images street.jpg

A row for every picture, on drawn streets by night or on night pictures of your own: what the
camera sees, what each way labels, and the truth where it is known. Below, the classes' colours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.drawing import overlay, write_text
from adverse_perception.files import FileError, write_picture
from adverse_perception.frames import UInt8Array
from adverse_perception.inference import EngineError
from adverse_perception.labels import CLASSES
from training.studies.gallery import pictures
from training.studies.night_sets import DRIVES, drawn_night
from training.studies.night_ways import Way, ways_of
from training.studies.restorers import plain_parser
from training.studies.spearman import StudyError

_MOST = 6  # more do not fit a screen
_TILE = 320
_LEGEND = 24
_ROWS = 4


def sheet(
    ways: Sequence[Way], frames: Sequence[UInt8Array], truths: Sequence[UInt8Array] = ()
) -> UInt8Array:
    """A row for every picture: the camera's, one for every way, and the truth.

    Args:
        ways: what labels.
        frames: pictures of one size, (H, W, 3) uint8 RGB.
        truths: (H, W) uint8 labels of each, or nothing.

    Returns:
        (h, columns * 320, 3) uint8 RGB.
    """
    rows = []
    for number, image in enumerate(frames):
        tiles = {"camera": image}
        tiles |= {way.name: overlay(image, way.answer(image).labels) for way in ways}
        if truths:
            tiles["truth"] = overlay(image, truths[number])
        rows.append(np.hstack([write_text(_small(tile), name) for name, tile in tiles.items()]))
    return np.vstack([*rows, legend(rows[0].shape[1])])


def _small(tile: UInt8Array) -> UInt8Array:
    height = round(_TILE * tile.shape[0] / tile.shape[1])
    return np.asarray(cv2.resize(tile, (_TILE, height), interpolation=cv2.INTER_AREA), np.uint8)


def legend(width: int) -> UInt8Array:
    """The classes' colours with their names, in lines: (h, width, 3) uint8 RGB."""
    across = max(1, width // 160)
    lines = -(-len(CLASSES) // across)
    strip = np.zeros((lines * _LEGEND, width, 3), np.uint8)
    for number, entry in enumerate(CLASSES):
        line, place = divmod(number, across)
        left, right = (width * (place + end) // across for end in (0, 1))
        field = np.full((_LEGEND, right - left, 3), entry.colour, np.uint8)
        strip[line * _LEGEND : (line + 1) * _LEGEND, left:right] = write_text(field, entry.name)
    return strip


def drawn_frames(count: int = _ROWS) -> tuple[list[UInt8Array], list[UInt8Array]]:
    """Pictures and labels of drawn streets by night, each of another drive."""
    shown = [drawn_night(3 * number + 1, 3 * len(DRIVES)) for number in range(count)]
    return [image for image, _ in shown], [labels for _, labels in shown]


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("night_sheet", __doc__)
    parser.add_argument(
        "ways", nargs="+", metavar="NAME=PATH", help=f"up to {_MOST} engines or checkpoints"
    )
    parser.add_argument("--images", type=Path, nargs="+", help="night pictures of one size")
    parser.add_argument(
        "--out", type=Path, default=Path("night_sheet.jpg"), help="picture to write"
    )
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    arguments = arguments_of(given)
    try:
        if len(arguments.ways) > _MOST:
            raise StudyError(
                f"ways: expected at most {_MOST} in one sheet, found {len(arguments.ways)}; "
                "show some of them"
            )
        ways = ways_of(arguments.ways)
        frames, truths = (pictures(arguments.images), []) if arguments.images else drawn_frames()
        write_picture(arguments.out, sheet(ways, frames, truths))
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.night_sheet: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
