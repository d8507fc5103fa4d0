"""A labelled set shown by night: labels, names and chance stay, and nothing is written over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.packs import write_camvid, write_idd, write_kitti  # noqa: E402
from tests.public_sets import acdc, cityscapes, move_split  # noqa: E402
from tests.test_cyclegan import TOY  # noqa: E402
from tests.toys import TRAIN  # noqa: E402
from training import checkpoints, train  # noqa: E402
from training.datasets import Pack, class_list, open_dataset, open_pack  # noqa: E402
from training.datasets.class_lists import described_classes, read_as, read_classes  # noqa: E402
from training.methods import translated  # noqa: E402
from training.networks.cyclegan import CycleGan  # noqa: E402
from training.samples import open_stream  # noqa: E402
from training.synthesis import degrade  # noqa: E402
from training.translate import RECORD, main  # noqa: E402


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "camvid", train=2, val=1)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pairs(pack: Pack) -> list[tuple[np.ndarray, np.ndarray]]:
    return [pack.load(number) for number in range(len(pack.pairs))]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command says."""
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("training.translate: ")
    return said


@pytest.mark.parametrize("write", [write_camvid, write_kitti, write_idd])
def test_pack_by_night_keeps_every_byte_of_its_labels(write, tmp_path: Path) -> None:
    source = write(tmp_path / "set", train=2, val=1)
    kept = files(source)
    assert main([str(source), "--to", "night", "--split", "train", "val"]) == 0
    assert files(source) == kept
    day, night = open_pack(source, "train"), open_pack(tmp_path / "set_to_night", "train")
    assert night.class_names == day.class_names
    np.testing.assert_array_equal(night.label_map.groups, day.label_map.groups)
    for before, after in zip(day.pairs, night.pairs, strict=True):
        assert after.labels.read_bytes() == before.labels.read_bytes()
        assert after.image.stem == f"{int(before.image.stem):05d}_{before.image.stem}"
        assert after.condition == "night"
    assert len(open_pack(tmp_path / "set_to_night", "val").pairs) == 1
    said = json.loads((tmp_path / "set_to_night" / RECORD).read_text())
    assert (said["to"], said["by"], said["seed"]) == ("night", "synthesis", 0)
    assert said["source"] == str(source)


def test_picture_is_the_synthesis_of_its_seed_and_number(camvid: Path, tmp_path: Path) -> None:
    options = ["--to", "night", "--seed", "7", "--strength", "0.5", "0.9"]
    for name in ("one", "other"):
        assert main([str(camvid), *options, "--out", str(tmp_path / name)]) == 0
    day, night = (open_pack(folder, "train") for folder in (camvid, tmp_path / "one"))
    for number, ((image, labels), (shown, _)) in enumerate(
        zip(pairs(day), pairs(night), strict=True)
    ):
        rng = np.random.default_rng((7, number))
        expected = degrade(image, "night", rng, labels=labels, strength=(0.5, 0.9))
        np.testing.assert_array_equal(shown, expected)
    assert files(tmp_path / "one") == files(tmp_path / "other")
    assert main([str(camvid), "--to", "night", "--out", str(tmp_path / "zero")]) == 0
    assert not np.array_equal(pairs(open_pack(tmp_path / "zero", "train"))[0][0], shown)


def test_stopped_translation_goes_on_and_takes_another_split(camvid: Path, tmp_path: Path) -> None:
    command = [str(camvid), "--to", "night", "--out", str(tmp_path / "night")]
    assert main(command) == 0
    whole = files(tmp_path / "night")
    first, second = (path for path in whole if path.startswith("images/"))
    for lost in (second, "splits/train.txt"):
        (tmp_path / "night" / lost).unlink()
    begun = (tmp_path / "night" / first).stat().st_mtime_ns
    assert main(command) == 0
    assert files(tmp_path / "night") == whole
    assert (tmp_path / "night" / first).stat().st_mtime_ns == begun
    assert main([*command, "--split", "val"]) == 0
    assert len(open_pack(tmp_path / "night", "val").pairs) == 1
    assert len(open_pack(tmp_path / "night", "train").pairs) == 2


