"""Derainers' trainings: what each stage costs and teaches, and that it goes on after a break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn.functional import mse_loss  # noqa: E402

from tests.toys import ALONE, LIGHT, TOY, write_data  # noqa: E402
from training import evaluate, samples, train  # noqa: E402
from training.checkpoints import Checkpoint, describe, recipe_from, save_weights  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.losses import (  # noqa: E402
    feature_matching,
    restoration_loss,
    stepwise_restoration_loss,
)
from training.methods import METHODS, Restoring  # noqa: E402
from training.methods.derain import RemovingDrops  # noqa: E402
from training.networks.deeplab import DeepLabV3Plus  # noqa: E402
from training.networks.guide import Guide  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.restoration_recipes import DERAINING  # noqa: E402
from training.run import Run  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def guide() -> Guide:
    torch.manual_seed(0)
    return Guide(DeepLabV3Plus("resnet18_w24", 11, 16))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def toy(name: str, steps: int = 30) -> Recipe:
    """A recipe of the derainers on pictures of 32x48."""
    recipe = DERAINING[name]
    return replace(
        recipe,
        schedule=replace(recipe.schedule, steps=steps, batch=2, rate=2e-3, average=0.5),
        width=16 if recipe.role == "durn_r" else 4,
        size=TOY.size,
        crop=TOY.crop,
        data=TOY.data,
        augmentation=replace(LIGHT, weather=1.0, conditions={"drops": 1.0}),
    )


def batch_of(recipe: Recipe, data: Path, count: int = 2) -> dict[str, Tensor]:
    stream = samples.open_stream(recipe, data).samples
    return torch.utils.data.default_collate([stream[number] for number in range(count)])


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))


def test_step_losses_add_up_to_the_papers_formula() -> None:
    clean, first, last = pictures(16, 16), pictures(17, 16)[:, :, 1:], pictures(18, 16)[:, :, 2:]
    expected = restoration_loss(last, clean) + 0.5 * ((first - clean) ** 2).mean()
    torch.testing.assert_close(stepwise_restoration_loss((first, last), clean), expected)
    torch.testing.assert_close(
        stepwise_restoration_loss((last,), clean), restoration_loss(last, clean)
    )


def test_matching_features_is_free_for_equal_pictures_and_teaches_the_picture_only(
    guide: Guide,
) -> None:
    clean = pictures(64, 64)
    assert float(feature_matching(guide(clean), guide(clean.clone()))) == 0.0
    restored = (0.8 * clean).requires_grad_()
    loss = feature_matching(guide(restored), guide(clean))
    loss.backward()
    assert float(loss.detach()) > 0
    assert restored.grad is not None
    assert restored.grad.abs().sum() > 0
    assert all(value.grad is None for value in guide.parameters())


@pytest.mark.parametrize("name", ["srrn", "srrn_ojt", "durn_r", "durn_r_ojt"])
def test_gradients_reach_what_a_stage_teaches_and_nothing_else(
    name: str, data: Path, guide: Guide, tmp_path: Path
) -> None:
    recipe = toy(name)
    batch = batch_of(recipe, data)
    for stage in recipe.schedule.stages:
        alone = replace(recipe, schedule=replace(recipe.schedule, stages=(stage,)))
        run = Run(alone, tmp_path, ALONE, guide=guide)
        before = {key: value.clone() for key, value in run.network.state_dict().items()}
        run.train_step(batch)
        for key, value in run.network.named_parameters():
            assert (value.grad is not None) == key.startswith(stage.trains), (stage.name, key)
        for key, value in run.network.state_dict().items():
            if not key.startswith(stage.trains):
                assert torch.equal(value, before[key]), (stage.name, key)


@pytest.mark.parametrize("name", ["srrn", "durn_r", "srrn_ojt", "durn_r_ojt"])
def test_every_stage_lowers_its_loss(name: str, data: Path, guide: Guide, tmp_path: Path) -> None:
    recipe = toy(name, steps=24)
    run = Run(recipe, tmp_path, ALONE, guide=guide)
    batch = batch_of(recipe, data)
    losses = [run.train_step(batch) for _ in range(24)]
    begins = [step for step in range(24) if recipe.schedule.at(step)[1] == step]
    assert len(begins) == len(recipe.schedule.stages)
    for begin in begins:
        end = recipe.schedule.at(begin)[2]
        assert np.mean(losses[end - 2 : end]) < 0.9 * losses[begin], (begin, losses)


def test_mask_is_taught_the_exact_alpha(data: Path) -> None:
    recipe = toy("srrn_plain")
    batch = batch_of(recipe, data)
    assert 0 < float(batch["occlusion"].mean()) < 1
    network = recipe.network().eval()
    drops = network(batch["image"].permute(0, 3, 1, 2) / 255, "mask").mask
    loss = METHODS["srrn"](recipe, None).loss(network, batch, "mask")
    torch.testing.assert_close(loss, mse_loss(drops[:, 0], batch["occlusion"]))


def test_matching_is_what_two_stage_training_adds_to_the_plain_one(
    data: Path, guide: Guide
) -> None:
    recipe = toy("srrn")
    batch = batch_of(recipe, data)
    network = recipe.network().eval()
    with torch.no_grad():
        plain = RemovingDrops(toy("srrn_plain"), guide).loss(network, batch, "refine")
        guided = RemovingDrops(recipe, guide).loss(network, batch, "refine")
        last = network(batch["image"].permute(0, 3, 1, 2) / 255).refined[-1]
        clean = batch["clean"].permute(0, 3, 1, 2) / 255
        matched = feature_matching(guide(last), guide(clean))
    assert float(matched) > 0
    torch.testing.assert_close(guided - plain, 0.005 * matched, rtol=1e-3, atol=1e-6)


def test_guided_recipe_without_a_guide_is_refused_at_its_first_step(data: Path) -> None:
    recipe = toy("srrn")
    method = RemovingDrops(recipe, None)
    with pytest.raises(ValueError, match=r"recipe srrn: expected a frozen segmenter .* --guide"):
        method.loss(recipe.network(), batch_of(recipe, data), "mask")


def test_restores_as_far_as_it_has_learnt(data: Path, tmp_path: Path) -> None:
    recipe = toy("srrn_plain", steps=6)
    run = Run(recipe, tmp_path, ALONE)
    method, batch, image = run.method, batch_of(recipe, data), pictures(21, 30)
    assert isinstance(method, Restoring)
    reached = []
    for _ in range(6):
        run.train_step(batch)
        network = run.average.network
        with torch.no_grad():
            derained, restored = network(image), method.restore(network, image)
        last = (derained.coarse, *derained.refined)[-1 if network.reach == "refine" else 0]
        assert torch.equal(restored, last.clamp(0, 1))
        reached.append(network.reach)
    stages = [recipe.schedule.at(step)[0].name for step in range(6)]
    assert reached == ["refine" if stage == "refine" else "coarse" for stage in stages]


def trained(recipe: Recipe, folder: Path, data: Path, guide: Guide, stop: int = 0) -> list[float]:
    """Train, going on where the folder's run stopped; stop early at a step if told so."""
    run = Run(recipe, folder, ALONE, guide=guide)
    run.resume()
    stream = samples.open_stream(recipe, data)
    if not stop:
        return train.train(run, stream, open_pack(data / "camvid", "val"))
    batches = train.batches(run, stream.samples, 0)
    losses = [run.train_step(next(batches)) for _ in range(stop - run.step)]
    run.save()
    return losses


