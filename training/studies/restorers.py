"""Trained restorers on trial: how near they come, and what two segmenters see in that."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.scores import ConfusionMatrix
from training.checkpoints import GUIDE, open_checkpoint, open_guide
from training.datasets import Pack
from training.methods import METHODS, Restoring, picture_of, planes_of
from training.methods.cooperate import Cooperating, chances_of
from training.networks.guide import Guide
from training.restoration_scores import PictureScores, luma_psnr, psnr, score_picture, ssim
from training.trials import Trial, trial_of


def plain_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """What the command lines of all studies begin with."""
    return argparse.ArgumentParser(
        prog=f"python -m training.studies.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def study_parser(name: str, description: str | None, every: int) -> argparse.ArgumentParser:
    """What the command lines of all studies of trainings have in common."""
    parser = plain_parser(name, description)
    parser.add_argument("runs", type=Path, help="folder of the trainings")
    parser.add_argument("--data", type=Path, help="folder that holds camvid/")
    parser.add_argument(
        "--every", type=int, default=every, help="only every so manieth test frame"
    )
    parser.add_argument("--out", type=Path, default=Path(f"{name}.md"), help="file to write")
    return parser


def add_segmenters(parser: argparse.ArgumentParser) -> None:
    """The two that look at what was restored."""
    parser.add_argument("--guide", type=Path, default=GUIDE, help="segmenter of the trainings")
    parser.add_argument("--second", type=Path, required=True, help="one that never took part")


@dataclass(frozen=True)
class Case:
    """A frame on trial, with its labels (H, W) uint8."""

    trial: Trial
    labels: UInt8Array


def cases_of(pack: Pack, names: Sequence[str], every: int) -> list[Case]:
    """Every so manieth frame of a pack, in the weathers named in turn."""
    cases = []
    for turn, number in enumerate(range(0, len(pack.pairs), every)):
        image, labels = pack.load(number)
        other = pack.load((number + len(pack.pairs) // 2) % len(pack.pairs))[0]
        name = names[turn % len(names)]
        cases.append(Case(trial_of(image, name, number, labels=labels, reflected=other), labels))
    return cases


Restore = Callable[[Case], UInt8Array]
Label = Callable[[UInt8Array], UInt8Array]


def labels_of(logits: Tensor, shape: tuple[int, int]) -> UInt8Array:
    """(H, W) uint8 of logits (1, K, h, w) at any size."""
    full = interpolate(logits.float(), size=shape, mode="bilinear")
    return np.asarray(full.argmax(1)[0].numpy(), np.uint8)


def segmenter(path: Path) -> Label:
    """Labels by a frozen segmenter. Raises `CheckpointError`."""
    guide = open_guide(path)

    @torch.no_grad()
    def label(image: UInt8Array) -> UInt8Array:
        return labels_of(guide(planes_of(image)).logits, image.shape[:2])

    return label


def restorer(path: Path, guide: Guide, *, told: bool = False, rounds: int = 1) -> Restore:
    """What a checkpoint makes of a case, told the labels if its recipe restores by them.

    Args:
        path: of the checkpoint.
        guide: the frozen segmenter of its training.
        told: SR-Net learns what is hidden, too.
        rounds: of SR-Net's cooperation.

    Raises:
        CheckpointError: the file is unfit.
    """
    checkpoint = open_checkpoint(path)
    method = METHODS[checkpoint.recipe.role](checkpoint.recipe, guide)
    assert isinstance(method, Restoring), checkpoint.recipe.role

    @torch.no_grad()
    def restore(case: Case) -> UInt8Array:
        image = planes_of(case.trial.image)
        if isinstance(method, Cooperating):
            labels = torch.from_numpy(case.labels.astype(np.int64))[None]
            truth = chances_of(labels, torch.eye(len(CLASS_NAMES))[None])
            hidden = torch.from_numpy(case.trial.occlusion)[None] if told else None
            made = method.cooperate(
                checkpoint.network, image, rounds=rounds, truth=truth, hidden=hidden
            )
            return picture_of(made.restored)
        return picture_of(method.restore(checkpoint.network, image))

    return restore


def scale_of(paths: Sequence[Path]) -> str:
    """What the trainings of these checkpoints were, in a sentence. Raises `CheckpointError`."""
    said = []
    for path in paths:
        checkpoint = open_checkpoint(path)
        recipe = checkpoint.recipe
        stages = "+".join(stage.name for stage in recipe.schedule.stages)
        crops = f"{recipe.schedule.batch} crops of {recipe.crop[1]}x{recipe.crop[0]}"
        said.append(
            f"{path.parent.name}: {checkpoint.step} steps ({stages}) of {crops}, width "
            f"{recipe.width}"
        )
    return f"Scale of the trainings: {'; '.join(said)}."


BY_PICTURE = {
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "miou": "mIoU by picture",
    "weighted_iou": "weighted IoU",
}
"""Titles of `PictureScores`."""


@dataclass
class Tally:
    """Scores of one restorer over the cases."""

    guide: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CLASS_NAMES)))
    second: ConfusionMatrix = field(default_factory=lambda: ConfusionMatrix(len(CLASS_NAMES)))
    psnr: list[float] = field(default_factory=list)
    luma: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    pictures: list[PictureScores] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Means over the pictures, mIoU over one confusion matrix; at last, SR-Net's own."""
        return {
            "PSNR": float(np.mean(self.psnr)),
            "PSNR (luma)": float(np.mean(self.luma)),
            "SSIM": float(np.mean(self.ssim)),
            "mIoU, guide": float(self.guide.miou()),
            "mIoU, second": float(self.second.miou()),
            **{
                title: float(np.nanmean([getattr(one, name) for one in self.pictures]))
                for name, title in BY_PICTURE.items()
            },
        }


def judge(restore: Restore, cases: Sequence[Case], guide: Label, second: Label) -> Tally:
    """Restore every case and score it, by the guide and by a segmenter that never took part."""
    tally = Tally()
    for case in tqdm(cases, leave=False):
        picture, clean = restore(case), case.trial.clean
        tally.psnr.append(psnr(picture, clean))
        tally.luma.append(luma_psnr(picture, clean))
        tally.ssim.append(ssim(picture, clean))
        tally.guide.add(guide(picture), case.labels)
        named = second(picture)
        tally.second.add(named, case.labels)
        tally.pictures.append(score_picture(named, case.labels, len(CLASS_NAMES)))
    return tally
