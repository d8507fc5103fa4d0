"""Who labels the night best: the channels, what fuses them, and the engines, side by side.

  python -m training.studies.night clear=engines/clear.onnx all_weather=engines/all_weather.onnx
      real=runs/night_real/last.pt adaptive=runs/night_adaptive/last.pt
      soft_fusion=runs/night_soft/last.pt night=engines/night.onnx --out docs/results/night.md

Rows come in the order given; some names mean more. `clear`: what is lost by day, and times, are
measured against it. `real` and `adaptive`: the two channels; from them comes the oracle, which for
every patch of 20x20 pixels knows which of the two has more right pixels. Names with `fusion` in
them, and `night`: what share they close of the gap between the better channel and the oracle.
`all_weather`: the rival of `night`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.files import FileError
from adverse_perception.inference import EngineError
from adverse_perception.labels import CLASS_NAMES
from training.calibration import BINS
from training.datasets import data_folder
from training.studies.night_scores import (
    ADAPTIVE,
    ORACLE,
    REAL,
    Board,
    difference,
    play,
)
from training.studies.night_sets import DAY, DRIVE_FRAMES, DUSK, NIGHTS, SAID, sets_of
from training.studies.night_ways import Way, told, ways_of
from training.studies.restorers import plain_parser
from training.studies.tables import Row, table, write_results

CLEAR, RIVAL, NIGHT, FUSION = "clear", "all_weather", "night", "fusion"
"""Names of rows that mean more; `FUSION` is a part of a name."""
MEAN, LOSS = "mean night", "day loss"
PER_CLASS = ("night 0.6", DUSK)
"""Sets of which every class is shown."""
_OVER_CHANNEL, _OVER_RIVAL = 0.5, 1.5  # points of mIoU that are asked for
Scores = dict[str, dict[str, float]]
"""Row -> set or mean -> mIoU in percent."""


def scores_of(board: Board) -> Scores:
    """Of every set, their mean over the strengths of night, and what is lost by day."""
    scores: Scores = {}
    for row, tallies in board.items():
        scores[row] = {name: tally.miou() for name, tally in tallies.items()}
        scores[row][MEAN] = float(np.mean([scores[row][name] for name in NIGHTS]))
    if CLEAR in scores:
        for found in scores.values():
            found[LOSS] = scores[CLEAR][DAY] - found[DAY]
    return scores


def closed(found: float, best: float, oracle: float) -> float:
    """Share of the gap that is closed: 0 at the better channel, 1 at the oracle; nan without."""
    return (found - best) / (oracle - best) if oracle > best else float("nan")


def gap_rows(scores: Scores) -> list[Row]:
    """The share of the gap closed on every set, by all that could close it."""
    if ORACLE not in scores:
        return []
    rows: list[Row] = []
    for row, found in scores.items():
        if FUSION not in row and row != NIGHT:
            continue
        names = [name for name in found if name != LOSS]
        best = {name: max(scores[REAL][name], scores[ADAPTIVE][name]) for name in names}
        shares = {name: closed(found[name], best[name], scores[ORACLE][name]) for name in names}
        rows.append({"": row, **shares})
    return rows


def asked_rows(board: Board, scores: Scores) -> list[Row]:
    """What was asked for, beside what was found."""
    rows: list[Row] = []
    if ORACLE in board:
        best = max((REAL, ADAPTIVE), key=lambda row: scores[row][MEAN])
        fusions = [row for row in board if FUSION in row]
        rows += [_asked(board, row, best, NIGHTS, _OVER_CHANNEL) for row in fusions]
    if {NIGHT, RIVAL} <= board.keys():
        rows.append(_asked(board, NIGHT, RIVAL, NIGHTS, _OVER_RIVAL))
        rows.append(_asked(board, NIGHT, RIVAL, (DUSK,), 0.0))
    return rows


def _asked(board: Board, row: str, over: str, names: Sequence[str], wanted: float) -> Row:
    one, other = ([board[who][name] for name in names] for who in (row, over))
    found = difference(one, other)
    where = MEAN if names == NIGHTS else names[0]
    figures = {"wanted": wanted, "found": found.found, "from": found.low, "to": found.high}
    return {"": f"{row} over {over}, {where}", **figures}


def error_rows(board: Board) -> list[Row]:
    """Expected calibration error in percent; the oracle, which knows better, is left out."""
    return [
        {"": row, **{name: 100 * tally.calibration.error() for name, tally in tallies.items()}}
        for row, tallies in board.items()
        if row != ORACLE
    ]


def class_rows(board: Board, name: str) -> list[Row]:
    """IoU of every class in percent on one set."""
    return [
        {
            "": row,
            **dict(zip(CLASS_NAMES, 100 * tallies[name].matrix().iou(), strict=True)),
            "mean": tallies[name].miou(),
        }
        for row, tallies in board.items()
    ]


def time_rows(board: Board, ways: Sequence[Way]) -> list[Row]:
    """Mean CPU time of a frame, and against the clear engine where one runtime runs both."""
    ms = {
        way.name: float(np.mean([ms for tally in board[way.name].values() for ms in tally.ms]))
        for way in ways
    }
    clear = {way.runtime: ms[CLEAR] for way in ways if way.name == CLEAR}
    rows: list[Row] = []
    for way in ways:
        against = ms[way.name] / clear[way.runtime] if way.runtime in clear else None
        rows.append({"": way.name, "by": way.runtime, "ms": ms[way.name], "times clear": against})
    return rows


def figures_of(board: Board, ways: Sequence[Way]) -> dict[str, Any]:
    """Every table by its name; without channels or rivals, some are empty."""
    scores = scores_of(board)
    return {
        "frames": {name: len(tally.counts) for name, tally in next(iter(board.values())).items()},
        "miou": [{"": row, **found} for row, found in scores.items()],
        "asked": asked_rows(board, scores),
        "gap": gap_rows(scores),
        "error": error_rows(board),
        "classes": {name: class_rows(board, name) for name in PER_CLASS},
        "time": time_rows(board, ways),
    }


def text_of(figures: Mapping[str, Any], command: str) -> str:
    """All tables as Markdown."""
    sets = [
        f"* `{name}`, {count} frames: {SAID[name]}" for name, count in figures["frames"].items()
    ]
    parts = [f"Made by `{command}`.", "\n".join(sets)]
    parts.append(f"## mIoU in percent\n\n{_ROWS}\n\n{_table(figures['miou'], 1)}")
    if figures["asked"]:
        parts.append(f"## Asked for\n\n{_ASKED}\n\n{_table(figures['asked'], 2)}")
    if figures["gap"]:
        parts.append(f"## Share of the gap closed\n\n{_GAP}\n\n{_table(figures['gap'], 2)}")
    parts.append(f"## Calibration\n\n{_ERROR}\n\n{_table(figures['error'], 1)}")
    for name, rows in figures["classes"].items():
        parts.append(f"## IoU by class, {name}, in percent\n\n{_table(rows, 1)}")
    times = table(figures["time"], {"ms": 1, "times clear": 2})
    parts.append(f"## CPU time of a frame, one thread\n\n{times}")
    return "\n\n".join(parts)


_ROWS = (
    f"`{MEAN}`: mean of the three strengths. `{LOSS}`: points that `{CLEAR}` is better by day."
    f" `{ORACLE}`: for each patch of 20x20 pixels the channel with more right pixels; an upper"
    " bound of their share, and nearly one of mIoU."
)
_ASKED = (
    "Points of mIoU, with the ends of a 95 % interval: bootstrap over runs of neighbouring frames,"
    " 200 resamples. It knows nothing of other trainings from other seeds."
)
_GAP = "0: as good as the better channel on that set; 1: as good as the oracle."
_ERROR = (
    f"Expected calibration error in percent over pixels, {BINS} equal bins of the published"
    " confidence."
)


def _table(rows: Sequence[Row], digits: int) -> str:
    return table(rows, dict.fromkeys(rows[0], digits))


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("night", __doc__)
    parser.add_argument(
        "ways", nargs="+", metavar="NAME=PATH", help="a row: an engine (.onnx) or checkpoint (.pt)"
    )
    parser.add_argument("--data", type=Path, help="folder that holds camvid/")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth CamVid frame")
    parser.add_argument(
        "--frames",
        type=int,
        default=DRIVE_FRAMES,
        help="frames of the drawn drives (default: %(default)s; 0: no drives)",
    )
    parser.add_argument("--out", type=Path, default=Path("night.md"), help="file to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Play as told and write the tables; returns the exit code."""
    arguments = arguments_of(given)
    try:
        ways = ways_of(arguments.ways)
        sets = sets_of(data_folder(arguments.data), arguments.every, arguments.frames)
        figures = figures_of(play(ways, sets), ways)
        command = f"python -m training.studies.night {told(ways)} --every {arguments.every}"
        command += f" --frames {arguments.frames}"
        text = text_of(figures, command)
        write_results(arguments.out, "Night", text, figures)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.night: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
