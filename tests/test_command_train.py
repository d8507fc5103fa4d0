"""The command that trains: what it reads, what it passes over, and why it will not begin."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.packs import write_camvid  # noqa: E402
from tests.public_sets import cityscapes, move_split  # noqa: E402
from tests.toys import TRAIN, write_data  # noqa: E402
from training import checkpoints, train  # noqa: E402
from training.datasets import BrokenPictureWarning  # noqa: E402
from training.recipes import RECIPES  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "nowhere"], ["nowhere: expected a folder", "pass --data"]),
        (["--init", "missing.pt"], ["missing.pt: expected a checkpoint", "found no file"]),
        (["--backbone", "missing.pth"], ["missing.pth: expected a state dict of torchvision"]),
        (["--leave-out", *RECIPES["clear"].data], ["everything is left out", "leave out less"]),
        (["--leave-out", "street"], ["kitti_semantic: expected a data set, found no folder"]),
    ],
)
def test_training_that_cannot_begin_says_why(
    options: list[str],
    words: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train.main([*TRAIN, "--data", str(data), "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("training.train: ")
    assert torch.tensor(1e-40) * 1 != 0  # subnormal numbers are back for whoever called
    assert [word for word in words if word not in said] == []
    assert not (tmp_path / "last.pt").exists()


def test_broken_picture_ends_the_training_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid = write_camvid(tmp_path / "camvid", train=1, val=1)
    (camvid / "images/train/0000.png").write_bytes(b"no picture")
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "1"]
    assert train.main([*TRAIN, *options, "--steps", "1", "--batch", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "0000.png: expected a picture, found a file that cannot be decoded" in said


def test_broken_picture_is_skipped_and_named_if_wished(tmp_path: Path) -> None:
    camvid = write_camvid(tmp_path / "camvid", train=2, val=1)
    (camvid / "images/train/0000.png").write_bytes(b"no picture")
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "0"]
    options += ["--steps", "2", "--batch", "2", "--crop", "32", "48", "--skip-broken"]
    with pytest.warns(BrokenPictureWarning, match=r"0000\.png"):
        assert train.main([*TRAIN, *options]) == 0
    recipe = checkpoints.open_checkpoint(tmp_path / "run" / "last.pt").recipe
    assert recipe.crop == (32, 48)


def test_public_data_set_is_learnt_from_beside_the_recipes(tmp_path: Path) -> None:
    write_camvid(tmp_path / "camvid", train=2, val=1)
    cityscapes(tmp_path / "cityscapes")
    move_split(tmp_path / "cityscapes", "train")
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "0"]
    options += ["--steps", "1", "--batch", "2", "--crop", "32", "48", "--also", "cityscapes=0.5"]
    assert train.main([*TRAIN, *options]) == 0
    checkpoint = checkpoints.open_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.learnt_from == ("camvid", "cityscapes")
    assert checkpoint.recipe.data["cityscapes"] == 0.5


def test_unknown_stage_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["srrn", "--stages", "polish"]) == 2
    said = capsys.readouterr().err
    assert "expected stages among mask, coarse, refine, found polish" in said
