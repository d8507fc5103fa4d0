"""Is it cooperation that helps? The rows that a study of SR-Net must have (section 2.3).

  python -m training.studies.cooperation RUNS --rival engines/all_weather.onnx --out FILE.md

RUNS holds the trainings `srnet`, `srnet_s0`, `srnet_label` and `srnet_constant`; `srnet_regular`,
if it is there, is judged on the six regular degradations. Frames of CamVid's test split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from adverse_perception.files import FileError
from adverse_perception.inference import EngineError
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.scores import ConfusionMatrix
from training.checkpoints import open_checkpoint, open_guide
from training.datasets import data_folder, open_pack
from training.evaluate import labeller, open_engine
from training.methods import planes_of
from training.methods.cooperate import PASTED, Cooperating
from training.studies.restorers import (
    BY_PICTURE,
    Case,
    Label,
    add_segmenters,
    cases_of,
    judge,
    labels_of,
    restorer,
    scale_of,
    segmenter,
    study_parser,
)
from training.studies.spearman import StudyError
from training.studies.tables import Row, table, write_results
from training.synthesis import REGULAR
from training.trials import OWN, REGULAR_LEVEL

RESTORERS = {
    "srnet_constant": "Seg(y), EGS by a constant map: a plain restorer of the same size",
    "srnet_s0": "Seg(y), EGS by s0, the segmenter's own map",
    "srnet": "Seg(y), EGS by s1, the refined map",
    "srnet_label": "Seg(y), EGS by the true labels (upper bound)",
}


def refined_miou(path: Path, guide: Path, cases: Sequence[Case]) -> float:
    """MIoU of the refined map s1 itself. Raises `CheckpointError`."""
    checkpoint, matrix = open_checkpoint(path), ConfusionMatrix(len(CLASS_NAMES))
    method = Cooperating(checkpoint.recipe, open_guide(guide))
    for case in cases:
        logits = method.segment(checkpoint.network, planes_of(case.trial.image))
        matrix.add(labels_of(logits, case.labels.shape[:2]), case.labels)
    return float(matrix.miou())


def ablation(
    runs: Path, rival: Label, cases: Sequence[Case], guide: Path, labels: tuple[Label, Label]
) -> list[Row]:
    """The rows, from the degraded frames to the clean ones.

    Raises:
        StudyError: the whole SR-Net is missing.
    """
    whole = runs / "srnet" / "last.pt"
    if not whole.is_file():
        raise StudyError(f"{whole}: expected the training of SR-Net, found none; train srnet")
    rows = [_row("Seg(x)", judge(lambda c: c.trial.image, cases, *labels).figures())]
    rows.append(_only("SGA(x, s0): the refined map", refined_miou(whole, guide, cases)))
    frozen = open_guide(guide)
    for name, title in RESTORERS.items():
        path = runs / name / "last.pt"
        if path.is_file():
            rows.append(_row(title, judge(restorer(path, frozen), cases, *labels).figures()))
    twice = restorer(whole, frozen, rounds=2)
    rows.append(_row("Seg(y), s1, two rounds", judge(twice, cases, *labels).figures()))
    matrix = ConfusionMatrix(len(CLASS_NAMES))
    for case in cases:
        matrix.add(rival(case.trial.image), case.labels)
    rows.append(_only("a segmenter trained on degraded frames", float(matrix.miou())))
    rows.append(_row("clean frames", judge(lambda c: c.trial.clean, cases, *labels).figures()))
    return rows


_COLUMNS = ("PSNR", "SSIM", "mIoU, guide", "mIoU, second")
_OWN_MEASURE = tuple(BY_PICTURE.values())


def _row(name: str, figures: dict[str, float]) -> Row:
    return {"": name, **{column: figures[column] for column in _COLUMNS + _OWN_MEASURE}}


def _of(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    """These columns of the rows that have them."""
    wanted = ("", *columns)
    return [{c: row[c] for c in wanted} for row in rows if all(c in row for c in wanted)]


def _only(name: str, miou: float) -> Row:
    return {"": name, "PSNR": None, "SSIM": None, "mIoU, guide": miou, "mIoU, second": None}


def regular_rows(
    path: Path, pack_cases: dict[str, list[Case]], guide: Path, labels: tuple[Label, Label]
) -> list[Row]:
    """PSNR and SSIM before and after, for every regular degradation.

    What is pasted has a second row, in which the restorer is told what is hidden.
    """
    frozen, rows = open_guide(guide), []
    plain, told = restorer(path, frozen), restorer(path, frozen, told=True)
    for name, cases in pack_cases.items():
        before = judge(lambda c: c.trial.image, cases, *labels).figures()
        restorers = {name: plain} | ({f"{name}, told where": told} if name in PASTED else {})
        for title, restore in restorers.items():
            rows.append(_before_and_after(title, before, judge(restore, cases, *labels).figures()))
    return rows


def _before_and_after(title: str, before: dict[str, float], after: dict[str, float]) -> Row:
    return {
        "": title,
        "PSNR before": before["PSNR"],
        "PSNR after": after["PSNR"],
        "SSIM before": before["SSIM"],
        "SSIM after": after["SSIM"],
    }


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser("cooperation", __doc__, 4)
    add_segmenters(parser)
    parser.add_argument("--rival", type=Path, required=True, help="engine trained on weather")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Judge as told and write the tables; returns the exit code."""
    arguments = arguments_of(given)
    try:
        figures, text = study(arguments)
        write_results(arguments.out, "Cooperation (SR-Net)", text, figures)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.studies.cooperation: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def study(arguments: argparse.Namespace) -> tuple[dict[str, list[Row]], str]:
    """Both tables, as figures and as Markdown."""
    pack = open_pack(data_folder(arguments.data) / "camvid", "test")
    cases = cases_of(pack, OWN, arguments.every)
    labels = segmenter(arguments.guide), segmenter(arguments.second)
    rival = labeller(open_engine(arguments.rival, "onnxruntime", 1))
    rows = ablation(arguments.runs, rival, cases, arguments.guide, labels)
    digits = {"PSNR": 2, "PSNR before": 2, "PSNR after": 2}
    parts = [
        f"Made by `python -m training.studies.cooperation RUNS --every {arguments.every}` on "
        f"{len(cases)} frames of CamVid's test split, in turn with {', '.join(OWN)}. "
        f"{scale_of(sorted(arguments.runs.glob('srnet*/last.pt')))}",
        table(_of(rows, _COLUMNS), digits),
        "The second segmenter's labels by the measure of the paper, which scores every picture by "
        "itself and takes the mean:",
        table(_of(rows, _OWN_MEASURE)),
    ]
    path, regular = arguments.runs / "srnet_regular" / "last.pt", []
    if path.is_file():
        some = {name: cases_of(pack, [name], 3 * arguments.every) for name in REGULAR}
        regular = regular_rows(path, some, arguments.guide, labels)
        parts += [
            f"## The six regular degradations, level {REGULAR_LEVEL}",
            table(regular, digits),
        ]
    return {"rows": rows, "regular": regular}, "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
