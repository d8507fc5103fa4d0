"""`python -m training.synthesis preview IMAGE --out sheet.png`: see what the synthesis does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.files import FileError, write_picture
from adverse_perception.frames import UInt8Array
from training.synthesis.scene import SynthesisError, pixels
from training.synthesis.weather import WEATHERS, degrade

_EPILOG = """
The sheet has one row per weather and one column per strength, light on the left, heavy on the
right; the first column is the clear picture. With labels (the PNG of class ids that belongs to the
picture) sky, road, cars and windows are found exactly, as in training; without, they are guessed.

example:
  python -m training.synthesis preview street.jpg --labels street.png --out sheet.png
"""


def _read(path: Path, flags: int) -> UInt8Array:
    array = cv2.imread(str(path), flags)
    if array is None:
        raise SynthesisError(f"{path}: expected a picture that OpenCV can read; check the path")
    return pixels(array)


def contact_sheet(
    image: UInt8Array, labels: UInt8Array | None, seed: int = 0, columns: int = 5
) -> UInt8Array:
    """Every weather by strength: one big (H', W', 3) uint8 RGB picture."""
    rows = []
    for number, weather in enumerate(name for name in WEATHERS if name != "clear"):
        tiles = [image.copy()]
        for column in range(columns):
            strength = column / max(1, columns - 1)
            rng = np.random.default_rng([seed, number, column])
            tiles.append(
                degrade(image, weather, rng, labels=labels, strength=(strength, strength))
            )
        for tile, text in zip(tiles, ["clear", *[weather] * columns], strict=True):
            place = (8, image.shape[0] - 10)
            cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
        rows.append(np.hstack(tiles))
    return pixels(np.vstack(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.synthesis",
        description="Draw rain, fog, night and snow onto a clear picture.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    preview = commands.add_parser(
        "preview", help="a contact sheet of every weather by strength", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    preview.add_argument("image", type=Path, help="a clear road picture")
    preview.add_argument("--labels", type=Path, help="its class ids as PNG (0 to 10, 255 = none)")
    preview.add_argument("--out", type=Path, default=Path("sheet.png"), help="file to write")
    preview.add_argument("--seed", type=int, default=0, help="another seed, other weather")
    preview.add_argument("--columns", type=int, default=5, help="strengths per weather")
    preview.add_argument("--width", type=int, default=480, help="width of one picture in pixels")
    return parser


def _preview(arguments: argparse.Namespace) -> None:
    image = _read(arguments.image, cv2.IMREAD_COLOR)[..., ::-1]
    size = (arguments.width, round(arguments.width * image.shape[0] / image.shape[1]))
    image = pixels(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    labels = None
    if arguments.labels is not None:
        found = _read(arguments.labels, cv2.IMREAD_GRAYSCALE)
        labels = pixels(cv2.resize(found, size, interpolation=cv2.INTER_NEAREST))
    sheet = contact_sheet(image, labels, arguments.seed, arguments.columns)
    write_picture(arguments.out, sheet)
    print(f"{arguments.out}: {sheet.shape[1]}x{sheet.shape[0]}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        _preview(_parser().parse_args(arguments))
    except (SynthesisError, FileError, cv2.error) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
