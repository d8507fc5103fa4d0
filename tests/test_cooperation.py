"""How SR-Net learns: what each stage costs and trains, and the maps that it restores by."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.labels import CLASS_NAMES
from tests.packs import road

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn.functional import softmax  # noqa: E402

from tests.toys import ALONE, moved, write_data  # noqa: E402
from training import train  # noqa: E402
from training.checkpoints import open_checkpoint  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.losses import (  # noqa: E402
    class_weights,
    grouped_cross_entropy,
    refinement_loss,
    synthesis_loss,
)
from training.methods.cooperate import SOURCES, Cooperating, chances_of  # noqa: E402
from training.networks.deeplab import DeepLabV3Plus  # noqa: E402
from training.networks.guide import Guide  # noqa: E402
from training.networks.spade import EGS  # noqa: E402
from training.networks.srnet import SGA, SRNet, srnet  # noqa: E402
from training.recipes import Recipe  # noqa: E402
from training.restoration_recipes import COOPERATING  # noqa: E402
from training.run import Run  # noqa: E402
from training.samples import open_stream  # noqa: E402

CLASSES = len(CLASS_NAMES)
FINE = torch.eye(CLASSES)
Batch = dict[str, Tensor]


def toy(name: str = "srnet", steps: int = 34) -> Recipe:
    recipe = COOPERATING[name]
    schedule = replace(recipe.schedule, steps=steps, batch=2, rate=1.5e-3, average=0.5)
    return replace(recipe, width=8, schedule=schedule)


@cache
def guide() -> Guide:
    """A segmenter that has never learnt, but says the same of the same picture."""
    torch.manual_seed(5)
    return Guide(DeepLabV3Plus("resnet18_w24", CLASSES, 16))


def batch_of(seed: int = 0, count: int = 2) -> Batch:
    """Roads through grey haze, the same for the same seed."""
    rng = np.random.default_rng(seed)
    pictures, labels = zip(*(road(rng, 32, 48) for _ in range(count)), strict=True)
    clean = torch.from_numpy(np.stack(pictures))
    return {
        "image": (0.5 * clean.float() + 0.5 * 190).to(torch.uint8),
        "clean": clean,
        "occlusion": torch.zeros(count, 32, 48),
        "labels": torch.from_numpy(np.stack(labels).astype(np.int64)),
        "groups": FINE.expand(count, -1, -1).clone(),
    }


def method_of(source: str) -> Cooperating:
    recipe = toy()
    return Cooperating(replace(recipe, options={} if source == "s1" else {source: True}), guide())


def test_joint_loss_is_the_sum_of_both_modules_and_their_cooperation() -> None:
    network, batch, method = moved(srnet(CLASSES, 8)), batch_of(), method_of("s1")
    image, clean = (batch[name].permute(0, 3, 1, 2) / 255 for name in ("image", "clean"))
    made = network(image, guide()(image).logits)
    answers = batch["labels"], batch["groups"], class_weights(toy().rare_class_power)
    expected = refinement_loss(made.refined_logits, *answers)
    expected = expected + synthesis_loss(made.restored, clean)
    seen = guide()(made.restored).logits
    expected = expected + 0.1 * grouped_cross_entropy(seen, *answers)
    torch.testing.assert_close(method.loss(network, batch, "joint"), expected)


def test_cooperation_teaches_restoration_through_the_frozen_guide() -> None:
    network, batch = moved(srnet(CLASSES, 8)), batch_of()
    recipe = toy()
    gradients = []
    for share in (0.0, 0.1):
        method = Cooperating(replace(recipe, losses={"cooperation": share}), guide())
        network.zero_grad()
        method.loss(network, batch, "joint").backward()
        gradients.append(network.get_parameter("egs.paint.weight").grad)
    assert not torch.allclose(*gradients)
    assert all(value.grad is None for value in guide().parameters())


def test_each_source_restores_otherwise() -> None:
    network, batch = moved(srnet(CLASSES, 8)), batch_of()
    image = batch["image"].permute(0, 3, 1, 2) / 255
    truth = chances_of(batch["labels"], batch["groups"])
    made = [method_of(s).cooperate(network, image, truth=truth).restored for s in SOURCES]
    for number, one in enumerate(made):
        assert not any(torch.equal(one, other) for other in made[:number])


def test_sources_are_the_maps_they_are_named_after() -> None:
    network, batch = moved(srnet(CLASSES, 8)), batch_of()
    image = batch["image"].permute(0, 3, 1, 2) / 255
    logits, truth = guide()(image).logits, chances_of(batch["labels"], batch["groups"])
    even = torch.full((2, CLASSES, 32, 48), 1 / CLASSES)
    maps = [softmax(network.sga(image, logits), 1), softmax(logits, 1), truth, even]
    for source, chances in zip(SOURCES, maps, strict=True):
        found = method_of(source).cooperate(network, image, truth=truth).restored
        torch.testing.assert_close(found, network.egs(image, chances).clamp(0, 1))


def test_second_round_begins_with_what_the_guide_sees_in_the_first() -> None:
    network, method = moved(srnet(CLASSES, 8)), method_of("s1")
    image = torch.rand(1, 3, 32, 48)
    first = network(image, guide()(image).logits)
    second = network(image, guide()(first.restored).logits)
    found = method.cooperate(network, image, rounds=2)
    torch.testing.assert_close(found.refined_logits, second.refined_logits)
    torch.testing.assert_close(found.restored, second.restored.clamp(0, 1))
    assert not torch.equal(found.restored, method.restore(network, image))


def test_segmentation_is_the_refined_map_or_the_guides_of_the_restored_picture() -> None:
    network, image = moved(srnet(CLASSES, 8)), torch.rand(1, 3, 32, 48)
    refined = method_of("s1").segment(network, image)
    torch.testing.assert_close(refined, network.sga(image, guide()(image).logits))
    restored = method_of("s0").restore(network, image)
    torch.testing.assert_close(method_of("s0").segment(network, image), guide()(restored).logits)


def test_guides_map_stands_in_for_labels_that_are_not_known() -> None:
    network, image = moved(srnet(CLASSES, 8)), torch.rand(1, 3, 32, 48)
    expected = method_of("s0").restore(network, image)
    assert torch.equal(method_of("label").restore(network, image), expected)


def test_labels_are_even_among_the_classes_they_may_mean() -> None:
    groups = torch.zeros(1, CLASSES, CLASSES)
    groups[0, 0, 3] = groups[0, 1, [4, 5]] = 1
    found = chances_of(torch.tensor([[[0, 1, 2, 255]]]), groups)[0, :, 0]
    expected = torch.zeros(CLASSES, 4)
    expected[3, 0] = 1
    expected[[4, 5], 1] = 0.5
    expected[:, 2:] = 1 / CLASSES  # a label that means none of ours, and none at all
    torch.testing.assert_close(found, expected)


def test_hidden_parts_are_told_of_some_pictures_where_something_is_pasted() -> None:
    batch = batch_of(count=8) | {"occlusion": torch.zeros(8, 32, 48)}
    batch["occlusion"][:, 4:9, 4:9] = 1.0
    told: list[Tensor | None] = []

    class Listening(SRNet):
        def forward(self, image, logits, guidance=None, hidden=None, **wishes):  # type: ignore[no-untyped-def]
            told.append(hidden)
            return super().forward(image, logits, guidance, hidden, **wishes)

    network = Listening(SGA(CLASSES, 4), EGS(CLASSES, 4))
    torch.manual_seed(0)
    for name in ("srnet", "srnet_regular"):
        Cooperating(toy(name), guide()).loss(network, batch, "egs")
    assert told[0] is None
    assert told[1] is not None
    assert 0 < int(told[1].flatten(1).any(1).sum()) < 8


def test_training_without_a_guide_says_how_to_name_one() -> None:
    with pytest.raises(ValueError, match=r"recipe srnet: expected a frozen segmenter.*--guide"):
        Cooperating(toy(), None)


@pytest.mark.parametrize("options", [{"s0": True, "label": True}, {"depth": True}])
def test_options_that_are_no_one_map_are_refused(options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="expected at most one option of s1, s0, label, constant"):
        Cooperating(replace(toy(), options=options), guide())


def trained(recipe: Recipe, folder: Path, stop: int | None = None) -> list[float]:
    """The loss of every step on one picture, going on where the folder's run stopped."""
    run = Run(recipe, folder, ALONE, guide=guide())
    run.resume()
    steps = range(run.step, stop or recipe.schedule.steps)
    losses = [run.train_step(batch_of()) for _ in steps]
    run.save()
    return losses


