"""From drawn pictures to an engine that drives: train, go on, export, evaluate, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adverse_perception.frames import Weather  # noqa: E402
from adverse_perception.inference import load_engine, variant_path  # noqa: E402
from adverse_perception.labels import CLASS_NAMES  # noqa: E402
from tests.conftest import (  # noqa: E402
    WEATHER_BRIGHTNESS,
    grey,
    write_segmentation_engine,
    write_weather_engine,
)
from tests.packs import COARSE_CLASSES  # noqa: E402
from tests.toys import ALONE, TOY, run_of, write_data  # noqa: E402
from training import checkpoints, evaluate, export  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.losses import class_weights  # noqa: E402
from training.run import Run  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


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
    recipe = replace(TOY, schedule=replace(TOY.schedule, steps=30))
    losses = run_of(recipe, folder, data)
    engine = folder / "engines" / "toy.onnx"
    command = [str(folder / "last.pt"), "--out", str(engine), "--data", str(data / "camvid")]
    assert export.main(command) == 0
    return Trained(losses, folder / "last.pt", engine)


def test_loss_falls(trained: Trained) -> None:
    assert len(trained.losses) == 30
    assert np.mean(trained.losses[-8:]) < 0.7 * np.mean(trained.losses[:4])


def test_checkpoint_says_what_it_is(trained: Trained) -> None:
    checkpoint = checkpoints.open_checkpoint(trained.checkpoint)
    assert checkpoint.recipe == replace(TOY, schedule=replace(TOY.schedule, steps=30))
    assert checkpoint.step == 30
    assert checkpoint.score > 0.1
    assert checkpoint.learnt_from == ("camvid", "idd_lite")
    assert list((trained.checkpoint.parent / "tensorboard").glob("events.*")) != []


def test_exported_engine_drives_and_describes_itself(trained: Trained) -> None:
    engine = load_engine(trained.engine, role="segmentation")
    assert engine.run(grey(90, 48, 64))["logits"].shape == (len(CLASS_NAMES), 12, 16)
    metadata = engine.metadata
    assert (metadata.name, metadata.input_height, metadata.input_width) == ("toy", 48, 64)
    assert [entry["name"] for entry in metadata.training_data] == ["camvid", "idd_lite"]
    assert all("research use" in entry["terms"] for entry in metadata.training_data)
    assert set(metadata.scores) == {"clear", "rain", "fog", "night"}
    assert metadata.exported_with["step"] == "30"
    assert metadata.notes == ""
    for precision in ("fp16", "int8"):
        variant = load_engine(variant_path(trained.engine, precision)).metadata
        assert (variant.precision, variant.made_from) == (precision, metadata.weights_sha256)
        assert variant.reference_scores == metadata.scores


def test_only_what_is_wished_for_is_exported(
    trained: Trained, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "toy.onnx"
    command = [str(trained.checkpoint), "--out", str(out), "--data", str(data / "camvid")]
    assert export.main([*command, "--precisions", "fp32", "fp16"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(out),
        str(variant_path(out, "fp16")),
    ]
    assert not variant_path(out, "int8").exists()


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


def test_finished_run_stays_as_it_is(trained: Trained, data: Path) -> None:
    before = trained.checkpoint.read_bytes()
    recipe = checkpoints.open_checkpoint(trained.checkpoint).recipe
    assert run_of(recipe, trained.checkpoint.parent, data) == []
    assert trained.checkpoint.read_bytes() == before


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


def test_kept_weights_begin_another_run_but_are_no_run_to_go_on_with(
    trained: Trained, tmp_path: Path
) -> None:
    kept = tmp_path / "last.pt"
    command = [str(trained.checkpoint), "--out", str(tmp_path / "toy.onnx"), "--no-scores"]
    assert export.main([*command, "--weights", str(kept)]) == 0
    assert kept.stat().st_size < 0.5 * trained.checkpoint.stat().st_size
    run = Run(TOY, tmp_path, ALONE)
    run.begin_from(kept)
    expected = checkpoints.open_checkpoint(trained.checkpoint).network.state_dict()
    assert all(torch.equal(v, expected[name]) for name, v in run.network.state_dict().items())
    with pytest.raises(checkpoints.CheckpointError, match="without network, optimiser"):
        run.resume()


def test_checkpoint_from_before_data_was_noted_still_opens(
    trained: Trained, tmp_path: Path
) -> None:
    content = checkpoints.read(trained.checkpoint)
    del content["learnt_from"]
    checkpoints.save(tmp_path / "old.pt", content)
    assert checkpoints.open_checkpoint(tmp_path / "old.pt").learnt_from == tuple(TOY.data)


def cut_off(trained: Trained, folder: Path) -> Path:
    (folder / "cut.pt").write_bytes(trained.checkpoint.read_bytes()[:100_000])
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
    make: Callable[[Trained, Path], Path],
    words: list[str],
    trained: Trained,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make(trained, tmp_path)
    assert evaluate.main([str(path), "--data", str(data / "camvid")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("training.evaluate: ")
    assert "\n" not in said
    assert [word for word in words if word not in said] == []
    if path.suffix == ".pt":
        assert export.main([str(path), "--out", str(tmp_path / "e.onnx"), "--no-scores"]) == 2
        assert not (tmp_path / "e.onnx").exists()


def test_score_of_perfect_labels_is_one(data: Path) -> None:
    pack = open_pack(data / "camvid", "val")
    truths = {image.tobytes(): labels for image, labels in map(pack.load, range(2))}
    matrix = evaluate.score(lambda image: truths[image.tobytes()], pack)
    half = evaluate.score(lambda image: truths[image.tobytes()], pack, every=2)
    assert matrix.miou() == half.miou() == 1.0
    assert half.counts.sum() == matrix.counts.sum() / 2


def test_adjusted_engine_favours_rare_classes_less_and_says_its_size(
    trained: Trained, tmp_path: Path
) -> None:
    engines = {}
    for share in ("0", "0.5"):
        path = tmp_path / f"toy{share}.onnx"
        command = [str(trained.checkpoint), "--out", str(path), "--no-scores"]
        assert export.main([*command, "--size", "64", "96", "--adjust", share]) == 0
        engines[share] = load_engine(path)
    image = grey(90, 64, 96)
    plain, adjusted = (engines[share].run(image)["logits"] for share in ("0", "0.5"))
    shift = (adjusted - plain).mean((1, 2))
    expected = -0.5 * class_weights(TOY.rare_class_power).log().numpy()
    np.testing.assert_allclose(shift, expected, atol=1e-4)
    metadata = engines["0.5"].metadata
    assert (metadata.input_height, metadata.input_width) == (64, 96)
