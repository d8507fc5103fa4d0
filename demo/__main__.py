"""`python -m demo [SOURCE]`: play a drive to the real node and show what it made of it."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from adverse_perception.files import FileError
from adverse_perception.recordings import SourceError
from demo.footage import DemoError, Size
from demo.show import Options, show, table

EXPECTED = (DemoError, SourceError, FileError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    options = _options(_parser().parse_args(arguments))
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the node as well
        signal.signal(number, _end)
    try:
        print(table(show(options), options.out))
    except EXPECTED as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m demo", description=__doc__)
    default = Options()
    add = parser.add_argument
    add("source", nargs="?", type=Path, help="bag, video or pictures (default: sample drive)")
    add("--out", type=Path, default=default.out, help="folder for the results (%(default)s)")
    add("--rate", type=_positive, default=default.rate_hz, help="frames per second (%(default)s)")
    add("--size", type=_size, help="WIDTHxHEIGHT (sample drive 480x360, else as it is)")
    add("--seconds", type=_positive, help="play at most this long (sample drive 40, else all)")
    add("--seed", type=int, default=default.seed, help="which sample drive (%(default)s)")
    add("--cache", type=Path, default=default.cache, help="where drives are kept (%(default)s)")
    add(
        "-p",
        "--parameter",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="ROS parameter of the node, e.g. backend=openvino",
    )
    return parser


def _options(given: argparse.Namespace) -> Options:
    return Options(
        given.source,
        given.out,
        given.rate,
        given.size,
        given.seconds,
        given.seed,
        given.cache,
        dict(given.parameter),
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return value


def _size(text: str) -> Size:
    words = text.lower().split("x")
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT as in 480x360, found {text}")
    return int(words[0]), int(words[1])


def _parameter(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not (name and found):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text}")
    return name, value


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # every end is as clean as that by Ctrl-C


if __name__ == "__main__":
    sys.exit(main())
