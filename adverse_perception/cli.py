"""The command line: what can be asked for, and the one place that prints."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from adverse_perception import __version__, commands
from adverse_perception.config import ConfigError, PipelineConfig, knobs
from adverse_perception.files import FileError
from adverse_perception.inference import EngineError
from adverse_perception.pipeline import PipelineError
from adverse_perception.recordings import SourceError

_ERRORS = (
    commands.CommandError,
    ConfigError,
    EngineError,
    FileError,
    PipelineError,
    SourceError,
    ImportError,
)
_PIPELINE_OPTIONS = {
    "--route": "condition",
    "--engines": "engines_folder",
    "--backend": "backend",
    "--backend-fallback": "backend_fallback",
    "--precision": "precision",
    "--cache": "plans_folder",
    "--threads": "threads",
    "--keyframe-interval": "keyframe_interval",
}
"""Option -> the knob of `PipelineConfig` it sets."""
_RUN = ("--engines", "--backend", "--precision", "--cache", "--threads")
_ENGINE_OPTIONS = {
    "list": ("--engines",),
    "check": _RUN,
    "bench": _RUN,
    "build": ("--engines", "--precision", "--cache"),
}
"""Action of `engines` -> those of the options that it takes."""

_DESCRIPTION = "See the road in rain, fog and at night: label camera pictures per pixel."
_EXAMPLES = """\
examples:
  adverse-perception segment street.jpg --out out
  adverse-perception segment drive.mp4 --route night --out out
  adverse-perception replay bags/drive_0 --out out
  adverse-perception engines check
  adverse-perception node --ros-args -p cameras:="['front']"

`adverse-perception COMMAND --help` says more about each.
"""
_SEGMENT = """\
Label pictures, folders of pictures and videos.

Writes, under the names of the inputs:
  DIR/labels/NAME.png    one channel, class ids (255 = unlabelled), size of the picture
  DIR/overlay/NAME.jpg   the picture under the colours of its labels
  DIR/restored/NAME.jpg  the picture without the weather, where its route restores
  DIR/report.json        frames, routes, latency, mIoU where there are true labels, machine

The weather is decided for each still picture by itself, and over time in a video. True labels
are found by themselves: labels/.../NAME.png where the picture is images/.../NAME.jpg, or
NAME.png in a folder `labels` beside it.
"""
_SEGMENT_EXAMPLES = """\
examples:
  adverse-perception segment a.jpg b.png --out out
  adverse-perception segment camvid/images/test --out out      (mIoU against camvid/labels/test)
  adverse-perception segment rainy.mp4 --route rain --backend openvino --out out
"""
_REPLAY = """\
Label every frame of a rosbag2 bag (mcap or sqlite3), in order, without ROS.

Each frame goes through the pipeline the node uses, none is dropped for time, so two runs give
the same labels. Writes:
  DIR/labelled/      a bag for RViz, Foxglove and `ros2 bag play`, with, for each camera,
                     labels (mono8), overlay, condition and label_info_json;
                     with --restored also the pictures without the weather
  DIR/report.json    frames read, labelled and dropped by cause, routes, latency by stage,
                     mIoU where the bag holds true labels, machine
"""
_REPLAY_EXAMPLES = """\
examples:
  adverse-perception replay bags/drive_0 --out out
  adverse-perception replay drive.mcap --topic /front/image_raw --originals --out out
  adverse-perception replay drive --truth-topic /front/ground_truth --out out
"""
_NODE = """\
Start the ROS 2 node.

Every word after `node` goes to ROS: parameters, remappings, log level. Needs rclpy: a ROS
installation, or pip install "adverse-perception[ros]".

  adverse-perception node --ros-args --params-file config/car.yaml
"""
_ENGINES_EXAMPLES = """\
examples:
  adverse-perception engines list
  adverse-perception engines check --engines my_engines --backend openvino
  adverse-perception engines build
  adverse-perception engines build clear --precision int8
  adverse-perception engines bench clear --size 1024x512 --frames 50 --json bench.json
