"""`python -m training.synthesis preview IMAGE --out sheet.png`: see what the synthesis does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.files import FileError, write_picture
from adverse_perception.frames import UInt8Array
from training.synthesis.preview import SECTIONS, contact_sheet
from training.synthesis.scene import SynthesisError, pixels

_ABOUT = """
The sheet has one row per name and one column per strength, light on the left, heavy on the right;
the first column is the clear picture. With labels (the PNG of class ids that belongs to the
picture) sky, road, cars and windows are found exactly, as in training; without, they are guessed.
"""
_EXAMPLES = """
examples:
  python -m training.synthesis preview street.jpg --labels street.png --out sheet.png
  python -m training.synthesis preview street.jpg --only rain drops watermark --columns 3

names:
"""


def _read(path: Path, flags: int) -> UInt8Array:
    array = cv2.imread(str(path), flags)
    if array is None:
        raise SynthesisError(f"{path}: expected a picture that OpenCV can read; check the path")
    return pixels(array)


def _colours(path: Path) -> UInt8Array:
    return np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1])


def _parser() -> argparse.ArgumentParser:
    names = "".join(f"  {title}: {' '.join(names)}\n" for title, names in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m training.synthesis",
        description="Draw weather and other damage onto a clear picture.",
        epilog=_EXAMPLES + names,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    preview = commands.add_parser(
        "preview", help="a contact sheet of everything by strength",
        description=_ABOUT, epilog=_EXAMPLES + names,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    preview.add_argument("image", type=Path, help="a clear road picture")
    preview.add_argument("--labels", type=Path, help="its class ids as PNG (0 to 10, 255 = none)")
    preview.add_argument("--reflected", type=Path, metavar="IMAGE", help="seen in windows")
    preview.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names to show")
    preview.add_argument("--out", type=Path, default=Path("sheet.png"), help="file to write")
    preview.add_argument("--seed", type=int, default=0, help="another seed, other weather")
    preview.add_argument("--columns", type=int, default=5, help="strengths in a row")
    preview.add_argument("--width", type=int, default=480, help="width of one picture in pixels")
    return parser


def _preview(arguments: argparse.Namespace) -> None:
    image = _colours(arguments.image)
    size = (arguments.width, round(arguments.width * image.shape[0] / image.shape[1]))
    image = pixels(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    labels = reflected = None
    if arguments.reflected is not None:
        reflected = _colours(arguments.reflected)
    if arguments.labels is not None:
        found = _read(arguments.labels, cv2.IMREAD_GRAYSCALE)
        labels = pixels(cv2.resize(found, size, interpolation=cv2.INTER_NEAREST))
    columns = max(1, arguments.columns)
    sheet = contact_sheet(image, labels, arguments.only, arguments.seed, columns, reflected)
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
