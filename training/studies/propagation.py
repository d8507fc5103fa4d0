"""How far a key frame carries: our light step, the paper's system, and what is simpler than both.

  python -m training.studies.propagation runs/correction/last.pt --paper runs/davss/last.pt

1. PDA: mIoU by the distance from the key frame (`training.video_scores`), in every weather.
2. Temporal consistency at a fixed interval: the share of pixels that keep their label along the
   true flow, where the surface is seen in both frames.
3. Key frames chosen by distortion, against a fixed interval that runs the key network as often.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from adverse_perception import kernels
from adverse_perception.files import FileError
from adverse_perception.frames import Weather
from adverse_perception.inference import Engine, EngineError, load_engine
from adverse_perception.scores import ConfusionMatrix
from training.checkpoints import open_checkpoint, open_guide
from training.datasets import data_folder
from training.network_engine import NetworkEngine
from training.networks.davss import DistortionAware
from training.studies.driving import driven, steadiness
from training.studies.restorers import plain_parser
from training.studies.spearman import StudyError
from training.studies.tables import Row, table, write_results
from training.studies.videos import DRIVE_FRAMES, DRIVES, through, videos
from training.video_scores import (
    LONGEST,
    Carrier,
    EveryFrame,
    FlowOnly,
    Held,
    LightStep,
    PaperSystem,
    VideoFrame,
    key_engine,
    pda,
)

KEY = Path(__file__).parents[1] / "weights" / "clear_train_only.pt"
"""The key network of the study: unlike the shipped one it has never seen CamVid's `val`."""
SIZE = (432, 576)
INTERVAL = 5
LIMITS = (0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2)
INTERVALS = (2, 3, 4, 5, 7, 10)
LONGEST_GAP = 20
"""Frames after which a key frame comes whatever the distortion is."""
Ways = Mapping[str, Callable[[], Carrier]]
Videos = Sequence[Sequence[VideoFrame]]


def ways_of(correction: Engine, paper: DistortionAware | None) -> dict[str, Callable[[], Carrier]]:
    """The rows of the tables."""
    rows: dict[str, Callable[[], Carrier]] = {
        "key network on every frame": EveryFrame,
        "labels held": Held,
        "flow only": FlowOnly,
        "light step": lambda: LightStep(correction),
        "light step, fed back": lambda: LightStep(correction, fed_back=True),
    }
    if paper is not None:
        rows["paper's flow only"] = lambda: PaperSystem(paper, corrected=False)
        rows["paper's system"] = lambda: PaperSystem(paper)
    return rows


def curve(way: Callable[[], Carrier], played: Videos) -> dict[str, float]:
    """MIoU in percent by distance, `0` to `9`, over all videos, and the means of intervals."""
    totals = {distance: ConfusionMatrix() for distance in range(LONGEST + 1)}
    carrier = way()
    for video in played:
        for distance, matrix in pda(video, carrier).items():
            totals[distance].counts += matrix.counts
        for frame in video[LONGEST:]:
            totals[0].add(EveryFrame().carry(frame), frame.labels)
    points = {str(distance): 100 * float(matrix.miou()) for distance, matrix in totals.items()}
    means = {
        f"mean 0-{last}": float(np.mean([points[str(at)] for at in range(last + 1)]))
        for last in (4, 9)
    }
    spread = [np.mean(carrier.distortions)] if isinstance(carrier, LightStep) else []
    return {**points, **means, **({"D": float(spread[0])} if spread else {})}


def drive_row(
    way: Callable[[], Carrier], played: Videos, interval: int, limit: float = 1.0
) -> Row:
    """MIoU, share of key frames and steadiness over all videos."""
    matrix, keyframes, steady = ConfusionMatrix(), 0, []
    for video in played:
        made = driven(way(), video, interval, limit)
        for labels, frame in zip(made.labels, video, strict=True):
            matrix.add(labels, frame.labels)
        keyframes += made.keyframes
        steady.append(steadiness(made.labels, video))
    frames = sum(map(len, played))
    return {
        "key frames": keyframes / frames,
        "mIoU": 100 * float(matrix.miou()),
        "steady": 100 * float(np.mean(steady)),
    }


def consistency_rows(ways: Ways, played: Videos) -> list[Row]:
    """Every way at the vehicle's interval, and the key network alone."""
    return [
        {"": name, **drive_row(way, played, 1 if way is EveryFrame else INTERVAL)}
        for name, way in ways.items()
    ]


