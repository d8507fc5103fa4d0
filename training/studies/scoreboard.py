"""Who labels and restores best, weather by weather: engines side by side on the same frames.

  python -m training.studies.scoreboard --out docs/results/scoreboard.md

Rows: the clear engine; the all-weather engine of the same size, the rival of everything here;
restoring and then segmenting in two steps; the joint engine; and the clear engine on the clean
frames, which nobody can beat. Weather comes from fixed seeds that training never drew: by the
generators that it draws from (own), and by others that it never saw.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from adverse_perception.files import FileError
from adverse_perception.frames import Condition, Float32Array, Frame, UInt8Array, Weather
from adverse_perception.inference import EngineError, load_engine
from adverse_perception.labels import CLASS_NAMES, UNLABELLED
from adverse_perception.scores import ConfusionMatrix
from adverse_perception.segmenters import EngineSegmenter, JointSegmenter, Segmenter
from training.checkpoints import GUIDE, open_guide
from training.datasets import data_folder, open_pack
from training.drive import Drive
from training.restoration_scores import psnr, ssim
from training.studies.restorers import Case, plain_parser, restorer
from training.studies.tables import Row, table, write_results
from training.trials import FOGS_M, OTHERS, OWN, Trial, trial_of

MEANS = {
    "own": ("rain", "drops", "fog"),
    "other": ("rain_cityscapes", "metaball_drops", *FOGS_M),
}
"""Trials over which the mean is taken, by who generates the weather."""
DRIVE_FRAMES = 40
_ALL = (*OWN, *OTHERS)


@dataclass(frozen=True)
class Labelled:
    """A clear frame with what is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        depth_m: (H, W) float32, where it is known.
    """

    image: UInt8Array
    labels: UInt8Array
    depth_m: Float32Array | None = None


@dataclass(frozen=True)
class Answer:
    """What a way makes of a frame: labels (H, W) uint8, and the picture if it restores."""

    labels: UInt8Array
    restored: UInt8Array | None = None


Way = Callable[[Trial], Answer]


@dataclass
class Tally:
    """One way's scores in one weather."""

    matrix: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CLASS_NAMES)))
    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def add(self, answer: Answer, trial: Trial, truth: UInt8Array, milliseconds: float) -> None:
        """Count one frame."""
        self.matrix.add(answer.labels, truth)
        self.ms.append(milliseconds)
        if answer.restored is not None:
            self.psnr.append(psnr(answer.restored, trial.clean))
            self.ssim.append(ssim(answer.restored, trial.clean))

    def figures(self) -> dict[str, float | None]:
        """The means of the frames, mIoU over one confusion matrix."""
        return {
            "miou": float(self.matrix.miou()),
            "psnr": float(np.mean(self.psnr)) if self.psnr else None,
            "ssim": float(np.mean(self.ssim)) if self.ssim else None,
            "ms": float(np.median(self.ms)),
        }


def ways(engines: Path, restore: Callable[[Trial], UInt8Array] | None = None) -> dict[str, Way]:
    """The rows of the board.

    Args:
        engines: folder of the engines.
        restore: of the row in two steps; none takes the joint engine's own head.

    Raises:
        EngineError: an engine is missing or broken.
    """
    clear, rival, joint = (
        load_engine(engines / f"{name}.onnx", threads=1)
        for name in ("clear", "all_weather", "joint")
    )
    clear_way, rival_way = EngineSegmenter(clear), EngineSegmenter(rival)
    joint_way = JointSegmenter(joint)

    def by_joint(trial: Trial) -> UInt8Array:
        restored = _segmented(joint_way, trial.image, restore=True).restored
        assert restored is not None
        return restored

    def in_two_steps(trial: Trial) -> Answer:
        restored = (restore or by_joint)(trial)
        return Answer(_segmented(clear_way, restored).labels, restored)

    return {
        "clear engine": lambda trial: Answer(
            _segmented(clear_way, trial.image).labels, trial.image
        ),
        "all-weather engine": lambda trial: _segmented(rival_way, trial.image),
        "restore, then segment": in_two_steps,
        "joint engine": lambda trial: _segmented(joint_way, trial.image),
        "joint engine, restoring": lambda trial: _segmented(joint_way, trial.image, restore=True),
        "clear engine on clean frames": lambda trial: _segmented(clear_way, trial.clean),
    }


def _segmented(segmenter: Segmenter, image: UInt8Array, *, restore: bool = False) -> Answer:
    said = segmenter.segment(Frame(image, restore=restore), Condition(Weather.CLEAR))
    return Answer(said.labels, said.restored)


