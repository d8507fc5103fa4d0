"""Which parts of the joint network earn their place: short trainings with one part changed.

  python -m training.studies.joint RUNS --out docs/results/joint.md

RUNS holds a folder for every training, named as its recipe (`joint_small`, `joint_unmodulated`,
...), all begun from the same weights. Frames of CamVid's test split in turn in rain, drops, fog.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from adverse_perception.files import FileError
from adverse_perception.frames import Condition, Frame, Weather
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.scores import ConfusionMatrix
from adverse_perception.segmenters import JointSegmenter
from training.checkpoints import open_checkpoint
from training.datasets import data_folder, open_pack
from training.network_engine import NetworkEngine
from training.restoration_recipes import ABLATED
from training.restoration_scores import psnr, ssim
from training.studies.restorers import Case, cases_of, study_parser
from training.studies.spearman import StudyError
from training.studies.tables import Row, table, write_results
from training.trials import OWN

TITLES = {
    "joint_small": "whole",
    "joint_unmodulated": "without semantic modulation",
    "joint_unfilled": "without filling what is hidden",
    "joint_unrefined": "without the second step",
    "joint_undistilled": "without distillation",
    "joint_matched": "with feature matching (L_H) besides",
    "joint_unrestored": "segmentation and distillation only",
}
_WEATHERS = OWN[:3]


def row_of(path: Path, cases: list[Case]) -> Row:
    """The scores of one training. Raises `CheckpointError`."""
    checkpoint = open_checkpoint(path)
    segmenter = JointSegmenter(NetworkEngine(checkpoint.recipe, checkpoint.network))
    matrix, similar, near = ConfusionMatrix(len(CLASS_NAMES)), [], []
    for case in cases:
        frame = Frame(case.trial.image, restore=True)
        said = segmenter.segment(frame, Condition(Weather.CLEAR))
        assert said.restored is not None
        matrix.add(said.labels, case.labels)
        near.append(psnr(said.restored, case.trial.clean))
        similar.append(ssim(said.restored, case.trial.clean))
    title = TITLES[checkpoint.recipe.name]
    means = {"PSNR": float(np.mean(near)), "SSIM": float(np.mean(similar))}
    return {"": title, "mIoU": float(matrix.miou()), **means}


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = study_parser("joint", __doc__, 3)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Judge as told and write the table; returns the exit code."""
    arguments = arguments_of(given)
    try:
        found = [arguments.runs / name / "last.pt" for name in ABLATED]
        found = [path for path in found if path.is_file()]
        if not found:
            raise StudyError(
                f"{arguments.runs}: expected trainings ({', '.join(ABLATED)}), found none; "
                "train them with training.train"
            )
        pack = open_pack(data_folder(arguments.data) / "camvid", "test")
        cases = cases_of(pack, _WEATHERS, arguments.every)
        rows = [row_of(path, cases) for path in found]
        recipe, step = open_checkpoint(found[0]).recipe, open_checkpoint(found[0]).step
        text = (
            f"Made by `python -m training.studies.joint RUNS --every {arguments.every}` on "
            f"{len(cases)} frames of CamVid's test split, in turn with {', '.join(_WEATHERS)}. "
            f"Each row is {step} steps of {recipe.schedule.batch} crops of "
            f"{recipe.crop[1]}x{recipe.crop[0]} from the same weights: differences of less than "
            f"a point say nothing.\n\n{table(rows, {'PSNR': 2})}"
        )
        write_results(arguments.out, "Parts of the joint engine", text, {"rows": rows})
    except (ValueError, FileError) as error:
        print(f"training.studies.joint: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
