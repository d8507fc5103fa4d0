"""What a joint engine makes of drawn weather, to look at rather than to score.

  python -m training.studies.gallery --out docs/images/restored.jpg
  python -m training.studies.gallery --images street.jpg --out sheet.jpg

A row for every weather, on drawn streets or on pictures of your own: as the camera sees it, what
the engine restores, what it labels, and the scene without the weather.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adverse_perception.drawing import overlay, write_text
from adverse_perception.files import FileError, write_picture
from adverse_perception.frames import Condition, Frame, UInt8Array, Weather
from adverse_perception.inference import EngineError, load_engine
from adverse_perception.segmenters import JointSegmenter, Segmenter
from training.datasets import DatasetError, read_image
from training.studies.restorers import plain_parser
from training.studies.scoreboard import drive_frames
from training.trials import OWN, trial_of


def sheet(segmenter: Segmenter, frames: Sequence[UInt8Array]) -> UInt8Array:
    """A row of four tiles for every weather of `trials.OWN`, the frames in turn.

    Args:
        segmenter: of a joint engine.
        frames: pictures of one size, (H, W, 3) uint8 RGB, clear.

    Returns:
        (rows H, 4 W, 3) uint8 RGB.
    """
    return np.vstack(
        [_row(segmenter, frames[turn % len(frames)], name, turn) for turn, name in enumerate(OWN)]
    )


def _row(segmenter: Segmenter, clear: UInt8Array, name: str, number: int) -> UInt8Array:
    trial = trial_of(clear, name, number)
    said = segmenter.segment(Frame(trial.image, restore=True), Condition(Weather.CLEAR))
    assert said.restored is not None
    tiles = {
        name: trial.image,
        "restored": said.restored,
        "labelled": overlay(trial.image, said.labels),
        "without it": trial.clean,
    }
    return np.hstack([write_text(tile, title) for title, tile in tiles.items()])


def pictures(paths: Sequence[Path]) -> list[UInt8Array]:
    """The pictures in those files. Raises `DatasetError`, also where their sizes differ."""
    frames = [read_image(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise DatasetError(
                f"{path}: expected the size of {paths[0].name} {frames[0].shape[:2]}, found "
                f"{frame.shape[:2]}; show pictures of one camera"
            )
    return frames


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("gallery", __doc__)
    parser.add_argument("--engine", type=Path, default=Path("engines/joint.onnx"), help="to show")
    parser.add_argument("--images", type=Path, nargs="+", help="clear pictures of one size")
    parser.add_argument("--out", type=Path, default=Path("gallery.jpg"), help="picture to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    arguments = arguments_of(given)
    try:
        segmenter = JointSegmenter(load_engine(arguments.engine, role="joint"))
        if arguments.images:
            frames = pictures(arguments.images)
        else:
            frames = [frame.image for frame in drive_frames(2 * len(OWN))[::2]]
        write_picture(arguments.out, sheet(segmenter, frames))
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.gallery: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
