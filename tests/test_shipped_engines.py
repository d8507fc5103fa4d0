"""The engines that ship: whole, small, honest about their data, and as good as they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Weather
from adverse_perception.inference import (
    ROLE_MAPS,
    ROLE_OUTPUTS,
    TOLERATED_LOSS,
    BatchEngine,
    Engine,
    EngineError,
    engine_files,
    load_engine,
)
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import EVIDENCE, map_shapes
from adverse_perception.shelf import with_variants

NAMES = ("all_weather", "clear", "correction", "joint", "night", "weather")
VARIANTS = (
    "fp16/clear", "fp16/correction", "fp16/joint", "fp16/night", "fp16/weather",
    "int8/clear", "int8/joint", "int8/night", "int8/weather",
)  # fmt: skip
MEGABYTE = 10**6
ROUNDED = {"restored": 1.0, "distortion": 1e-6}
"""What a sum in another order may change of an output; nothing of the others."""


def shipped() -> list[Path]:
    """The engine files of this checkout; none before they are trained."""
    try:
        return engine_files()
    except EngineError:
        return []


def variants() -> dict[str, Path]:
    """Every variant of a shipped engine by its folder and name."""
    files = [file for path in shipped() for file in with_variants(path)[1:]]
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def opened(name: str) -> BatchEngine:
    """One shipped engine; the test is skipped where it is not there yet."""
    for one, path in ({path.stem: path for path in shipped()} | variants()).items():
        if one == name:
            engine = load_engine(path)
            assert isinstance(engine, BatchEngine)
            return engine
    pytest.skip(f"engines/{name}.onnx is not there: train and export it (docs/training.md)")


@pytest.fixture(params=sorted({*NAMES, *(path.stem for path in shipped()), *VARIANTS}))
def engine(request: pytest.FixtureRequest) -> BatchEngine:
    return opened(request.param)


def test_together_they_are_complete_and_small() -> None:
    if not shipped():
        pytest.skip("engines/ is empty: train and export them (docs/training.md)")
    assert set(NAMES) <= {path.stem for path in shipped()}
    assert set(VARIANTS) == set(variants())
    files = [*shipped(), *variants().values()]
    assert sum(path.stat().st_size for path in files) < 60 * MEGABYTE


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_made_from_what_ships_and_costs_less_than_half_a_point(name: str) -> None:
    told, itself = opened(name).metadata, opened(name.split("/")[1]).metadata
    assert told.made_from == itself.weights_sha256
    assert told.scores.keys() == told.reference_scores.keys() == itself.scores.keys()
    for weather, score in itself.scores.items():  # measured anew, which comes out the same
        assert told.reference_scores[weather] == pytest.approx(score, abs=0.001)
    assert told.loss <= TOLERATED_LOSS


def test_picture_in_a_batch_gets_what_it_gets_alone(engine: BatchEngine) -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (3, 144, 192, 3), np.uint8)
    shapes = map_shapes(engine.metadata, *pictures.shape[1:3])
    maps = {name: rng.random((3, *shape), np.float32) for name, shape in shapes.items()}
    together = engine.run_batch(pictures, maps=maps)
    for number, picture in enumerate(pictures):
        alone = engine.run(picture, maps={name: one[number] for name, one in maps.items()})
        for name, array in alone.items():
            difference = np.abs(together[name][number].astype(np.float64) - array)
            assert difference.max() <= ROUNDED.get(name, 0.0), name


def test_engine_is_whole_and_runs_at_any_size(engine: Engine) -> None:
    # Loading has compared the checksum of the weights with the one in the description.
    metadata = engine.metadata
    rng = np.random.default_rng(0)
    for height, width in ((metadata.input_height, metadata.input_width), (240, 416)):
        grid = height // metadata.stride, width // metadata.stride
        planes = {"warped": 11, "evidence": len(EVIDENCE)}
        maps = {
            name: np.zeros((planes[name], *grid), np.float32)
            for name in ROLE_MAPS.get(metadata.role, ())
        }
        outputs = engine.run(rng.integers(0, 256, (height, width, 3), np.uint8), maps=maps)
        restored = np.zeros((height, width, 3), np.uint8)
        assert outputs.get("restored", restored).shape == restored.shape
        shape = (4,) if metadata.role == "weather" else (11, *grid)
        found = outputs[ROLE_OUTPUTS[metadata.role][0]]
        assert found.shape == shape
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_engine_names_its_classes_data_terms_and_scores(engine: Engine) -> None:
    metadata = engine.metadata
    names = tuple(weather.value for weather in Weather)
    assert metadata.classes == (names if metadata.role == "weather" else CLASS_NAMES)
    assert "camvid" in [entry["name"] for entry in metadata.training_data]
    assert all(len(entry["terms"]) > 10 for entry in metadata.training_data)
    assert {"torch", "onnx", "opset", "step"} <= metadata.exported_with.keys()
    wanted = {"weather": {"accuracy"}, "correction": {"clear_5_frames_on"}}
    assert wanted.get(metadata.role, set(names)) <= metadata.scores.keys()
    assert all(0 < score <= 1 for score in metadata.scores.values())


def test_stand_in_says_that_it_is_one() -> None:
    engine = opened("all_weather")
    assert "stands in" in engine.metadata.notes
    assert set(engine.metadata.conditions) == {weather.value for weather in Weather}


def test_every_weather_goes_to_its_engine() -> None:
    if {"clear", "joint", "night"} - {path.stem for path in shipped()}:
        pytest.skip("a route's engine is not there: train and export it (docs/training.md)")
    routes = Engines.load(PipelineConfig()).routes
    names = {weather.value: engine.name for weather, engine in routes.items()}
    assert names == {"clear": "clear", "rain": "joint", "fog": "joint", "night": "night"}


@pytest.mark.data
@pytest.mark.parametrize("name", ["clear", "all_weather", "joint", "night"])
def test_engine_labels_camvid_as_well_as_it_says(name: str) -> None:
    pytest.importorskip("torch")
    from training.datasets import DatasetError, data_folder, open_pack
    from training.evaluate import labeller, score

    engine = opened(name)
    try:
        pack = open_pack(data_folder() / "camvid", "test")
    except DatasetError as error:
        pytest.skip(f"needs the real data: {error}")
    miou = score(labeller(engine), pack, every=6).miou()
    assert miou == pytest.approx(engine.metadata.scores["clear"], abs=0.04)


def test_the_night_engine_is_the_better_one_at_night() -> None:
    night, stand_in = (opened(name).metadata.scores["night"] for name in ("night", "all_weather"))
    assert night >= stand_in + 0.015


def test_clear_engine_is_as_good_as_wanted() -> None:
    assert opened("clear").metadata.scores["clear"] >= 0.60


@pytest.mark.data
def test_weather_is_named_right_on_camvid() -> None:
    pytest.importorskip("torch")
    from training.datasets import DatasetError, data_folder, open_pack
    from training.evaluate import score_weather

    engine = opened("weather")
    try:
        pack = open_pack(data_folder() / "camvid", "test")
    except DatasetError as error:
        pytest.skip(f"needs the real data: {error}")
    matrix = score_weather(engine, pack, every=3)
    assert matrix.counts.sum() >= 76
    assert matrix.accuracy() >= 0.90


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_training_begins_with_are_of_its_networks(name: str) -> None:
    pytest.importorskip("torch")
    from training import checkpoints

    weights = checkpoints.GUIDE.with_name(f"{name}.pt")
    if not weights.is_file():
        pytest.skip(f"training/weights/{name}.pt is not there: export it with --weights")
    checkpoint = checkpoints.open_checkpoint(weights)
    told = opened(name).metadata
    assert checkpoint.recipe.name == told.name
    assert set(checkpoint.learnt_from) == {entry["name"] for entry in told.training_data}