"""

Subparsers = argparse._SubParsersAction  # the type argparse gives no public name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, or 1 after saying in one line what is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["node"] and not {"-h", "--help"} & set(words):
        return _node(words[1:])  # ROS reads its own arguments
    asked = _parser().parse_args(words)
    try:
        outcome = asked.command(asked)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing half-written is left", 130)
    except _ERRORS as error:
        return _fail(str(error))
    _say(outcome.text, sys.stdout)
    return _fail(outcome.trouble) if outcome.trouble else 0


def _node(words: list[str]) -> int:
    try:
        from adverse_perception import node

        node.main(words)
    except ImportError as error:
        return _fail(str(error))
    return 0


def _fail(message: str, code: int = 1) -> int:
    _say("adverse-perception: error: " + " ".join(message.split()), sys.stderr)
    return code


def _say(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "adverse-perception",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parts = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_segment(parts)
    _add_replay(parts)
    _add_engines(parts)
    _add(parts, "node", _NODE)
    return parser


def _add_segment(parts: Subparsers[argparse.ArgumentParser]) -> None:
    asked = _add(parts, "segment", _SEGMENT, _SEGMENT_EXAMPLES, commands.segment)
    asked.add_argument("inputs", metavar="INPUT", nargs="+", type=Path)
    asked.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    _add_pipeline_options(asked)


def _add_replay(parts: Subparsers[argparse.ArgumentParser]) -> None:
    asked = _add(parts, "replay", _REPLAY, _REPLAY_EXAMPLES, commands.replay)
    asked.add_argument("bag", metavar="BAG", type=Path, help="bag folder, .mcap or .db3 file")
    asked.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    asked.add_argument(
        "--topic",
        metavar="NAME",
        action="append",
        default=[],
        help="image topic to label; may be repeated (default: every camera found)",
    )
    asked.add_argument(
        "--truth-topic",
        metavar="NAME",
        default="",
        help="topic of the true labels, mono8 (default: <camera>/labels_truth where it is)",
    )
    asked.add_argument(
        "--jpeg", action="store_true", help="drawings as JPEG: a tenth of the space, lossy"
    )
    asked.add_argument(
        "--restored",
        action="store_true",
        help="also the picture without the weather, on routes that restore; takes time",
    )
    asked.add_argument(
        "--originals", action="store_true", help="copy the camera's pictures into the bag"
    )
    _add_pipeline_options(asked)


def _add_engines(parts: Subparsers[argparse.ArgumentParser]) -> None:
    whole = _add(parts, "engines", "what engines there are, whether they are whole, how fast")
    whole.epilog = _ENGINES_EXAMPLES
    inner = whole.add_subparsers(metavar="ACTION", required=True)
    actions: dict[str, tuple[str, Callable[[argparse.Namespace], commands.Outcome]]] = {
        "list": ("what every engine says about itself", commands.list_engines),
        "check": ("verify the checksums and run a frame through each", commands.check_engines),
        "build": ("build TensorRT's plans ahead of the drive", commands.build_engines),
        "bench": ("time the engines on this machine", commands.bench_engines),
    }
    for name, (text, command) in actions.items():
        asked = _add(inner, name, text, _ENGINES_EXAMPLES, command)
        asked.add_argument("names", metavar="NAME", nargs="*", help="engines (default: all)")
        asked.add_argument("--json", metavar="FILE", type=Path, help="write the result there too")
        _add_pipeline_options(asked, _ENGINE_OPTIONS[name])
        if name == "build":
            choices = ("tensorrt", "tensorrt_rtx")
            asked.add_argument("--backend", default=choices[0], choices=choices)
            asked.add_argument("--batch", type=int, default=1, help="most pictures at once")
        if name == "bench":
            asked.add_argument("--size", default="", help="WIDTHxHEIGHT (default: the engine's)")
            asked.add_argument("--frames", type=int, default=30, help="timed runs (default: 30)")


def _add(
    parts: Subparsers[argparse.ArgumentParser],
    name: str,
    text: str,
    examples: str = "",
    command: Callable[[argparse.Namespace], commands.Outcome] | None = None,
) -> argparse.ArgumentParser:
    parser = parts.add_parser(
        name,
        help=text.strip().splitlines()[0].rstrip("."),
        description=text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _add_pipeline_options(
    parser: argparse.ArgumentParser, wanted: Sequence[str] = tuple(_PIPELINE_OPTIONS)
) -> None:
    declared = {knob.name: knob for knob in knobs(PipelineConfig)}
    for option in wanted:
        knob = declared[_PIPELINE_OPTIONS[option]]
        shown = f" (default: {knob.default})" if knob.default != "" else ""
        choices = knob.metadata["choices"] or None
        taken: dict[str, Any] = {
            "type": type(knob.default),
            "choices": choices,
            "metavar": None if choices else "DIR" if shown == "" else "N",
        }
        if isinstance(knob.default, bool):
            taken = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(
            option,
            dest=knob.name,
            default=knob.default,
            help=knob.metadata["description"] + shown,
            **taken,
        )
