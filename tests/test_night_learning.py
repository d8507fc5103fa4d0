"""What teaches a network about the night: labels, judges, its own average, a guide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from adverse_perception.inference import load_engine  # noqa: E402
from adverse_perception.labels import CLASS_NAMES, UNLABELLED  # noqa: E402
from tests.nights import toy_of, write_night_data  # noqa: E402
from tests.toys import ALONE, TOY, run_of  # noqa: E402
from training import export, samples, train  # noqa: E402
from training.checkpoints import open_checkpoint, open_guide  # noqa: E402
from training.datasets import BrokenPictureWarning, DatasetError  # noqa: E402
from training.methods.distilling import Distilling  # noqa: E402
from training.methods.self_training import (  # noqa: E402
    SelfTraining,
    half_of_the_classes,
    masked,
)
from training.networks.guide import Guide  # noqa: E402
from training.night_recipes import NIGHT_RECIPES  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.run import Run  # noqa: E402
from training.sources import open_sources  # noqa: E402
from training.train import batches  # noqa: E402
from training.unpaired import Domains  # noqa: E402

CLASSES = len(CLASS_NAMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_night_data(tmp_path_factory.mktemp("data"))


def pictures(count: int = 1, height: int = 128, width: int = 160) -> Tensor:
    torch.manual_seed(1)
    drawn: Tensor = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)
    return drawn


def test_half_of_the_classes_is_pasted() -> None:
    labels = torch.tensor([0, 1, 2, 3, 255]).repeat(2, 6, 1)
    pasted = half_of_the_classes(labels)
    for one, where in zip(labels, pasted, strict=True):
        assert len(one[where].unique()) == 2
        assert not where[one == UNLABELLED].any()


def test_masks_hide_most_patches_and_leave_the_rest() -> None:
    torch.manual_seed(0)
    image = torch.full((4, 100, 130, 3), 7, dtype=torch.uint8)
    hidden = masked(image) != 7
    assert 0.5 < hidden.float().mean() < 0.9
    corner = hidden[:, :32, :32].float().mean((1, 2, 3))
    assert ((corner == 0) | (corner == 1)).all()


class Sure(nn.Module):
    """Says of every picture that it is of one class, or of another where it is dark."""

    def __init__(self, bright: int, dark: int, logit: float = 20.0) -> None:
        super().__init__()
        self.bright, self.dark, self.logit = bright, dark, logit

    def forward(self, image: Tensor) -> Tensor:
        dark = image[:, ::4, ::4].float().mean(3) < 150
        named = torch.where(dark, self.dark, self.bright)
        return self.logit * nn.functional.one_hot(named, CLASSES).permute(0, 3, 1, 2).float()


def unlabelled_batch(label: int) -> dict[str, Tensor]:
    """Bright pictures all of one label, and dark ones without."""
    image = torch.full((2, 128, 160, 3), 200, dtype=torch.uint8)
    batch = {"image": image, "day": image, "target": image // 10}
    batch["labels"] = torch.full((2, 128, 160), label)
    return batch | {"groups": torch.eye(CLASSES).repeat(2, 1, 1)}


def self_training(teacher: nn.Module) -> SelfTraining:
    method = SelfTraining(NIGHT_RECIPES["night_self_training"], None)
    method.learn_from(teacher)
    return method


def test_self_training_believes_a_sure_teacher() -> None:
    """Of what is dark the teacher's word counts, of what is pasted the label's."""
    batch = unlabelled_batch(label=3)
    method = self_training(Sure(bright=0, dark=5))
    agreed = method.loss(Sure(bright=3, dark=5), batch, "all")
    assert agreed.item() < 0.5  # masked patches are as grey as nothing that was labelled
    other = method.loss(Sure(bright=3, dark=4), batch, "all")
    assert other.item() > agreed.item() + 1
    mislabelled = method.loss(Sure(bright=0, dark=5), batch, "all")
    assert mislabelled.item() > agreed.item() + 5


def test_self_training_does_not_believe_a_teacher_that_doubts() -> None:
    batch = unlabelled_batch(label=3)
    batch["labels"].fill_(UNLABELLED)
    method = self_training(Sure(bright=0, dark=5, logit=0.1))
    assert method.loss(Sure(bright=3, dark=4), batch, "all").item() == pytest.approx(0, abs=1e-6)


def test_teacher_is_the_runs_average(data: Path, tmp_path: Path) -> None:
    run = Run(toy_of(NIGHT_RECIPES["night_self_training"]), tmp_path, ALONE)
    run.save()
    run.resume()
    assert isinstance(run.method, SelfTraining)
    assert run.method.teacher is run.average.network


def test_distilled_of_what_the_guide_says_by_day() -> None:
    """And of what it says of a real night, where nothing else is known."""
    batch = unlabelled_batch(label=3) | {"day": torch.full((2, 128, 160, 3), 200).to(torch.uint8)}
    batch["image"] = batch["image"] // 10  # night has fallen
    batch["labels"].fill_(UNLABELLED)
    method = Distilling(NIGHT_RECIPES["night"], Guide(Sure(bright=3, dark=5)))  # type: ignore[arg-type]
    right = method.loss(Sure(bright=0, dark=3), batch, "all")
    wrong = method.loss(Sure(bright=0, dark=7), batch, "all")
    assert right.item() < wrong.item()
    real = method.loss(Sure(bright=0, dark=5), batch, "all")
    assert real.item() > right.item()  # by day it is another, and the day counts more


def test_day_and_night_of_a_sample_are_one_view(data: Path) -> None:
    toy = toy_of(NIGHT_RECIPES["night"])
    deep = replace(toy.augmentation, weather=1.0, photometry=0.0, strength=(0.8, 1.0))
    toy = replace(toy, augmentation=deep)
    stream = samples.open_stream(toy, data).samples
    plain = samples.LabelledStream(toy, open_sources(toy, data))
    darker = 0
    for number in range(6):
        one, same = stream[number], plain[number]
        assert torch.equal(one["labels"], same["labels"])
        assert torch.equal(one["image"], same["image"])
        darker += int(one["image"].float().mean() < one["day"].float().mean())
        assert one["target"].float().mean() < 80
    assert darker >= 4  # in so small a picture a lamp is a sun


def test_real_nights_can_be_left_out_and_skipped(data: Path, tmp_path: Path) -> None:
    toy = toy_of(NIGHT_RECIPES["night_adaptive"])
    with pytest.raises(DatasetError, match="or that it is left out; name one of yours with --ni"):
        samples.open_stream(toy, data, ["night_rain_clips"])
    folder = tmp_path / "nights"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"no picture")
    assert cv2.imwrite(str(folder / "whole.png"), np.zeros((60, 80, 3), np.uint8))
    mine = samples.open_stream(toy, data, skip_broken=True, domains=Domains(night=folder))
    assert mine.learnt_from[-1] == "nights"
    with pytest.warns(BrokenPictureWarning):
        assert [int(mine.samples[number]["target"].max()) for number in range(8)] < [90] * 8


def test_what_is_distilled_or_fused_has_to_be_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data", str(data), "--out", str(tmp_path), "--device", "cpu", "--workers", "0"]
    common += ["--leave-out", "street", "kitti_semantic"]
    assert train.main(["night", *common]) == 2
    assert "name a checkpoint with --guide" in capsys.readouterr().err
    assert train.main(["night_fusion_soft", *common]) == 2
    assert "expected two trained channels to fuse, found 0" in capsys.readouterr().err


LEARNING = [recipe for recipe in NIGHT_RECIPES.values() if not recipe.name.endswith("_full")]


@pytest.mark.parametrize("recipe", LEARNING, ids=lambda recipe: recipe.name)
def test_recipe_learns_goes_on_and_drives(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    """In two sittings as in one."""
    toy = toy_of(recipe)
    guide = _guide(data, tmp_path / "guide") if toy.guided else None
    whole = run_of(toy, tmp_path / "whole", data, guide=guide)
    run = Run(toy, tmp_path, ALONE, guide=guide)
    stream = samples.open_stream(toy, data).samples
    first = [
        run.train_step(batch) for batch, _ in zip(batches(run, stream, 0), range(2), strict=False)
    ]
    run.save()
    assert first + run_of(toy, tmp_path, data, guide=guide) == pytest.approx(whole, rel=1e-4)
    engine = tmp_path / "night.onnx"
    command = [str(tmp_path / "last.pt"), "--out", str(engine), "--no-scores"]
    assert export.main(command) == 0
    metadata = load_engine(engine).metadata
    assert metadata.role == "segmentation" and metadata.conditions == ("night",)
    learnt = [one["name"] for one in metadata.training_data]
    assert ("night_rain_clips" in learnt) == toy.adapts


def _guide(data: Path, folder: Path) -> Guide:
    run_of(replace(TOY, schedule=replace(TOY.schedule, steps=2)), folder, data)
    return open_guide(folder / "last.pt")


def test_guide_says_of_pictures_what_its_network_does(data: Path, tmp_path: Path) -> None:
    run_of(replace(TOY, schedule=replace(TOY.schedule, steps=2)), tmp_path, data)
    guide = open_guide(tmp_path / "last.pt")
    network = open_checkpoint(tmp_path / "last.pt").network
    assert torch.equal(guide.logits(pictures()), network(pictures()))
    assert not guide.logits(pictures()).requires_grad