def test_every_stage_lowers_its_loss(tmp_path: Path) -> None:
    losses = trained(toy(steps=51), tmp_path)
    for step in (0, 15, 30):  # sga, egs_labels, egs; the joint one is short and slow
        assert np.mean(losses[step + 11 : step + 15]) < np.mean(losses[step : step + 3])
    assert losses[-1] < losses[45]


@pytest.mark.parametrize("name", ["srnet_s0", "srnet_label", "srnet_constant", "srnet_regular"])
def test_other_maps_and_degradations_are_learnt_too(name: str, tmp_path: Path) -> None:
    recipe = toy(name, steps=18)
    losses, first_stage = trained(recipe, tmp_path), recipe.schedule.at(0)[2]
    assert np.isfinite(losses).all()
    assert losses[first_stage - 1] < losses[0]


def test_whole_training_runs_on_fine_and_coarse_data(tmp_path: Path) -> None:
    recipe = replace(toy(steps=8), crop=(32, 48), data={"camvid": 0.6, "idd_lite": 0.4})
    data = write_data(tmp_path / "data")
    run = Run(recipe, tmp_path / "run", ALONE, guide=guide())
    losses = train.train(run, open_stream(recipe, data), open_pack(data / "camvid", "val"))
    assert np.isfinite(losses).all()
    assert open_checkpoint(run.checkpoint).score > 8  # dB; a network gone wild has far less


@pytest.mark.parametrize(
    ("step", "learning"), [(0, {"sga"}), (10, {"egs"}), (20, {"egs"}), (30, {"sga", "egs"})]
)
def test_stage_trains_its_part_only(step: int, learning: set[str], tmp_path: Path) -> None:
    run = Run(toy(steps=34), tmp_path, ALONE, guide=guide())
    run.step = step
    run.train_step(batch_of())  # enters the stage, with the averaged weights
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.train_step(batch_of())
    after = run.network.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == learning


def test_resumed_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    recipe = toy(steps=17)
    whole = trained(recipe, tmp_path / "whole")
    parts = trained(recipe, tmp_path / "parts", stop=5)  # the last step of the first stage
    parts += trained(recipe, tmp_path / "parts", stop=12)
    parts += trained(recipe, tmp_path / "parts")
    assert parts == whole


def test_rows_of_the_ablation_teach_the_restorer_for_as_long() -> None:
    def steps_of_egs(recipe: Recipe) -> int:
        schedule = recipe.schedule
        stages = [schedule.at(step)[0] for step in range(schedule.steps)]
        return sum("egs." in stage.trains for stage in stages)

    wanted = steps_of_egs(COOPERATING["srnet"])
    for source in ("s0", "label", "constant"):
        assert steps_of_egs(COOPERATING[f"srnet_{source}"]) == pytest.approx(wanted, abs=2)