@pytest.mark.parametrize("stop", [2, 3], ids=["at the boundary", "behind it"])
def test_interrupted_run_goes_on_across_stages_as_if_nothing_had_been(
    stop: int, data: Path, guide: Guide, tmp_path: Path
) -> None:
    recipe = toy("srrn", steps=8)
    assert [recipe.schedule.at(step)[1] for step in range(8)] == [0, 0, 2, 2, 2, 5, 5, 5]
    whole = trained(recipe, tmp_path / "whole", data, guide)
    begun = trained(recipe, tmp_path / "cut", data, guide, stop)
    more = trained(recipe, tmp_path / "cut", data, guide, 5)
    rest = trained(recipe, tmp_path / "cut", data, guide)
    assert begun + more + rest == whole
    assert len(rest) == 3


def test_recipes_come_back_from_a_checkpoint_and_keep_the_papers_schedule() -> None:
    for name, recipe in DERAINING.items():
        assert (recipe.name, recipe_from(describe(recipe))) == (name, recipe)
        assert recipe.schedule.betas == (0.5, 0.999)
    guided = {name for name, recipe in DERAINING.items() if recipe.losses}
    narrow = {"srrn", "srrn_ojt", "durn_r", "durn_r_ojt"}
    assert guided == narrow | {f"{name}_full" for name in narrow}
    full = DERAINING["srrn_full"].schedule
    rates = {stage.name: full.rate * stage.rate for stage in full.stages}
    assert rates == pytest.approx({"mask": 2e-4, "coarse": 2e-4, "refine": 1e-3})


def test_checkpoint_of_a_restorer_is_no_engine_and_says_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, path = toy("durn"), tmp_path / "durn.pt"
    save_weights(path, Checkpoint(recipe, recipe.network(), 1, 0.0, ("camvid",)))
    assert evaluate.main([str(path), "--data", str(data / "camvid")]) == 2
    said = capsys.readouterr().err
    assert "expected a role of weather, segmentation, joint, correction, found durn_r" in said
