"""From drawn pictures to an engine that drives: train, go on, export, evaluate, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adverse_perception.frames import Weather  # noqa: E402
from adverse_perception.inference import load_engine  # noqa: E402
from adverse_perception.labels import CLASS_NAMES  # noqa: E402
from tests.conftest import (  # noqa: E402
    WEATHER_BRIGHTNESS,
    grey,
    write_segmentation_engine,
    write_weather_engine,
)
from tests.packs import COARSE_CLASSES, write_camvid, write_idd  # noqa: E402
from training import checkpoints, evaluate, export, samples, train  # noqa: E402
from training.datasets import Pack, open_pack  # noqa: E402
from training.recipes import RECIPES, Augmentation, Recipe, Schedule  # noqa: E402
from training.run import Process, Run, learning_rate  # noqa: E402

torch.set_num_threads(1)
ALONE = Process(0, 1, torch.device("cpu"))
LIGHT = Augmentation(scales=(0.9, 1.4), photometry=0.3, weather=0.3)
TOY = Recipe(
    "toy",
    "segmentation",
    ("clear",),
    Schedule(6, batch=4, rate=4e-3, average=0.9),
    width=16,
    size=(48, 64),
    crop=(32, 48),
    data={"camvid": 0.7, "idd_lite": 0.3},
    augmentation=LIGHT,
)
TOY_WEATHER = replace(TOY, name="weather", role="weather", width=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a fine and a coarse pack."""
    folder = tmp_path_factory.mktemp("data")
    write_camvid(folder / "camvid", train=6, val=2, test=3)
    write_idd(folder / "idd_lite", train=4, val=2)
    return folder


def run_of(recipe: Recipe, folder: Path, data: Path, save_every: int = 1000) -> list[float]:
    """Train a recipe in a folder, going on where it stopped; the loss of every step."""
    run = Run(recipe, folder, ALONE)
    run.resume()
    stream = samples.open_stream(recipe, data)
    return train.train(run, stream, open_pack(data / "camvid", "val"), save_every=save_every)