def play(
    rows: dict[str, Way], frames: Sequence[Labelled], names: Sequence[str]
) -> dict[str, dict[str, Tally]]:
    """Every way over every frame in every weather: row -> weather -> tally."""
    board = {row: {name: Tally() for name in names} for row in rows}
    for name in tqdm(names, desc="weathers"):
        for number, frame in enumerate(tqdm(frames, desc=name, leave=False)):
            other = frames[(number + len(frames) // 2) % len(frames)].image
            trial = trial_of(
                frame.image,
                name,
                number,
                labels=frame.labels,
                depth_m=frame.depth_m,
                reflected=other,
            )
            for row, way in rows.items():
                began = process_time()
                answer = way(trial)
                took = (process_time() - began) * 1e3
                board[row][name].add(answer, trial, frame.labels, took)
    return board


def camvid_frames(data: Path, every: int) -> list[Labelled]:
    """Frames of CamVid's test split. Raises `DatasetError`."""
    pack = open_pack(data / "camvid", "test")
    return [Labelled(*pack.load(number)) for number in range(0, len(pack.pairs), every)]


def drive_frames(count: int = DRIVE_FRAMES) -> list[Labelled]:
    """Clear frames along the drawn street of the sample drive, with exact depth."""
    drive = Drive.draw()
    views = (drive.street.render(drive.seconds * number / count, 1.0) for number in range(count))
    return [Labelled(view.image, view.labels, view.depth_m) for view in views]


def rows_of(board: dict[str, dict[str, Tally]], column: str, names: Sequence[str]) -> list[Row]:
    """One figure of the board by weather, with the means over `MEANS`."""
    rows: list[Row] = []
    for row, tallies in board.items():
        figures = {name: tallies[name].figures()[column] for name in names}
        if all(value is None for value in figures.values()):
            continue
        means = {
            f"mean, {who}": _mean([figures[name] for name in some if name in names])
            for who, some in MEANS.items()
            if set(some) & set(names)
        }
        rows.append({"": row, **figures, **means})
    return rows


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))


def text_of(boards: dict[str, dict[str, dict[str, Tally]]], command: str) -> str:
    """All tables as Markdown."""
    parts = [f"Made by `{command}`."]
    for place, board in boards.items():
        parts.append(f"## {place}")
        for title, column, digits in (
            ("mIoU", "miou", 3),
            ("PSNR of the picture in dB (first row: as the camera sees it)", "psnr", 1),
            ("SSIM", "ssim", 3),
        ):
            names = list(next(iter(board.values())))
            rows = rows_of(board, column, names)
            parts.append(f"### {title}\n\n{table(rows, dict.fromkeys([*rows[0]], digits))}")
        times: list[Row] = [
            {"": row, "ms": float(np.median([t.figures()["ms"] or 0 for t in tallies.values()]))}
            for row, tallies in board.items()
        ]
        parts.append(f"### CPU time of a frame, one thread\n\n{table(times, {'ms': 1})}")
    return "\n\n".join(parts)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("scoreboard", __doc__)
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="folder of engines")
    parser.add_argument("--data", type=Path, help="folder that holds camvid/")
    parser.add_argument(
        "--restorer",
        type=Path,
        help="checkpoint that restores in the row of two steps (default: the joint engine does)",
    )
    parser.add_argument("--guide", type=Path, default=GUIDE, help="segmenter of its training")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth test frame")
    parser.add_argument(
        "--weathers",
        nargs="+",
        choices=_ALL,
        default=_ALL,
        metavar="NAME",
        help=f"only these of {', '.join(_ALL)}",
    )
    parser.add_argument("--drive-frames", type=int, default=DRIVE_FRAMES, help="0: no drive")
    parser.add_argument("--out", type=Path, default=Path("scoreboard.md"), help="file to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Play as told and write the board; returns the exit code."""
    arguments = arguments_of(given)
    try:
        restore = arguments.restorer and _restorer(arguments.restorer, arguments.guide)
        rows = ways(arguments.engines, restore)
        frames = camvid_frames(data_folder(arguments.data), arguments.every)
        names = arguments.weathers
        boards = {f"CamVid test, {len(frames)} frames": play(rows, frames, names)}
        if arguments.drive_frames:
            drawn = drive_frames(arguments.drive_frames)
            boards[f"The drawn drive, {len(drawn)} frames"] = play(rows, drawn, names)
        command = f"python -m training.studies.scoreboard --every {arguments.every}"
        if len(names) < len(_ALL):
            command += f" --weathers {' '.join(names)}"
        if arguments.restorer:
            command += f" --restorer {arguments.restorer.parent.name}/{arguments.restorer.name}"
        write_results(arguments.out, "Scoreboard", text_of(boards, command), _figures(boards))
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.scoreboard: {error}", file=sys.stderr)
        return 2
    print(text_of(boards, command))
    return 0


def _restorer(path: Path, guide: Path) -> Callable[[Trial], UInt8Array]:
    """A trained restorer by itself. Raises `CheckpointError`."""
    torch.set_num_threads(1)
    restore = restorer(path, open_guide(guide))

    def restored(trial: Trial) -> UInt8Array:
        return restore(Case(trial, np.full(trial.image.shape[:2], UNLABELLED, np.uint8)))

    return restored


def _figures(boards: dict[str, dict[str, dict[str, Tally]]]) -> dict[str, Any]:
    return {
        place: {
            row: {name: tally.figures() for name, tally in tallies.items()}
            for row, tallies in board.items()
        }
        for place, board in boards.items()
    }


if __name__ == "__main__":
    sys.exit(main())
