"""CycleGAN: what it is made of, what teaches whom, and a toy training end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.packs import write_camvid, write_idd  # noqa: E402
from tests.toys import ALONE, LIGHT  # noqa: E402
from training import checkpoints, evaluate, samples, train  # noqa: E402
from training.cyclegan_recipes import CYCLEGAN_RECIPES  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.methods import translated  # noqa: E402
from training.methods.translating import ImagePool, Translating, judges_loss  # noqa: E402
from training.networks.cyclegan import (  # noqa: E402
    CycleGan,
    Earlier,
    Generator,
    PatchJudge,
    Sides,
    Translated,
)
from training.networks.judging import frozen_call  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.run import Run, learning_rate  # noqa: E402

RECIPE = CYCLEGAN_RECIPES["cyclegan"]
TOY = replace(
    RECIPE,
    schedule=replace(RECIPE.schedule, steps=4, batch=1, rate=4e-3, average=0.5),
    width=4,
    crop=(32, 48),
    data={"camvid": 0.5, "idd_lite": 0.5},
    augmentation=LIGHT,
    options={"blocks": 1},
)


def write_nights(folder: Path, count: int = 4) -> Path:
    """Dark pictures, two folders deep."""
    (folder / "a" / "b").mkdir(parents=True)
    for number in range(count):
        dark = np.random.default_rng(number).integers(0, 50, (48, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / "a" / "b" / f"{number}.jpg"), dark)
    return folder


def write_unpaired(folder: Path) -> Path:
    """A data folder with two labelled packs and a pack of nights."""
    write_camvid(folder / "camvid", train=4, val=2)
    write_idd(folder / "idd_lite", train=3, val=1)
    clips = write_nights(folder / "night_rain_clips")
    (clips / "splits").mkdir()
    listed = [f"{path.relative_to(clips)}\n" for path in sorted(clips.rglob("*.jpg"))]
    (clips / "splits" / "night.txt").write_text("".join(listed))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unpaired(tmp_path_factory.mktemp("data"))


def toy_run(recipe: Recipe, folder: Path, data: Path) -> tuple[Run, list[float]]:
    run = Run(recipe, folder, ALONE)
    run.resume()
    stream = samples.open_stream(recipe, data)
    return run, train.train(run, stream, open_pack(data / "camvid", "val"))


def pictures(count: int = 2, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, height, width) * 2 - 1


def nothing_earlier(like: torch.Tensor) -> Earlier:
    return Earlier(like, torch.zeros(len(like), dtype=torch.bool))


def forward(network: nn.Module) -> tuple[Translated, Sides]:
    torch.manual_seed(0)
    given = Sides(pictures(), pictures())
    earlier = nothing_earlier(given.day), nothing_earlier(given.night)
    return network(given.day, given.night, *earlier), given


def test_full_size_is_the_papers() -> None:
    recipe = CYCLEGAN_RECIPES["cyclegan_full"]
    network = recipe.network()
    assert isinstance(network, CycleGan)
    millions = {
        name: sum(value.numel() for value in part.parameters()) / 1e6
        for name, part in network.named_children()
    }
    assert millions["to_night"] == millions["to_day"] == pytest.approx(11.378, abs=5e-4)
    assert millions["judge_night"] == millions["judge_day"] == pytest.approx(2.765, abs=5e-4)
    weights = network.to_night.layers[1].weight
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert (recipe.losses["cycle"], recipe.losses["identity"]) == (10, 5)


def test_judge_looks_at_patches_of_70_pixels() -> None:
    judge = PatchJudge(4).eval()
    for module in judge.modules():  # which would mix the whole picture
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    picture = pictures(1, 256, 256).requires_grad_()
    verdicts = judge(picture)
    assert verdicts.shape == (1, 1, 30, 30)
    verdicts[0, 0, 15, 15].backward()
    assert picture.grad is not None
    seen = picture.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 14), (45, 61)])
def test_generator_keeps_any_size(height: int, width: int) -> None:
    shown = Generator(4, 1)(pictures(1, height, width))
    assert shown.shape == (1, 3, height, width)
    assert float(shown.detach().abs().max()) <= 1
    picture = np.full((height, width, 3), 200, np.uint8)
    assert translated(Generator(4, 1), picture).shape == picture.shape


def test_frozen_judge_says_the_same_and_learns_nothing() -> None:
    judge, picture = PatchJudge(4), pictures(1).requires_grad_()
    said = frozen_call(judge, picture)
    torch.testing.assert_close(said, judge(picture))
    said.sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert all(value.grad is None for value in judge.parameters())


def taught(network: nn.Module) -> set[str]:
    """The parts of the network that a loss has reached."""
    return {
        name
        for name, part in network.named_children()
        if any(value.grad is not None and value.grad.any() for value in part.parameters())
    }


def test_generators_and_judges_learn_from_their_own_losses_alone() -> None:
    method = Translating(TOY, None)
    network = TOY.network()
    seen, given = forward(network)
    method.generators_loss(seen, given).backward()
    assert taught(network) == {"to_night", "to_day"}
    network.zero_grad()
    judges_loss(forward(network)[0]).backward()
    assert taught(network) == {"judge_night", "judge_day"}


def test_losses_are_the_papers() -> None:
    whole = Sides(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
    verdicts = Sides(torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.25))
    shifted = Sides(whole.day + 0.1, whole.night - 0.3)
    seen = Translated(whole, shifted, shifted, verdicts, verdicts, verdicts)
    expected = (0.25 + 0.5625) + 10 * (0.1 + 0.3) + 5 * (0.1 + 0.3)
    assert float(Translating(TOY, None).generators_loss(seen, whole)) == pytest.approx(expected)
    fake = 0.25 + 0.0625
    assert float(judges_loss(seen)) == pytest.approx(0.5 * (0.25 + 0.5625) + 0.5 * fake)


def test_pool_shows_what_is_new_until_it_is_full_then_half_of_the_time_what_is_old() -> None:
    torch.manual_seed(3)
    pool, shown = ImagePool(50), []
    for number in range(650):
        made = torch.full((1, 3, 2, 2), float(number))
        earlier = pool.draw(made)
        pool.take(made)
        shown.append(float(earlier.pictures[0, 0, 0, 0]) if earlier.shown[0] else float(number))
    assert shown[:50] == list(range(50))
    old = {then: number - then for number, then in enumerate(shown) if then != number}
    assert len(old) == sum(then != number for number, then in enumerate(shown))  # never twice
    assert 0.43 < len(old) / 600 < 0.57
    assert 50 < np.mean(list(old.values())) < 150  # half of the steps change one of fifty


def test_pool_has_room_for_batches_that_do_not_fill_it_evenly() -> None:
    torch.manual_seed(0)
    pool = ImagePool(5)
    for number in range(20):
        made = torch.arange(3).float()[:, None, None, None] + 3 * number + torch.zeros(3, 3, 2, 2)
        earlier = pool.draw(made)
        pool.take(made)
        assert earlier.pictures.shape == made.shape
        fresh = ~earlier.shown
        assert torch.equal(earlier.pictures[fresh], made[fresh])


def test_judge_is_shown_what_the_pool_gives() -> None:
    network = TOY.network()
    assert isinstance(network, CycleGan)
    day, night, old = pictures(), pictures(), pictures()
    some = Earlier(old, torch.tensor([True, False]))
    seen = network(day, night, some, nothing_earlier(night))
    shown = torch.stack([old[0], seen.made.day[1].detach()])
    torch.testing.assert_close(seen.fake.day, network.judge_day(shown))
    torch.testing.assert_close(seen.fake.night, network.judge_night(seen.made.night))


def test_rate_is_held_for_half_of_the_steps_and_falls_evenly_to_zero() -> None:
    schedule = replace(RECIPE.schedule, steps=1000)
    rates = [learning_rate(schedule, step) for step in range(1001)]
    assert rates[60] == rates[500] == schedule.rate == 2e-4
    falling = np.diff(rates[530:])
    np.testing.assert_allclose(falling, falling[0], rtol=1e-6)
    assert rates[1000] == 0.0
    assert (schedule.betas, schedule.decay) == ((0.5, 0.999), 0.0)


def test_toy_training_goes_on_as_if_it_had_not_been_stopped(data: Path, tmp_path: Path) -> None:
    _, whole = toy_run(TOY, tmp_path / "whole", data)
    run = Run(TOY, tmp_path / "parts", ALONE)
    stream = samples.open_stream(TOY, data)
    steps = train.batches(run, stream.samples, workers=0)
    first = [run.train_step(next(steps)) for _ in range(2)]
    run.save()
    again, rest = toy_run(TOY, tmp_path / "parts", data)
    np.testing.assert_allclose([*first, *rest], whole, rtol=1e-4)
    assert again.learnt_from == ("camvid", "idd_lite", "night_rain_clips")
    checkpoint = checkpoints.open_checkpoint(tmp_path / "parts" / "last.pt")
    assert checkpoint.recipe == TOY
    assert checkpoint.step == 4


def test_toy_training_learns_that_nights_are_dark(data: Path, tmp_path: Path) -> None:
    recipe = replace(TOY, schedule=replace(TOY.schedule, steps=24))
    run, losses = toy_run(recipe, tmp_path, data)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    network = run.average.network
    assert isinstance(network, CycleGan)
    day, _ = open_pack(data / "camvid", "val").load(0)
    night = translated(network.to_night, day)
    assert night.mean() < 0.5 * day.mean()
    assert run.score > 12.0  # dB
    assert run.score == pytest.approx(
        evaluate.validate(recipe, network, open_pack(data / "camvid", "val"), run.method)
    )


@pytest.mark.parametrize("recipe", CYCLEGAN_RECIPES.values(), ids=CYCLEGAN_RECIPES)
def test_recipe_survives_its_checkpoint(recipe: Recipe) -> None:
    assert checkpoints.recipe_from(checkpoints.describe(recipe)) == recipe