def adaptive_rows(light: Callable[[], Carrier], played: Videos) -> list[Row]:
    """Fixed intervals, then limits; `fixed` is the fixed interval's mIoU at the same share."""
    fixed = [drive_row(light, played, interval) for interval in INTERVALS]
    rows: list[Row] = [
        {"": f"every {interval} frames", **row, "fixed": None}
        for interval, row in zip(INTERVALS, fixed, strict=True)
    ]
    shares = [float(row["key frames"] or 0) for row in fixed][::-1]
    scores = [float(row["mIoU"] or 0) for row in fixed][::-1]
    for limit in LIMITS:
        row = drive_row(light, played, LONGEST_GAP, limit)
        as_often = float(np.interp(float(row["key frames"] or 0), shares, scores))
        rows.append({"": f"distortion over {limit}", **row, "fixed": as_often})
    return rows


def study(ways: Ways, key: Engine, arguments: argparse.Namespace) -> dict[str, dict[str, object]]:
    """All tables by weather and world."""
    found: dict[str, dict[str, object]] = {}
    for weather in arguments.weathers:
        worlds = videos(
            data_folder(arguments.data),
            Weather(weather),
            DRIVES[: arguments.drives],
            arguments.frames,
        )
        for name, scenes in worlds:
            if not scenes:
                continue
            played = [through(one, key) for one in scenes]
            title, clear = f"{name}, {weather}", weather == Weather.CLEAR.value
            tried = {row: way for row, way in ways.items() if clear or not row.startswith("paper")}
            bar = tqdm(tried.items(), desc=title)
            found[title] = {"pda": [{"": row, **curve(way, played)} for row, way in bar]}
            found[title]["steadiness"] = consistency_rows(tried, played)
            if clear and "light step" in ways:
                found[title]["keyframes"] = adaptive_rows(ways["light step"], played)
    return found


_TITLES = {
    "pda": "mIoU by frames since the key frame; D: mean distortion",
    "steadiness": f"Interval {INTERVAL}: pixels that keep their label along the flow, percent",
    "keyframes": "Key frames by a fixed interval and by distortion",
}


def text_of(found: Mapping[str, Mapping[str, object]], command: str) -> str:
    """All tables as Markdown."""
    parts = [f"Made by `{command}`."]
    for title, tables in found.items():
        parts.append(f"## {title}")
        for name, rows in tables.items():
            assert isinstance(rows, list)
            columns = dict.fromkeys(column for row in rows for column in row)
            filled: list[Row] = [{column: row.get(column) for column in columns} for row in rows]
            digits = {**dict.fromkeys(columns, 1), "D": 3, "key frames": 3}
            parts.append(f"### {_TITLES[name]}\n\n{table(filled, digits)}")
    return "\n\n".join(parts)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("propagation", __doc__)
    parser.add_argument("correction", type=Path, help="checkpoint of the light step")
    parser.add_argument("--paper", type=Path, help="checkpoint of a `davss` training")
    parser.add_argument(
        "--key",
        type=Path,
        default=KEY,
        help="the key network, a checkpoint or an engine (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, help="folder that holds camvid/")
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="NAME", help="only the rows that begin like this"
    )
    parser.add_argument("--drives", type=int, default=len(DRIVES), help="drawn drives to play")
    parser.add_argument("--frames", type=int, default=DRIVE_FRAMES, help="frames of a drive")
    parser.add_argument(
        "--weathers",
        nargs="+",
        choices=[weather.value for weather in Weather],
        default=["clear", "rain", "night"],
        metavar="NAME",
        help="clear, rain, fog, night",
    )
    parser.add_argument("--out", type=Path, default=Path("propagation.md"), help="file to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Play as told and write the tables; returns the exit code."""
    arguments = arguments_of(given)
    torch.set_num_threads(1)
    try:
        light = open_checkpoint(arguments.correction)
        ways = ways_of(NetworkEngine(light.recipe, light.network), _paper(arguments.paper))
        wanted = tuple(arguments.rows) or ("",)
        ways = {row: way for row, way in ways.items() if row.startswith(wanted)}
        key = _key(arguments.key)
        kernels.warm_up()
        found = study(ways, key, arguments)
        command = "python -m training.studies.propagation CORRECTION"
        command += " --paper DAVSS" if arguments.paper else ""
        command += f" --key {arguments.key.name}" if arguments.key != KEY else ""
        command += f" --weathers {' '.join(arguments.weathers)}"
        write_results(arguments.out, "Propagation", text_of(found, command), found)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.propagation: {error}", file=sys.stderr)
        return 2
    print(text_of(found, command))
    return 0


def _key(path: Path) -> Engine:
    if path.suffix == ".onnx":
        return load_engine(path)
    return key_engine(open_guide(path), SIZE)


def _paper(path: Path | None) -> DistortionAware | None:
    if path is None:
        return None
    network = open_checkpoint(path).network
    if not isinstance(network, DistortionAware):
        raise StudyError(
            f"{path}: expected a checkpoint of a davss training, found one of a "
            f"{type(network).__name__}; name another"
        )
    return network


if __name__ == "__main__":
    sys.exit(main())
