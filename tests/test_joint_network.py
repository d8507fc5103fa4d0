"""The joint network: what it begins with, what it learns by, and the engine it becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, pixel_shuffle  # noqa: E402

from adverse_perception.frames import Condition, Frame, Weather  # noqa: E402
from adverse_perception.inference import load_engine  # noqa: E402
from adverse_perception.segmenters import JointSegmenter  # noqa: E402
from tests.packs import road  # noqa: E402
from tests.toys import ALONE, LIGHT, TOY, moved, run_of, write_data  # noqa: E402
from training import export, train  # noqa: E402
from training.checkpoints import Checkpoint, CheckpointError, save_weights  # noqa: E402
from training.losses import feature_matching, restoration_loss  # noqa: E402
from training.methods.joint import RestoringAndSegmenting, distillation  # noqa: E402
from training.networks.deeplab import DeepLabV3Plus  # noqa: E402
from training.networks.guide import Guide  # noqa: E402
from training.networks.joint import Joint, JointNet, JointOutputs  # noqa: E402
from training.recipes import RECIPES, Recipe, Schedule  # noqa: E402
from training.run import Run  # noqa: E402
from training.samples import open_stream  # noqa: E402

TOY_JOINT = replace(
    TOY,
    name="joint",
    role="joint",
    conditions=("rain", "fog"),
    augmentation=replace(LIGHT, weather=0.8, conditions={"fog": 0.5, "drops": 0.5}),
    losses={"restoration": 1.0},
)


def network(**options: bool) -> JointNet:
    torch.manual_seed(0)
    return JointNet("resnet18_w24", 11, 16, head=8, **options).eval()


def pictures(count: int = 2, height: int = 32, width: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def planes(image: torch.Tensor) -> torch.Tensor:
    return image.permute(0, 3, 1, 2).float() / 255


def guide() -> Guide:
    torch.manual_seed(1)
    return Guide(DeepLabV3Plus("resnet18_w24", 11, 16))


def test_training_begins_with_the_picture_as_it_is() -> None:
    image = pictures()
    with torch.no_grad():
        joint: Joint = network()(image)
        _, restored = JointOutputs(network())(image)
    torch.testing.assert_close(joint.restored, planes(image), rtol=0, atol=0.02)
    torch.testing.assert_close(joint.coarse, planes(image), rtol=0, atol=0.02)
    assert (restored.int() - image.int()).abs().max() <= 5


def test_segmenter_inside_is_the_segmenter_alone() -> None:
    joint, image = network(), pictures()
    with torch.no_grad():
        together: Joint = joint(image)
        torch.testing.assert_close(together.logits, joint.segmenter(image))


def test_cells_gather_what_pixel_shuffle_spreads() -> None:
    head, image = network().restorer, torch.rand(1, 3, 6, 8)
    cells = torch.nn.functional.conv2d(image, head.cells, stride=2)
    torch.testing.assert_close(pixel_shuffle(cells, 2), image)


@pytest.mark.parametrize("part", ["modulated", "filled", "refined"])
def test_every_part_of_the_head_can_be_left_out(part: str) -> None:
    whole, without = network(), network(**{part: False})
    assert _size(without) < _size(whole) or part == "filled"  # which has nothing to learn
    with torch.no_grad():
        joint: Joint = without(pictures())
    assert joint.restored.shape == (2, 3, 32, 48)


def _size(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def test_what_is_hidden_is_filled_from_around_it() -> None:
    joint = network()
    image = torch.full((1, 64, 96, 3), 90, dtype=torch.uint8)
    image[:, 24:40, 40:56] = 250  # 4 x 4 cells at 1/4
    torch.nn.init.zeros_(joint.restorer.hidden.weight)
    spot = torch.zeros(1, 1, 16, 24)
    spot[:, :, 5:11, 9:15] = 40.0
    joint.restorer.hidden.register_forward_hook(lambda *_: spot - 20)
    with torch.no_grad():
        _, restored = JointOutputs(joint)(image)
    assert (restored.int() - 90).abs().max() <= 6


def test_logits_modulate_the_restored_picture_when_the_head_has_learnt() -> None:
    joint, image = network(), pictures()
    head = joint.restorer
    assert head.modulate is not None
    for layer in (head.modulate.scale_shift, head.gain_offset):
        torch.nn.init.normal_(layer.weight, std=9.0)
    half, detail, context = joint.segmenter.backbone.pyramid(joint.segmenter.normalise(image))
    features = joint.segmenter.decode(detail, context)
    other = features._replace(logits=features.logits.flip(1) * 3)
    shown = joint.segmenter.normalise(image)
    with torch.no_grad():
        first, second = (head(shown, half, one)[1] for one in (features, other))
    assert (first - second).abs().max() > 1e-3


def test_loss_is_the_sum_of_its_parts() -> None:
    joint, image, known = moved(network()), pictures(), guide()
    clean = pictures(2).flip(1)
    batch = {
        "image": image,
        "clean": clean,
        "labels": torch.zeros(2, 32, 48, dtype=torch.long),
        "groups": torch.eye(11).expand(2, 11, 11),
        "occlusion": torch.rand(2, 32, 48),
    }
    batch["occlusion"][1] = torch.nan

    def loss(**shares: float) -> torch.Tensor:
        method = RestoringAndSegmenting(replace(TOY_JOINT, losses=shares), known)
        return method.loss(joint, batch, "all")

    with torch.no_grad():
        made: Joint = joint(image)
        plain = loss()
        restored = restoration_loss(made.restored, planes(clean))
        restored = restored + 0.5 * ((made.coarse - planes(clean)) ** 2).mean()
        decibels = 10 * ((made.restored - planes(clean)) ** 2).mean((1, 2, 3)).log10()
        restored = restored + 0.02 * decibels.mean()
        seen, wanted = known(made.restored), known(planes(clean))
        torch.testing.assert_close(
            loss(restoration=2.0) - plain, 2 * restored, rtol=1e-3, atol=1e-4
        )
        hidden = avg_pool2d(batch["occlusion"][:1, None], 4)
        torch.testing.assert_close(
            loss(occlusion=0.5) - plain,
            0.5 * binary_cross_entropy_with_logits(made.hidden[:1], hidden),
        )
        torch.testing.assert_close(
            loss(distillation=0.5) - plain, 0.5 * distillation(made.logits, wanted.logits)
        )
        torch.testing.assert_close(
            loss(matching=0.1) - plain, 0.1 * feature_matching(seen, wanted), rtol=1e-3, atol=1e-5
        )


def test_first_stage_learns_what_hides_the_scene_with_the_head_alone(tmp_path: Path) -> None:
    drops = replace(LIGHT, weather=1.0, conditions={"drops": 1.0}, strength=(0.7, 1.0))
    found, together = RECIPES["joint"].schedule.stages
    stages = (replace(found, share=0.9, rate=1.0), replace(together, share=0.1))
    schedule = replace(TOY.schedule, steps=50, rate=1e-2, stages=stages)
    recipe = replace(TOY_JOINT, losses={"occlusion": 1.0}, schedule=schedule, augmentation=drops)
    run = Run(recipe, tmp_path, ALONE)
    stream = open_stream(recipe, write_data(tmp_path / "data")).samples
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    steps = train.batches(run, stream, workers=0)
    losses = [run.train_step(next(steps)) for _ in range(45)]
    learning = [value for value in run.network.parameters() if value.requires_grad]
    assert all(value.grad is not None for value in learning)  # else processes wait for the rest
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    changed = {n for n, value in run.network.state_dict().items() if not value.equal(before[n])}
    assert all(name.startswith("restorer.") for name in changed)
    run.train_step(next(steps))
    assert not run.network.segmenter.classify.weight.equal(before["segmenter.classify.weight"])


def test_distillation_is_the_divergence_and_zero_for_equals() -> None:
    logits, known = torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2)
    p, q = known.softmax(1), logits.softmax(1)
    expected = (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(distillation(logits, known), expected)
    assert float(distillation(known, known)) == pytest.approx(0, abs=1e-6)


def test_guide_stays_as_it_is_but_passes_gradients_to_the_picture() -> None:
    known = guide().train()
    image = torch.rand(1, 3, 32, 48, requires_grad=True)
    known(image).logits.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not known.segmenter.training
    assert all(value.grad is None for value in known.parameters())


def test_loss_that_needs_a_guide_says_so() -> None:
    with pytest.raises(ValueError, match=r"expected a frozen segmenter .* --guide"):
        RestoringAndSegmenting(replace(TOY_JOINT, losses={"distillation": 1.0}), None)


def test_joint_network_begins_from_a_segmenters_weights(tmp_path: Path) -> None:
    recipe = Recipe("toy", "segmentation", ("clear",), Schedule(1), width=16)
    segmenter = recipe.network()
    save_weights(tmp_path / "clear.pt", Checkpoint(recipe, segmenter, 7, 0.5, ("camvid",)))
    run = Run(TOY_JOINT, tmp_path / "joint", ALONE)
    run.begin_from(tmp_path / "clear.pt")
    assert isinstance(run.network, JointNet)
    taken = run.network.segmenter.state_dict()
    assert all(torch.equal(taken[name], value) for name, value in segmenter.state_dict().items())
    other = replace(recipe, width=24)
    save_weights(tmp_path / "wide.pt", Checkpoint(other, other.network(), 7, 0.5, ("camvid",)))
    with pytest.raises(CheckpointError, match="of width 24"):
        run.begin_from(tmp_path / "wide.pt")


def test_joint_network_learns_and_its_engine_restores_and_labels(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    recipe = replace(TOY_JOINT, schedule=replace(TOY.schedule, steps=30))
    losses = run_of(recipe, tmp_path, data)
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:4])
    command = [str(tmp_path / "last.pt"), "--out", str(tmp_path / "joint.onnx")]
    assert export.main([*command, "--data", str(data / "camvid")]) == 0
    engine = load_engine(tmp_path / "joint.onnx", role="joint")
    assert set(engine.metadata.scores) == {"clear", "rain", "fog", "night"}
    image, _ = road(np.random.default_rng(1))
    frame = Frame(image, restore=True)
    said = JointSegmenter(engine).segment(frame, Condition(Weather.FOG))
    assert said.labels.shape == image.shape[:2]
    assert said.restored is not None
    assert said.restored.shape == image.shape
    assert said.restored.dtype == np.uint8
