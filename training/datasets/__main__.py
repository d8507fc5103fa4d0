"""`python -m training.datasets check NAME FOLDER`: is a data set whole, and what is in it?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adverse_perception.files import FileError, write_picture
from training.datasets.check import contact_sheet, examine
from training.datasets.faces import merge_faces
from training.datasets.loaders import LOADERS, open_dataset
from training.datasets.pictures import DatasetError
from training.datasets.terms import TERMS

_EXAMPLES = """
examples:
  python -m training.datasets check camvid ../shared/data/camvid --split val --show sheet.png
  python -m training.datasets check foggy_cityscapes /data/cityscapes --only beta=0.02
  python -m training.datasets merge-faces /data/CelebAMask-HQ
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets",
        description="Look over data sets. docs/datasets.md says how each is laid out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="read every file, say what is there")
    check.add_argument("name", choices=sorted(LOADERS), metavar="NAME", help=", ".join(LOADERS))
    check.add_argument("folder", type=Path, metavar="FOLDER", help="the root of the data set")
    check.add_argument("--split", default="train", help="train, val or test (default: train)")
    check.add_argument("--classes", help="read the labels as camvid11, cityscapes19 or own")
    check.add_argument(
        "--only", nargs="+", default=[], type=_tag, metavar="TAG=VALUE",
        help="only pictures with these tags: beta=0.02, condition=fog, city=lindau, ...",
    )  # fmt: skip
    check.add_argument("--show", type=Path, metavar="FILE", help="write a contact sheet there")
    check.set_defaults(run=_check)
    merge = commands.add_parser("merge-faces", help="make label maps of CelebAMask-HQ's masks")
    merge.add_argument("folder", type=Path, metavar="FOLDER", help="the root of CelebAMask-HQ")
    merge.set_defaults(run=_merge)
    return parser


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected TAG=VALUE, found {text!r}")
    return name, value


def _check(arguments: argparse.Namespace) -> int:
    pack = open_dataset(arguments.name, arguments.folder, arguments.split, arguments.classes)
    if arguments.only:
        pack = pack.only(**dict(arguments.only))
    report = examine(pack)
    print(f"{arguments.name} {arguments.split}: {TERMS[arguments.name]}")
    print("\n".join(report.lines(pack.class_names)))
    if arguments.show is not None:
        write_picture(arguments.show, contact_sheet(pack))
        print(f"contact sheet: {arguments.show}")
    return 1 if report.problems else 0


def _merge(arguments: argparse.Namespace) -> int:
    print(f"{arguments.folder / 'mask'}: {merge_faces(arguments.folder)} label maps written")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 where something is broken."""
    try:
        given = _parser().parse_args(arguments)
        status: int = given.run(given)
    except (DatasetError, FileError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
