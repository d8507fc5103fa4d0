"""NiSeNet's two channels, and how the parts of a network learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from adverse_perception.labels import CLASS_NAMES, UNLABELLED  # noqa: E402
from tests.nights import toy_of, write_night_data  # noqa: E402
from tests.toys import ALONE, TOY, run_of  # noqa: E402
from training import samples  # noqa: E402
from training.checkpoints import open_checkpoint  # noqa: E402
from training.losses import brier_score  # noqa: E402
from training.methods.adapting import Adapting  # noqa: E402
from training.network_engine import engine_module  # noqa: E402
from training.networks.adaptive import AdaptiveChannel, Dilated, Judge  # noqa: E402
from training.networks.encoders import BackboneError  # noqa: E402
from training.networks.fusion import TwoChannels  # noqa: E402
from training.night_recipes import NIGHT_RECIPES  # noqa: E402
from training.recipes import CURVES, Schedule, Stage  # noqa: E402
from training.run import Run, learning_rate  # noqa: E402
from training.train import batches  # noqa: E402

CLASSES = len(CLASS_NAMES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_night_data(tmp_path_factory.mktemp("data"))


def channel() -> AdaptiveChannel:
    torch.manual_seed(0)
    return AdaptiveChannel("resnet18_w24", CLASSES, 16, judge=8)


def pictures(count: int = 1, height: int = 128, width: int = 160) -> Tensor:
    torch.manual_seed(1)
    drawn: Tensor = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)
    return drawn


def test_all_four_dilations_answer() -> None:
    """A classifier that returns from within its loop would leave the later ones out."""
    classifier = Dilated(3, 2)
    x = torch.randn(1, 3, 60, 60)
    whole, rates = classifier(x), []
    for branch in classifier.branches:
        assert isinstance(branch, nn.Conv2d)
        kept = branch.weight.detach().clone()
        branch.weight.data.zero_()
        assert (classifier(x) - whole).abs().max() > 0.01
        branch.weight.data.copy_(kept)
        rates.append(branch.dilation[0])
    assert rates == [6, 12, 18, 24]


def test_judge_is_the_papers() -> None:
    convolutions = [layer for layer in Judge(19, 64) if isinstance(layer, nn.Conv2d)]
    assert [one.out_channels for one in convolutions] == [64, 128, 256, 512, 1]
    assert all(one.kernel_size == (4, 4) and one.stride == (2, 2) for one in convolutions)
    assert Judge(19, 64)(torch.rand(1, 19, 64, 96)).shape == (1, 1, 2, 3)


def gradient_of(values: Tensor) -> None:
    values.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]


def learns(module: nn.Module) -> bool:
    gradients = [value.grad for value in module.parameters()]
    return any(one is not None and bool(one.abs().sum() > 0) for one in gradients)


def test_a_judge_is_taught_by_its_own_loss_alone() -> None:
    network = channel()
    main, early = network(pictures(), pictures())
    for level, judge in ((main, network.judge), (early, network.judge_auxiliary)):
        network.zero_grad()
        gradient_of(level.fooling)
        assert not learns(judge)
        assert learns(network.segmenter.backbone)
        network.zero_grad()
        gradient_of(level.labelled + level.unlabelled)
        assert learns(judge)
        assert not learns(network.segmenter)


def test_the_main_answer_is_the_segmenters() -> None:
    network = channel().eval()
    one, other = pictures(2).chunk(2)
    assert torch.allclose(network(one, other).main.logits, network.segmenter(one), atol=1e-5)


def test_judges_tell_apart_and_the_segmenter_deceives_them() -> None:
    """Both sides of the game, each while the other stands still."""
    network, recipe = channel(), NIGHT_RECIPES["night_adaptive"]
    shares = {"auxiliary": 0.0, "adversarial": 1.0, "adversarial_auxiliary": 1.0}
    method = Adapting(replace(recipe, losses=shares), None)
    bright, dark = pictures(2) // 2 + 128, pictures(2) // 8
    unlabelled = torch.full((2, 128, 160), UNLABELLED)
    batch = {"image": bright, "target": dark, "labels": unlabelled}
    batch["groups"] = torch.eye(CLASSES).repeat(2, 1, 1)
    margins = []
    for prefix in ("judge", "segmenter"):
        learning = [p for name, p in network.named_parameters() if name.startswith(prefix)]
        optimiser = torch.optim.Adam(learning, 3e-3)
        for _ in range(12):
            optimiser.zero_grad()
            gradient_of(method.loss(network, batch, "all"))
            optimiser.step()
        main = network(bright, dark).main
        margins.append((main.labelled - main.unlabelled).mean().item())
    assert margins[0] > 1
    assert margins[1] < margins[0] / 2


def test_only_a_resnet_has_an_early_answer() -> None:
    with pytest.raises(BackboneError, match="expected a ResNet, found mobilenet_v2"):
        AdaptiveChannel("mobilenet_v2", CLASSES, 16)


def test_brier_score() -> None:
    """By hand: chances 0.75 and 0.25; a coarse label that means both classes is sure."""
    logits = torch.log(torch.tensor([0.75, 0.25])).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    labels = torch.tensor([[[0, 9, 1, 9], [9, 9, 9, 9], [255, 9, 0, 9], [9, 9, 9, 9]]])
    fine = torch.eye(2)[None]
    wanted = (2 * 2 * 0.25**2 + 2 * 0.75**2) / 3
    assert brier_score(logits, labels, fine).item() == pytest.approx(wanted)
    coarse = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert brier_score(logits, labels.where(labels != 1, 0), coarse).item() == pytest.approx(0)
    assert brier_score(logits, torch.full_like(labels, 255), fine).item() == 0


@pytest.mark.parametrize("name", CURVES)
def test_rate_falls_to_nothing(name: str) -> None:
    schedule = Schedule(100, rate=1.0, curve=name)
    rates = [learning_rate(schedule, step) for step in range(5, 100)]
    assert rates[0] == 1 and rates[-1] < 0.03 and rates == sorted(rates, reverse=True)


def test_held_rate_is_constant_for_half_of_the_time() -> None:
    schedule = Schedule(1000, rate=1.0, curve="held")
    assert learning_rate(schedule, 500) == 1
    assert learning_rate(schedule, 762) == pytest.approx(0.5, abs=0.01)


def test_parts_of_a_network_learn_at_rates_of_their_own(data: Path, tmp_path: Path) -> None:
    recipe = toy_of(NIGHT_RECIPES["night_adaptive"])
    stage = Stage(rates={"judge": 0.0})
    run = Run(replace(recipe, schedule=replace(recipe.schedule, stages=(stage,))), tmp_path, ALONE)
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    for batch in batches(run, samples.open_stream(recipe, data).samples, 0):
        run.train_step(batch)
    moved = {
        name for name, value in run.network.named_parameters() if (value != before[name]).any()
    }
    assert moved and not any(name.startswith("judge") for name in moved)


def test_adaptive_channel_begins_with_a_segmenters_weights(data: Path, tmp_path: Path) -> None:
    run_of(replace(TOY, schedule=replace(TOY.schedule, steps=2)), tmp_path, data)
    toy = toy_of(NIGHT_RECIPES["night_adaptive"])
    run = Run(toy, tmp_path / "adaptive", ALONE)
    run.begin_from(tmp_path / "last.pt")
    segmenter = open_checkpoint(tmp_path / "last.pt").network.state_dict()
    begun = run.network.state_dict()
    assert all(torch.equal(begun[f"segmenter.{name}"], value) for name, value in segmenter.items())


def test_fusion_begins_with_both_channels(data: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("night_real", "night_adaptive")):
        toy = toy_of(NIGHT_RECIPES[name], steps=2)
        run_of(replace(toy, seed=number), tmp_path / name, data)
    fusion = Run(toy_of(NIGHT_RECIPES["night_fusion_soft"]), tmp_path, ALONE)
    found = {}
    for number, name in enumerate(("night_real", "night_adaptive")):
        fusion.begin_from(tmp_path / name / "last.pt", number)
        found[name] = engine_module(open_checkpoint(tmp_path / name / "last.pt").network)
    assert isinstance(fusion.network, TwoChannels)
    fusion.network.eval()
    said = fusion.network(pictures())
    assert torch.equal(said.real, found["night_real"](pictures()))
    assert torch.equal(said.adaptive, found["night_adaptive"](pictures()))
    assert "night_rain_clips" in fusion.learnt_from  # the adaptive channel has seen it
