"""Samples of two sides that show different places: from folders, packs, and what is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.test_cyclegan import RECIPE, TOY, write_nights, write_unpaired  # noqa: E402
from training import checkpoints, samples, train  # noqa: E402
from training.datasets import BrokenPictureWarning, DatasetError  # noqa: E402
from training.unpaired import Domains  # noqa: E402

COMMAND = ["cyclegan", "--device", "cpu", "--workers", "0", "--crop", "32", "48", "--steps", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unpaired(tmp_path_factory.mktemp("data"))


def test_two_folders_are_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVERSE_PERCEPTION_DATA", str(tmp_path / "nowhere"))
    days, nights = (write_nights(tmp_path / name) for name in ("days", "nights"))
    folders = ["--day", str(days), "--night", str(nights), "--out", str(tmp_path / "run")]
    assert train.main([*COMMAND, *folders]) == 0
    checkpoint = checkpoints.open_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.learnt_from == ("days", "nights")
    assert checkpoint.recipe.options == RECIPE.options


def empty(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return ["--data", str(folder), "--night", str(folder / "empty")]


def absent(folder: Path) -> list[str]:
    return ["--data", str(folder), "--day", str(folder / "absent"), "--night", str(folder)]


def without_nights(folder: Path) -> list[str]:
    return ["--data", str(folder)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty, ["empty: expected pictures in it or below, found none", ".jpg"]),
        (absent, ["absent: expected a folder of pictures, found none"]),
        (without_nights, ["night_rain_clips: expected pictures taken at night", "--night"]),
    ],
)
def test_side_without_pictures_is_named(
    make: Callable[[Path], list[str]],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_nights(tmp_path / "some", 1)
    assert train.main([*COMMAND, *make(tmp_path), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert [word for word in words if word not in said] == []


def test_folder_that_a_recipe_does_not_learn_from_is_refused(data: Path) -> None:
    with pytest.raises(DatasetError, match="recipe clear: expected no --day, found somewhere"):
        samples.open_stream(
            train.recipe_of(train.arguments_of(["clear"], None)),
            data,
            domains=Domains(day=Path("somewhere")),
        )


def test_sample_depends_on_seed_and_number_alone(data: Path) -> None:
    one, other = (samples.open_stream(TOY, data).samples for _ in range(2))
    for number in (5, 0, 17):
        first, again = one[number], other[number]
        assert all(torch.equal(first[side], again[side]) for side in ("day", "night"))
        assert first["day"].shape == first["night"].shape == (32, 48, 3)
        assert first["day"].float().mean() > first["night"].float().mean()
    reseeded = samples.open_stream(replace(TOY, seed=2), data).samples
    assert not torch.equal(one[0]["day"], reseeded[0]["day"])


def test_days_come_from_every_pack_but_those_left_out(data: Path, tmp_path: Path) -> None:
    stream = samples.open_stream(TOY, data, ["idd_lite"], ["camvid"])
    assert stream.learnt_from == ("camvid", "night_rain_clips")
    own = Domains(night=write_nights(tmp_path / "mine"))
    assert samples.open_stream(TOY, data, domains=own).learnt_from[-1] == "mine"


def test_broken_picture_is_named_or_skipped(data: Path, tmp_path: Path) -> None:
    nights = write_nights(tmp_path / "nights", 2)
    (nights / "a" / "b" / "0.jpg").write_bytes(b"no picture")
    domains = Domains(night=nights)
    whole = samples.open_stream(TOY, data, domains=domains).samples
    with pytest.raises(DatasetError, match=r"0\.jpg: expected a picture"):
        [whole[number] for number in range(8)]
    skipping = samples.open_stream(TOY, data, domains=domains, skip_broken=True).samples
    with pytest.warns(BrokenPictureWarning, match=r"0\.jpg"):
        assert len([skipping[number] for number in range(8)]) == 8
