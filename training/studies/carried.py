"""How a key frame's labels look some frames on, to look at rather than to score.

  python -m training.studies.carried --out docs/images/keyframes.jpg
  python -m training.studies.carried --images drive/*.jpg --after 1 4 9 --out sheet.jpg

A row for every distance from the key frame, on a drawn drive or on consecutive pictures of your
own: what the camera sees, what the whole network would say, the labels warped by flow alone, where
the correction is listened to (white), and the corrected labels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from adverse_perception import kernels
from adverse_perception.drawing import overlay, write_text
from adverse_perception.files import FileError, write_picture
from adverse_perception.frames import Float32Array, UInt8Array, Weather
from adverse_perception.inference import Engine, EngineError, load_engine
from adverse_perception.propagation import Propagation, Step, halved
from adverse_perception.segmenters import to_working_size
from training.studies.gallery import pictures
from training.studies.restorers import plain_parser
from training.studies.spearman import StudyError
from training.studies.videos import DRIVES, drive

_AFTER = (1, 5, 9)


def sheet(
    key: Engine, correction: Engine, frames: Sequence[UInt8Array], after: Sequence[int]
) -> UInt8Array:
    """A row of five tiles for every distance, the first frame being the key frame.

    Args:
        key: the key network.
        correction: of role `correction`.
        frames: consecutive pictures of one size, (H, W, 3) uint8 RGB, more than the last distance.
        after: distances in frames, 1 or more.

    Returns:
        (rows H, 5 W, 3) uint8 RGB.
    """
    working = [to_working_size(frame, key.metadata) for frame in frames]
    propagation = Propagation(halved(working[0]), key.run(working[0], ("logits",))["logits"])
    rows = []
    for number in range(1, max(after) + 1):
        step = propagation.step(halved(working[number]))
        if number in after:
            seen = key.run(working[number], ("logits",))["logits"]
            rows.append(_row(frames[number], f"{number} on", seen, step, correction))
    return np.vstack(rows)


def _row(
    image: UInt8Array, title: str, seen: Float32Array, step: Step, correction: Engine
) -> UInt8Array:
    size = image.shape[:2]
    found = correction.run(step.picture, maps=step.maps)
    distortion = found["distortion"][0]
    corrected = kernels.correct_and_label(step.warped, found["correction"], distortion, *size)[0]
    white = cv2.resize(distortion, size[::-1]).clip(0, 1) * 255
    tiles = {
        title: image,
        "whole network": overlay(image, kernels.label(seen, *size)[0]),
        "flow only": overlay(image, kernels.label(step.warped, *size)[0]),
        "distortion": np.repeat(white.astype(np.uint8)[..., None], 3, axis=2),
        "corrected": overlay(image, corrected),
    }
    return np.hstack([write_text(tile, name) for name, tile in tiles.items()])


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("carried", __doc__)
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="folder of engines")
    parser.add_argument("--images", type=Path, nargs="+", help="consecutive pictures of one size")
    parser.add_argument(
        "--after", type=int, nargs="+", default=_AFTER, help="distances in frames (default 1 5 9)"
    )
    parser.add_argument("--out", type=Path, default=Path("carried.jpg"), help="picture to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    arguments = arguments_of(given)
    try:
        last = max(arguments.after)
        if arguments.images:
            frames = pictures(arguments.images)
        else:
            frames = [scene.image for scene in drive(DRIVES[0], Weather.CLEAR, last + 1)]
        if min(arguments.after) < 1 or last >= len(frames):
            raise StudyError(
                f"--after: expected distances from 1 to {len(frames) - 1}, found"
                f" {' '.join(map(str, arguments.after))}; give more pictures or smaller distances"
            )
        key, correction = (
            load_engine(arguments.engines / f"{name}.onnx") for name in ("clear", "correction")
        )
        write_picture(arguments.out, sheet(key, correction, frames, arguments.after))
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.carried: {error}", file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