def test_what_is_there_is_replaced_only_if_wished(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "night"
    command = [str(camvid), "--to", "night", "--out", str(out)]
    assert main([*command, "--split", "train", "val"]) == 0
    before = files(out)
    assert "made otherwise; replace it with --overwrite" in error_of(
        [*command, "--seed", "1"], capsys
    )
    assert files(out) == before
    assert main([*command, "--seed", "1", "--overwrite"]) == 0
    assert files(out)["splits/train.txt"] == before["splits/train.txt"]
    assert "splits/val.txt" not in files(out)
    changed = [path for path in files(out) if files(out)[path] != before[path]]
    assert sorted(Path(path).parts[0] for path in changed) == ["images", "images", RECORD]


def test_neither_the_source_nor_anything_else_is_written_over(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_camvid(tmp_path / "other", train=1)
    kept = files(tmp_path)
    for out, words in (
        (camvid, "apart from the source"),
        (camvid / "night", "apart from the source"),
        (tmp_path, "apart from the source"),
        (other, "found something else; choose another with --out"),
    ):
        command = [str(camvid), "--to", "night", "--overwrite", "--out", str(out)]
        assert words in error_of(command, capsys)
    assert files(tmp_path) == kept


def test_lookup_darkens_by_its_formula(camvid: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    assert main([str(camvid), "--to", "night", "--by", "lookup", "--out", str(out)]) == 0
    for (day, _), (night, _) in zip(
        pairs(open_pack(camvid, "train")), pairs(open_pack(out, "train")), strict=True
    ):
        assert np.abs(night - 255 * (day / 255) ** (1 / 0.35)).max() <= 0.5


def write_checkpoint(path: Path) -> Path:
    torch.manual_seed(0)
    made = checkpoints.Checkpoint(TOY, TOY.network(), 3, 20.0, ("camvid",))
    checkpoints.save_weights(path, made)
    return path


def test_generators_show_pictures_of_any_size(tmp_path: Path) -> None:
    odd = write_camvid(tmp_path / "odd", train=1)
    for kind, flags in (("images", cv2.IMREAD_COLOR), ("labels", cv2.IMREAD_UNCHANGED)):
        path = odd / kind / "train" / "0000.png"
        cv2.imwrite(str(path), cv2.imread(str(path), flags)[:45, :61])
    checkpoint = write_checkpoint(tmp_path / "last.pt")
    network = checkpoints.open_checkpoint(checkpoint).network
    assert isinstance(network, CycleGan)
    options = ["--by", str(checkpoint), "--device", "cpu"]
    for to, generator in (("night", network.to_night), ("day", network.to_day)):
        assert main([str(odd), "--to", to, *options]) == 0
        (shown, labels), (given, _) = (
            open_pack(folder, "train").load(0) for folder in (tmp_path / f"odd_to_{to}", odd)
        )
        assert shown.shape[:2] == labels.shape == (45, 61)
        np.testing.assert_array_equal(shown, translated(generator, given))
    assert open_pack(tmp_path / "odd_to_day", "train").pairs[0].condition == "clear"


def test_public_set_becomes_a_pack_of_the_labels_that_training_reads(tmp_path: Path) -> None:
    cityscapes(tmp_path / "city")
    move_split(tmp_path / "city", "train")
    command = [str(tmp_path / "city"), "--as", "cityscapes", "--to", "rain"]
    assert main(command) == 0
    known = open_dataset("cityscapes", tmp_path / "city", "train")
    wet = open_pack(tmp_path / "city_to_rain", "train")
    assert wet.class_names == known.class_names
    np.testing.assert_array_equal(wet.load(0)[1], known.load(0)[1])
    assert wet.pairs[0].condition == "rain"


@pytest.mark.parametrize("name", ["cityscapes19", "idd7", "voc2012", "camvid11"])
def test_classes_are_described_as_they_are_read(name: str, tmp_path: Path) -> None:
    names, read = read_as(class_list(name), "own")
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(described_classes(names, read)))
    names_again, again = read_classes(path)
    ids = np.arange(len(names), dtype=np.uint8)
    if names_again == names:
        np.testing.assert_array_equal(again.groups[: len(names)], read.groups[: len(names)])
        np.testing.assert_array_equal(again.table[ids], read.table[ids])
    else:
        np.testing.assert_array_equal(again.table[ids], read.likeliest(ids))


def test_night_pack_is_trained_on_as_night(camvid: Path, tmp_path: Path) -> None:
    assert main([str(camvid), "--to", "night"]) == 0
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "0"]
    options += ["--steps", "1", "--batch", "2", "--crop", "32", "48"]
    assert train.main([*TRAIN, *options, "--also", "camvid_to_night=0.5"]) == 0
    checkpoint = checkpoints.open_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint.learnt_from == ("camvid", "camvid_to_night")
    recipe = replace(checkpoint.recipe, data={"camvid_to_night": 1.0})
    stormy = replace(recipe.augmentation, weather=1.0, photometry=0.0)
    calm = replace(stormy, weather=0.0)
    one, other = (
        open_stream(replace(recipe, augmentation=augmentation), tmp_path).samples[0]["image"]
        for augmentation in (stormy, calm)
    )
    assert torch.equal(one, other)  # no second weather over the first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "rain", "--by", "lookup"], ["--to rain: expected one of night by lookup"]),
        (["--to", "day"], ["--to day: expected one of rain, fog, night", "by synthesis"]),
        (["--to", "night", "--by", "lookup", "--strength", "0", "1"], ["leave it out"]),
        (["--to", "night", "--strength", "0.5", "2"], ["expected 0 <= LOW <= HIGH <= 1"]),
        (["--to", "night", "--by", "nowhere.pt"], ["nowhere.pt: expected a checkpoint"]),
        (["--to", "night", "--split", "test"], ["test.txt: expected a split file", "train, val"]),
    ],
)
def test_what_cannot_be_translated_is_said_before_anything_is_written(
    options: list[str],
    words: list[str],
    camvid: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = error_of([str(camvid), *options, "--out", str(tmp_path / "out")], capsys)
    assert [word for word in words if word not in said] == []
    assert not (tmp_path / "out").exists()


def test_checkpoint_of_another_network_is_refused(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weather = replace(TOY, role="weather", options={}, width=8)
    made = checkpoints.Checkpoint(weather, weather.network(), 1, 0.0, ())
    checkpoints.save_weights(tmp_path / "weather.pt", made)
    said = error_of([str(camvid), "--to", "night", "--by", str(tmp_path / "weather.pt")], capsys)
    assert "expected a checkpoint of cyclegan, found a WeatherNet" in said


def test_only_days_become_nights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acdc(tmp_path / "acdc")
    command = [str(tmp_path / "acdc"), "--to", "night", "--split", "val"]
    assert "name the data set with --as, one of acdc" in error_of(command, capsys)
    said = error_of([*command, "--as", "acdc"], capsys)
    assert "expected pictures in clear weather in val, found none" in said
