"""Samples and steps depend on recipe and number alone, so a run can stop and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from adverse_perception.frames import Weather  # noqa: E402
from adverse_perception.inference import load_engine  # noqa: E402
from tests.conftest import grey  # noqa: E402
from tests.packs import COARSE_CLASSES  # noqa: E402
from tests.toys import ALONE, TOY, TOY_WEATHER, run_of, write_data  # noqa: E402
from training import checkpoints, export, samples, train  # noqa: E402
from training.recipes import RECIPES, Recipe, Schedule  # noqa: E402
from training.run import Run, learning_rate  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def test_step_whose_gradients_overflow_is_left_out(data: Path, tmp_path: Path) -> None:
    run = Run(TOY, tmp_path, ALONE)
    batch = next(train.batches(run, samples.open_stream(TOY, data).samples, workers=0))
    with torch.no_grad():
        run.network.classify.bias[0] = float("inf")
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    run.train_step(batch)
    assert (run.step, run.left_out) == (1, 1)
    after = dict(run.network.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with torch.no_grad():
        run.network.classify.bias[0] = 0.0
    run.train_step(batch)
    assert (run.step, run.left_out) == (2, 1)
    assert not torch.equal(before["classify.weight"], after["classify.weight"])


@pytest.mark.parametrize("recipe", [TOY, TOY_WEATHER], ids=["segmentation", "weather"])
def test_resumed_run_is_the_run_that_was_never_stopped(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    whole = run_of(recipe, tmp_path / "whole", data)
    run = Run(recipe, tmp_path / "parts", ALONE)
    stream = samples.open_stream(recipe, data)
    steps = train.batches(run, stream.samples, workers=0)
    first = [run.train_step(next(steps)) for _ in range(3)]
    run.save()
    torch.manual_seed(99)  # another process would have another state of chance
    rest = run_of(recipe, tmp_path / "parts", data)
    np.testing.assert_allclose([*first, *rest], whole, rtol=1e-4)
    one, other = (
        checkpoints.open_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "parts")
    )
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(other.network.state_dict()[name], value, rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipe_survives_its_checkpoint(recipe: Recipe) -> None:
    assert checkpoints.recipe_from(checkpoints.describe(recipe)) == recipe
    assert recipe.name == next(name for name, other in RECIPES.items() if other is recipe)


def test_weather_network_trains_and_exports(data: Path, tmp_path: Path) -> None:
    losses = run_of(TOY_WEATHER, tmp_path, data, save_every=3)
    assert len(losses) == 6
    out = tmp_path / "weather.onnx"
    assert export.main([str(tmp_path / "last.pt"), "--out", str(out), "--no-scores"]) == 0
    engine = load_engine(out, role="weather")
    assert engine.run(grey(100, 48, 64))["scores"].shape == (len(Weather),)
    assert engine.metadata.scores == {}