@dataclass(frozen=True)
class Trained:
    """What a short training left behind."""

    losses: list[float]
    checkpoint: Path
    engine: Path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained for a few seconds, and exported by the command."""
    folder = tmp_path_factory.mktemp("run")
    recipe = replace(TOY, schedule=replace(TOY.schedule, steps=40))
    losses = run_of(recipe, folder, data)
    engine = folder / "engines" / "toy.onnx"
    command = [str(folder / "last.pt"), "--out", str(engine), "--data", str(data / "camvid")]
    assert export.main(command) == 0
    return Trained(losses, folder / "last.pt", engine)


def test_loss_falls(trained: Trained) -> None:
    assert len(trained.losses) == 40
    assert np.mean(trained.losses[-8:]) < 0.6 * np.mean(trained.losses[:4])


def test_checkpoint_says_what_it_is(trained: Trained) -> None:
    checkpoint = checkpoints.open_checkpoint(trained.checkpoint)
    assert checkpoint.recipe == replace(TOY, schedule=replace(TOY.schedule, steps=40))
    assert checkpoint.step == 40
    assert checkpoint.score > 0.1
    assert checkpoint.learnt_from == ("camvid", "idd_lite")
    assert list((trained.checkpoint.parent / "tensorboard").glob("events.*")) != []


def test_exported_engine_drives_and_describes_itself(trained: Trained) -> None:
    engine = load_engine(trained.engine, role="segmentation")
    assert engine.run(grey(90, 48, 64))["logits"].shape == (len(CLASS_NAMES), 12, 16)
    metadata = engine.metadata
    assert (metadata.name, metadata.input_height, metadata.input_width) == ("toy", 48, 64)
    assert [entry["name"] for entry in metadata.training_data] == ["camvid", "idd_lite"]
    assert all("non-commercial" in entry["terms"] or "NC" in entry["terms"]
               for entry in metadata.training_data)  # fmt: skip
    assert set(metadata.scores) == {"clear", "rain", "fog", "night"}
    assert metadata.exported_with["step"] == "40"
    assert metadata.notes == ""


def figures_of(engine: Path, data: Path, out: Path, *options: str) -> dict[str, object]:
    """What the command writes about an engine on the toy pack."""
    command = [str(engine), "--data", str(data), "--json", str(out), *options]
    assert evaluate.main(command) == 0
    figures: dict[str, object] = json.loads(out.read_text())
    return figures


def test_engine_and_checkpoint_score_alike(
    trained: Trained, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "figures.json"
    by_engine = figures_of(trained.engine, data / "camvid", out)
    by_torch = figures_of(trained.checkpoint, data / "camvid", out)
    assert by_engine["frames"] == 3
    assert list(by_engine["iou"]) == list(CLASS_NAMES)
    assert by_engine["miou"] == pytest.approx(by_torch["miou"], abs=0.001)
    assert 0.2 < by_engine["miou"] <= 1.0
    metadata = load_engine(trained.engine).metadata
    assert metadata.scores["clear"] == pytest.approx(by_engine["miou"], abs=0.001)
    assert (by_engine["backend"], by_torch["backend"]) == ("onnxruntime", "pytorch")
    assert {"machine", "split", "data", "engine"} <= by_engine.keys()
    assert "toy on camvid test (3 frames" in capsys.readouterr().out


def test_class_that_never_occurs_has_no_score(tmp_path: Path, data: Path) -> None:
    path = write_segmentation_engine(tmp_path / "one.onnx", size=(48, 64))
    iou = figures_of(path, data / "camvid", tmp_path / "f.json")["iou"]
    assert isinstance(iou, dict)
    assert all(value is None or 0 <= value <= 1 for value in iou.values())
    assert iou["sky"] is not None


def test_weather_is_put_on_the_frames_the_same_in_every_run(
    trained: Trained, data: Path, tmp_path: Path
) -> None:
    first, again = (
        figures_of(trained.engine, data / "camvid", tmp_path / "f.json", "--weather", "fog")
        for _ in range(2)
    )
    clear = figures_of(trained.engine, data / "camvid", tmp_path / "f.json")
    assert first == again
    assert first["weather"] == "fog"
    assert first["pixel_accuracy"] != clear["pixel_accuracy"]


def test_coarse_pack_is_scored_in_its_own_classes(
    trained: Trained, data: Path, tmp_path: Path
) -> None:
    options = ("--split", "val")
    figures = figures_of(trained.engine, data / "idd_lite", tmp_path / "f.json", *options)
    assert list(figures["iou"]) == list(COARSE_CLASSES)
    assert figures["frames"] == 2
    assert figures["miou"] > 0.2


def test_weather_engine_is_scored_by_accuracy(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_weather_engine(tmp_path / "weather.onnx")
    figures = figures_of(path, data / "camvid", tmp_path / "f.json")
    assert 0 <= figures["accuracy"] <= 1
    assert list(figures["iou"]) == [weather.value for weather in Weather]
    assert np.sum(figures["confusion"]) == figures["frames"] == 3
    assert evaluate.main([str(path), "--data", str(data / "camvid"), "--weather", "fog"]) == 2
    assert "expected no --weather, found fog" in capsys.readouterr().err
    engine = load_engine(path)
    for weather, brightness in WEATHER_BRIGHTNESS.items():
        assert evaluate.name_weather(engine, grey(brightness)) is weather


def test_weather_network_trains_and_exports(data: Path, tmp_path: Path) -> None:
    losses = run_of(TOY_WEATHER, tmp_path, data, save_every=3)
    assert len(losses) == 6
    out = tmp_path / "weather.onnx"
    assert export.main([str(tmp_path / "last.pt"), "--out", str(out), "--no-scores"]) == 0
    engine = load_engine(out, role="weather")
    assert engine.run(grey(100, 48, 64))["scores"].shape == (len(Weather),)
    assert engine.metadata.scores == {}


@pytest.mark.parametrize("recipe", [TOY, TOY_WEATHER], ids=["segmentation", "weather"])
def test_resumed_run_is_the_run_that_was_never_stopped(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    whole = run_of(recipe, tmp_path / "whole", data)
    run = Run(recipe, tmp_path / "parts", ALONE)
    stream = samples.open_stream(recipe, data)
    steps = train.batches(run, stream.samples, workers=0)
    first = [run.train_step(run.network.train(), next(steps)) for _ in range(3)]
    run.save()
    torch.manual_seed(99)  # another process would have another state of chance
    rest = run_of(recipe, tmp_path / "parts", data)
    np.testing.assert_allclose([*first, *rest], whole, rtol=1e-4)
    one, other = (
        checkpoints.open_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts")
    )
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_finished_run_stays_as_it_is(trained: Trained, data: Path) -> None:
    before = trained.checkpoint.read_bytes()
    recipe = checkpoints.open_checkpoint(trained.checkpoint).recipe
    assert run_of(recipe, trained.checkpoint.parent, data) == []
    assert trained.checkpoint.read_bytes() == before


@pytest.mark.parametrize("recipe", [TOY, TOY_WEATHER], ids=["segmentation", "weather"])
def test_sample_depends_on_recipe_and_number_alone(recipe: Recipe, data: Path) -> None:
    one, other = (samples.open_stream(recipe, data).samples for _ in range(2))
    for number in (5, 0, 17):
        np.random.default_rng().random()
        torch.rand(3)
        first, again = one[number], other[number]
        assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(one[0]["image"], one[1]["image"])
    reseeded = samples.open_stream(replace(recipe, seed=2), data).samples
    assert not torch.equal(one[0]["image"], reseeded[0]["image"])


def test_samples_come_from_every_pack_with_its_groups(data: Path) -> None:
    stream = samples.open_stream(TOY, data)
    coarse = 0
    for number in range(20):
        sample = stream.samples[number]
        assert sample["image"].shape == (32, 48, 3)
        assert sample["image"].dtype == torch.uint8
        assert sample["labels"].shape == (32, 48)
        rows = sample["groups"].any(1).sum()
        assert sample["labels"][sample["labels"] != 255].max() < rows
        coarse += int(rows == len(COARSE_CLASSES))
    assert 0 < coarse < 20
    assert samples.open_stream(TOY, data, ["idd_lite"]).learnt_from == ("camvid",)


def test_processes_share_the_samples_of_a_step() -> None:
    shares = [list(samples.Range(8, 16, rank, 2)) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(8, 16))
    assert len(shares[0]) == len(samples.Range(8, 16, 0, 2)) == 4


def test_rate_warms_up_and_ends_at_zero() -> None:
    schedule = Schedule(100, rate=1.0)
    rates = [learning_rate(schedule, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] == pytest.approx(1.0)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[100] == pytest.approx(0.0)


def test_weights_of_another_run_are_taken_and_its_data_is_remembered(
    trained: Trained, tmp_path: Path
) -> None:
    run = Run(TOY, tmp_path, ALONE)
    run.begin_from(trained.checkpoint)
    assert run.learnt_from == ("camvid", "idd_lite")
    expected = checkpoints.open_checkpoint(trained.checkpoint).network.state_dict()
    assert all(torch.equal(v, expected[name]) for name, v in run.network.state_dict().items())
    with pytest.raises(checkpoints.CheckpointError, match=r"of width 24, found .* of width 16"):
        Run(replace(TOY, width=24), tmp_path, ALONE).begin_from(trained.checkpoint)


def test_checkpoint_from_before_data_was_noted_still_opens(
    trained: Trained, tmp_path: Path
) -> None:
    content = checkpoints.read(trained.checkpoint)
    del content["learnt_from"]
    checkpoints.save(tmp_path / "old.pt", content)
    assert checkpoints.open_checkpoint(tmp_path / "old.pt").learnt_from == tuple(TOY.data)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipe_survives_its_checkpoint(recipe: Recipe) -> None:
    assert checkpoints.recipe_from(checkpoints.describe(recipe)) == recipe
    assert recipe.name == next(name for name, other in RECIPES.items() if other is recipe)


def cut_off(trained: Trained, folder: Path) -> Path:
    content = trained.checkpoint.read_bytes()
    (folder / "cut.pt").write_bytes(content[: len(content) // 2])
    return folder / "cut.pt"


def of_something_else(trained: Trained, folder: Path) -> Path:
    torch.save({"state_dict": {}}, folder / "other.pt")
    return folder / "other.pt"


def of_other_weights(trained: Trained, folder: Path) -> Path:
    content = checkpoints.read(trained.checkpoint)
    content["recipe"] |= {"width": 24}
    checkpoints.save(folder / "odd.pt", content)
    return folder / "odd.pt"


def missing(trained: Trained, folder: Path) -> Path:
    return folder / "missing.pt"


def missing_engine(trained: Trained, folder: Path) -> Path:
    return folder / "missing.onnx"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, ["missing.pt: expected a checkpoint", "found no file", "train one"]),
        (cut_off, ["cut.pt: expected a checkpoint", "cannot be read", "train again"]),
        (of_something_else, ["other.pt: expected a checkpoint", "a file without average"]),
        (of_other_weights, ["odd.pt: expected a checkpoint", "do not fit"]),
        (missing_engine, ["missing.onnx: expected an engine file", "export"]),
    ],
)
def test_unfit_file_ends_the_command_with_one_clear_line(
    make: object,
    words: list[str],
    trained: Trained,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(make)
    path = make(trained, tmp_path)
    assert evaluate.main([str(path), "--data", str(data / "camvid")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("training.evaluate: ")
    assert "\n" not in said
    assert [word for word in words if word not in said] == []
    if path.suffix == ".pt":
        assert export.main([str(path), "--out", str(tmp_path / "e.onnx"), "--no-scores"]) == 2
        assert not (tmp_path / "e.onnx").exists()


TRAIN = ["clear", "--leave-out", "street", "kitti_semantic", "idd_lite", "--device", "cpu"]


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
    assert [word for word in words if word not in said] == []
    assert not (tmp_path / "last.pt").exists()


def test_broken_picture_ends_the_training_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid = write_camvid(tmp_path / "camvid", train=1, val=1)
    (camvid / "images/train/0000.png").write_bytes(b"no picture")
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "1"]
    assert train.main([*TRAIN, *options, "--steps", "1", "--batch", "1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "0000.png: expected a picture, found a file that cannot be decoded" in said


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.run")
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch cannot train on several processes (no gloo)")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "training.train", *TRAIN]
    command += ["--data", str(data), "--out", str(tmp_path), "--threads", "1", "--workers", "0"]
    command += ["--steps", "2", "--batch", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    checkpoint = checkpoints.open_checkpoint(tmp_path / "last.pt")
    assert (checkpoint.step, checkpoint.learnt_from) == (2, ("camvid",))


def test_score_of_perfect_labels_is_one(data: Path) -> None:
    pack: Pack = open_pack(data / "camvid", "val")
    truths = {pack.load(number)[0].tobytes(): pack.load(number)[1] for number in range(2)}
    matrix = evaluate.score(lambda image: truths[image.tobytes()], pack)
    assert matrix.miou() == 1.0
    assert evaluate.score(lambda image: truths[image.tobytes()], pack, every=2).counts.sum() == (
        matrix.counts.sum() / 2
    )
