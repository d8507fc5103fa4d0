"""Does a segmenter's opinion help deraining, and when? Two-stage against one-stage against none.

  python -m training.studies.derain RUNS --out docs/results/derain.md

RUNS holds a folder for every training, named as its recipe, with `last.pt`, and `kept/` where it
was trained with --keep. Frames of CamVid's test split with drops on the glass, fixed seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from adverse_perception.files import FileError
from training.checkpoints import open_checkpoint, open_guide
from training.datasets import data_folder, open_pack
from training.restoration_scores import psnr
from training.studies.restorers import (
    Case,
    Label,
    Restore,
    add_segmenters,
    cases_of,
    judge,
    restorer,
    scale_of,
    segmenter,
    study_parser,
)
from training.studies.spearman import StudyError, rank_correlations
from training.studies.tables import Row, table, write_results

ROWS = {
    "srrn_coarse": "A/C, no refinement",
    "srrn_plain": "A/C/R, no joint training",
    "srrn_ojt": "A/C/R + OJT",
    "srrn": "A/C/R + TJT",
    "durn": "DuRN",
    "durn_r_plain": "DuRN + R, no joint training",
    "durn_r_ojt": "DuRN + R + OJT",
    "durn_r": "DuRN + R + TJT",
    "durn_unseen": "DuRN, CamVid left out of its training",
}
PAPER = {
    "as the camera sees it": (23.23, 0.8002, 34.50),
    "A/C/R, no joint training": (34.61, 0.9581, 66.79),
    "A/C/R + TJT": (34.57, 0.9583, 67.60),
    "DuRN": (31.88, 0.9563, 66.37),
    "DuRN + R + OJT": (30.18, 0.9482, 67.46),
    "DuRN + R + TJT": (37.38, 0.9716, 68.35),
}
"""PSNR, SSIM and mIoU (%) on Raindrop-Cityscapes, from tables 8.1 and 8.2 of Guo et al. 2020."""
PAPER_RHO = {
    ("without", "PSNR (luma)", "SSIM"): 0.81,
    ("without", "PSNR (luma)", "mIoU, guide"): 0.48,
    ("without", "SSIM", "mIoU, guide"): 0.53,
    ("with", "PSNR (luma)", "SSIM"): 0.72,
    ("with", "PSNR (luma)", "mIoU, guide"): 0.68,
    ("with", "SSIM", "mIoU, guide"): 0.95,
}
"""Table 8.3: Spearman's rho over checkpoints with and without joint training."""
_CORRELATED = {
    "srrn_plain": "without",
    "srrn": "with",
    "durn_r_plain": "without",
    "durn_r": "with",
}
_SCORES = ("PSNR (luma)", "SSIM", "mIoU, guide")


def main_table(
    runs: Path,
    cases: list[Case],
    others: list[Case],
    guide: Path,
    labels: tuple[Label, Label],
) -> list[Row]:
    """A row for every training there is, between the rainy frames and the clean ones.

    Args:
        runs: folder of the trainings.
        cases: frames with drops by the generator that training uses.
        others: frames with drops by one that it never sees, restored only.
        guide: checkpoint of the trainings' frozen segmenter.
        labels: the guide, and a segmenter that never took part.

    Raises:
        StudyError: there is no training.
    """
    frozen = open_guide(guide)
    found = {name: runs / name / "last.pt" for name in ROWS if (runs / name / "last.pt").is_file()}
    if not found:
        raise StudyError(f"{runs}: expected trainings ({', '.join(ROWS)}), found none; train one")
    restorers: dict[str, Restore] = {"as the camera sees it": lambda case: case.trial.image}
    restorers |= {ROWS[name]: restorer(path, frozen) for name, path in found.items()}
    restorers["clean"] = lambda case: case.trial.clean
    rows = []
    for title, restore in restorers.items():
        unknown = [psnr(restore(case), case.trial.clean) for case in others]
        figures = judge(restore, cases, *labels).figures() | {_OTHERS: float(np.mean(unknown))}
        rows.append(_row(title, figures))
    return rows


_OTHERS = "PSNR, metaball drops"
_COLUMNS = ("PSNR", "PSNR (luma)", "SSIM", "mIoU, guide", "mIoU, second", _OTHERS)


def _row(name: str, figures: dict[str, float]) -> Row:
    paper = PAPER.get(name, (None, None, None))
    beside = dict(zip(("paper PSNR", "paper SSIM", "paper mIoU %"), paper, strict=True))
    return {"": name, **{column: figures[column] for column in _COLUMNS}, **beside}


def correlations(
    run: Path, kind: str, cases: list[Case], guide: Path, labels: tuple[Label, Label]
) -> list[Row]:
    """Rank correlations over the kept checkpoints of a run's last stage, with 95 % intervals.

    The stages before it are the same with and without joint training.
    """
    frozen = open_guide(guide)
    tallies = [
        judge(restorer(path, frozen), cases, *labels).figures()
        for path in sorted((run / "kept").glob("*.pt"))
        if _of_last_stage(path)
    ]
    scores = {name: [figures[name] for figures in tallies] for name in _SCORES}
    return [
        {
            "training": f"{run.name} ({kind} joint training)",
            "scores": f"{first} and {second}",
            "checkpoints": str(len(tallies)),
            "rho": found.rho,
            "from": found.low,
            "to": found.high,
            "paper": PAPER_RHO[kind, first, second],
        }
        for (first, second), found in rank_correlations(scores).items()
    ]


def _of_last_stage(path: Path) -> bool:
    checkpoint = open_checkpoint(path)
    schedule = checkpoint.recipe.schedule
    _, begin, _ = schedule.at(schedule.steps)
    return checkpoint.step > begin


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser("derain", __doc__, 4)
    add_segmenters(parser)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Judge as told and write the tables; returns the exit code."""
    arguments = arguments_of(given)
    try:
        figures, text = study(arguments)
        write_results(arguments.out, "Two-stage joint training", text, figures)
    except (ValueError, FileError) as error:
        print(f"training.studies.derain: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def study(arguments: argparse.Namespace) -> tuple[dict[str, list[Row]], str]:
    """Both tables, as figures and as Markdown."""
    pack = open_pack(data_folder(arguments.data) / "camvid", "test")
    cases = cases_of(pack, ["drops"], arguments.every)
    others = cases_of(pack, ["metaball_drops"], 2 * arguments.every)
    labels = segmenter(arguments.guide), segmenter(arguments.second)
    rows = main_table(arguments.runs, cases, others, arguments.guide, labels)
    rho = [
        row
        for name, kind in _CORRELATED.items()
        if (arguments.runs / name / "kept").is_dir()
        for row in correlations(arguments.runs / name, kind, cases[::2], arguments.guide, labels)
    ]
    trained = [arguments.runs / name / "last.pt" for name in ROWS]
    text = [
        f"Made by `python -m training.studies.derain RUNS --every {arguments.every}` on "
        f"{len(cases)} frames of CamVid's test split with drops on the glass, {len(others)} with "
        f"drops by another generator. {scale_of([path for path in trained if path.is_file()])} "
        "The paper's are 100 to 200 epochs at 512.",
        table(rows, {name: 2 for name in rows[0] if "PSNR" in name or "%" in name}),
        "## Do the scores rise together? Spearman's rho over checkpoints",
        "Checkpoints of the last stage, on every second of these frames.",
        table(rho, {"paper": 2, "rho": 2, "from": 2, "to": 2}) if rho else "Not measured.",
    ]
    return {"rows": rows, "rho": rho}, "\n\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
