"""How a keyframe's labels learn to be carried along and corrected: losses, stages, recipes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.labels import CLASS_NAMES, palette
from tests.packs import OURS_TO_COARSE, road

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import binary_cross_entropy, cross_entropy, one_hot  # noqa: E402

from tests.toys import ALONE, moved  # noqa: E402
from training.checkpoints import (  # noqa: E402
    Checkpoint,
    CheckpointError,
    describe,
    named_recipe,
    open_guide,
    recipe_from,
    save_weights,
)
from training.methods.optical_flow import (  # noqa: E402
    end_point_error,
    photometric_loss,
    visible_in,
)
from training.methods.propagating import Propagating, pixel_cross_entropy  # noqa: E402
from training.networks.davss import DistortionAware  # noqa: E402
from training.networks.deeplab import Features  # noqa: E402
from training.networks.guide import Guide  # noqa: E402
from training.networks.warp import quartered, resized, warp  # noqa: E402
from training.recipes import Recipe, Schedule, Stage  # noqa: E402
from training.run import Run  # noqa: E402
from training.video_recipes import VIDEO_RECIPES  # noqa: E402

torch.set_num_threads(1)
HEIGHT, WIDTH = 64, 96
CLASSES = len(CLASS_NAMES)
STAGES = ("flow", "distortion", "correction")
PIXELS = 4
"""So far everything moves to the left from frame to frame."""
Batch = dict[str, Tensor]


class Colours(nn.Module):
    """A guide that knows the classes of `packs.road` by their colours."""

    learnt_from = ()

    def forward(self, image: Tensor) -> Features:
        known = torch.from_numpy(palette()[:CLASSES] / 255.0).float()
        small = quartered(image)[:, None]
        logits = -30 * ((small - known[None, :, :, None, None]) ** 2).sum(2)
        return Features(logits, small, small, ())


def batch_of(count: int = 2, seed: int = 0) -> Batch:
    """Windows of a wider road, each further to the right than the one before."""
    rng = np.random.default_rng(seed)
    clips = [_clip(rng) for _ in range(count)]
    return torch.utils.data.default_collate(clips)


def _clip(rng: np.random.Generator) -> Batch:
    image, labels = road(rng, HEIGHT, WIDTH + 2 * PIXELS)
    frames = [
        torch.from_numpy(image[:, begin : begin + WIDTH].copy())
        for begin in (0, PIXELS, 2 * PIXELS)
    ]
    flow = torch.zeros(2, HEIGHT, WIDTH)
    flow[0] = PIXELS
    flow[:, :, WIDTH - PIXELS :] = torch.nan  # it has come into the picture
    return {
        **dict(zip(("first", "second", "third"), frames, strict=True)),
        "labels": torch.from_numpy(labels[:, 2 * PIXELS :].astype(np.int64)),
        "groups": torch.eye(CLASSES),
        "flow_second": flow,
        "flow_third": flow.clone(),
    }


def filmed(batch: Batch) -> Batch:
    """As a camera gives it: nobody knows the flow."""
    unknown = {name: batch[name] * torch.nan for name in ("flow_second", "flow_third")}
    return {**batch, **unknown}


def toy(steps: int = 45, stages: tuple[Stage, ...] | None = None) -> Recipe:
    recipe = VIDEO_RECIPES["davss"]
    stages = stages or recipe.schedule.stages
    schedule = replace(
        recipe.schedule, steps=steps, batch=2, rate=2e-3, average=0.5, stages=stages
    )
    return replace(recipe, width=4, schedule=schedule)


def method(recipe: Recipe | None = None) -> Propagating:
    return Propagating(recipe or toy(), Colours())  # type: ignore[arg-type]


def planes(batch: Batch, name: str) -> Tensor:
    return batch[name].permute(0, 3, 1, 2) / 255


@pytest.fixture
def network() -> DistortionAware:
    return moved(DistortionAware(CLASSES, 4))


def texture(height: int, width: int) -> Tensor:
    """Soft blobs, (1, 3, height, width) float, 0 to 1, that a flow can be told from."""
    small = torch.rand(1, 3, height // 12, width // 12, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


def test_exact_flow_costs_nothing_at_any_scale_and_a_wrong_one_its_length() -> None:
    truth = torch.zeros(2, 2, 64, 96)
    truth[:, 0], truth[:, 1] = 12.0, -8.0
    scales = [(16, 24), (8, 12), (4, 6)]
    flows = [torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, *size) for size in scales]
    assert float(end_point_error(flows, truth)) == pytest.approx(0, abs=2e-3)
    wrong = [flow + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1) for flow in flows]
    assert float(end_point_error(wrong, truth)) == pytest.approx(5, abs=1e-3)


def test_pixels_of_unknown_flow_neither_cost_nor_teach() -> None:
    truth = torch.full((1, 2, 32, 32), torch.nan)
    truth[..., :16] = 4.0
    flow = torch.zeros(1, 2, 8, 8, requires_grad=True)
    loss = end_point_error([flow], truth)
    assert float(loss.detach()) == pytest.approx(2**0.5, rel=1e-3)
    loss.backward()
    assert (flow.grad[..., :4] < 0).all()
    assert not flow.grad[..., 4:].any()
    nowhere = end_point_error([flow], truth * torch.nan)
    assert float(nowhere.detach()) == 0.0


def test_only_what_is_in_both_pictures_is_visible() -> None:
    flow = torch.zeros(1, 2, 8, 12)
    flow[:, 0] = 3.0
    visible = visible_in(flow, -flow)
    assert visible[..., :9].all()
    assert not visible[..., 9:].any()
    assert not visible_in(flow, flow).any()
    back = -flow
    back[..., 5] = 2.0  # something else is there in the other picture
    assert not visible_in(flow, back)[..., 2].any()


def test_photometry_finds_a_known_shift() -> None:
    canvas = texture(96, 144)
    before, now = canvas[..., :128], canvas[..., 8:136]
    truth = torch.zeros(1, 2, 24, 32)
    truth[:, 0] = 2.0
    seen = torch.ones(1, 1, 24, 32, dtype=torch.bool)
    costs = [
        float(photometric_loss([truth * share], now, before, seen)) for share in (0, 0.5, 1, 1.5)
    ]
    assert costs[2] == min(costs) < 0.2 * costs[0]
    flow = torch.zeros_like(truth, requires_grad=True)
    optimiser = torch.optim.Adam([flow], lr=0.1)
    for _ in range(40):
        optimiser.zero_grad()
        loss = photometric_loss([flow], now, before, visible_in(flow.detach(), -flow.detach()))
        loss.backward()
        optimiser.step()
    assert float((flow - truth)[..., 4:-4, 4:-4].detach().abs().mean()) < 0.3


def test_drawn_and_filmed_clips_share_a_batch(network: DistortionAware) -> None:
    batch = batch_of()
    drawn = method().loss(network, batch, "flow")
    alone = method().loss(network, filmed(batch), "flow")
    mixed = {
        name: torch.cat([one[:1], two[1:]])
        for (name, one), two in zip(batch.items(), filmed(batch).values(), strict=True)
    }
    first, second = (
        {name: value[at : at + 1] for name, value in mixed.items()} for at in range(2)
    )
    parts = [method().loss(network, part, "flow") for part in (first, second)]
    torch.testing.assert_close(method().loss(network, mixed, "flow"), sum(parts) / 2)
    assert drawn.isfinite()
    assert alone.isfinite()
    assert float(alone.detach()) > 0


def test_filmed_clips_teach_nothing_where_photometry_is_not_wanted(
    network: DistortionAware,
) -> None:
    unwanted = method(replace(toy(), losses={}))
    assert float(unwanted.loss(network, filmed(batch_of()), "flow").detach()) == 0.0


@torch.no_grad()
def test_distortion_is_held_to_where_the_propagated_classes_are_wrong(
    network: DistortionAware,
) -> None:
    batch = batch_of()
    frames = [planes(batch, name) for name in ("first", "second", "third")]
    guide = Colours()
    logits, small, costs, shares = guide(frames[0]).logits, quartered(frames[0]), [], []
    for before, now in pairwise(frames):
        flow = network.flow(now, before)[0]
        logits, small = warp(logits, flow), warp(small, flow)
        distortion = resized(network.distortion(small, quartered(now)), HEIGHT, WIDTH)[:, 0]
        classes = [resized(x, HEIGHT, WIDTH).argmax(1) for x in (logits, guide(now).logits)]
        wrong = (classes[0] != classes[1]).float()
        costs.append(binary_cross_entropy(0.001 + 0.998 * distortion, wrong))
        shares.append(float(wrong.mean()))
    found = method().loss(network, batch, "distortion")
    torch.testing.assert_close(found, sum(costs) / 2)
    assert min(shares) > 0.01


@torch.no_grad()
def test_correction_costs_what_the_paper_says(network: DistortionAware) -> None:
    batch = batch_of()
    batch["labels"][:, :20] = 255
    frames = [planes(batch, name) for name in ("first", "second", "third")]
    steps = network(frames, Colours()(frames[0]).logits)
    taken = resized(Colours()(frames[1]).logits, HEIGHT, WIDTH).argmax(1)
    semantic, corrected = [], []
    for step, labels in zip(steps, (taken, batch["labels"]), strict=True):
        p, c, d = (
            resized(one, HEIGHT, WIDTH)
            for one in (step.memory.logits, step.corrected, step.distortion)
        )
        blended = (1 - d) * p + d * c
        semantic += [cross_entropy(one, labels, ignore_index=255) for one in (p, blended)]
        pixels = cross_entropy(c, labels, ignore_index=255, reduction="none")
        corrected.append((d[:, 0] * pixels).mean())
    expected = sum(semantic) / 4 + sum(corrected) / 2
    torch.testing.assert_close(method().loss(network, batch, "correction"), expected)


def test_coarse_label_costs_the_sum_of_its_classes_chances() -> None:
    groups = torch.zeros(1, CLASSES, CLASSES)
    groups[0, OURS_TO_COARSE, range(CLASSES)] = 1
    logits = torch.randn(1, CLASSES, 4, 5)
    labels = torch.arange(20).view(1, 4, 5) % 7
    chances = logits.softmax(1).permute(0, 2, 3, 1)
    allowed = one_hot(torch.tensor(OURS_TO_COARSE), 7).float()
    expected = -(chances @ allowed).gather(3, labels[..., None])[..., 0].log()
    torch.testing.assert_close(pixel_cross_entropy(logits, labels, groups), expected)


@pytest.mark.parametrize("clips", [batch_of, lambda: filmed(batch_of())], ids=["drawn", "filmed"])
@pytest.mark.parametrize("stage", VIDEO_RECIPES["davss"].schedule.stages, ids=lambda s: s.name)
def test_gradients_reach_what_a_stage_teaches_and_nothing_else(
    stage: Stage, clips: type[Batch], tmp_path: Path
) -> None:
    run = Run(toy(stages=(stage,)), tmp_path, ALONE, guide=Colours())  # type: ignore[arg-type]
    moved(run.network)
    before = {key: value.clone() for key, value in run.network.state_dict().items()}
    run.train_step(clips())
    assert run.left_out == 0
    for key, value in run.network.named_parameters():
        assert (value.grad is not None) == key.startswith(stage.trains), key
    changed = [not torch.equal(v, before[k]) for k, v in run.network.state_dict().items()]
    learning = [key.startswith(stage.trains) for key in before]
    assert not any(change and not learns for change, learns in zip(changed, learning, strict=True))
    assert sum(changed) > 0.8 * sum(learning)  # some filters see nothing of a toy


@pytest.mark.parametrize("stage", VIDEO_RECIPES["davss"].schedule.stages, ids=lambda s: s.name)
def test_every_stage_lowers_its_loss(stage: Stage, tmp_path: Path) -> None:
    run = Run(toy(16, stages=(stage,)), tmp_path, ALONE, guide=Colours())  # type: ignore[arg-type]
    moved(run.network)  # a flow that distorts much
    batch = batch_of()
    losses = [run.train_step(batch) for _ in range(16)]
    assert run.left_out == 0
    assert np.mean(losses[-2:]) < 0.8 * losses[0], losses


def test_flow_learns_a_shift_from_films_alone(tmp_path: Path) -> None:
    canvas = (texture(HEIGHT, WIDTH + 48) * 255).to(torch.uint8).permute(0, 2, 3, 1)
    batch = filmed(batch_of(count=1))
    for name, begin in zip(("first", "second", "third"), (0, PIXELS, 2 * PIXELS), strict=True):
        batch[name] = canvas[:, :, begin : begin + WIDTH]
    recipe = toy(40, stages=(Stage("flow", trains=("flow.",)),))
    run = Run(recipe, tmp_path, ALONE, guide=Colours())  # type: ignore[arg-type]
    losses = [run.train_step(batch) for _ in range(40)]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
    with torch.no_grad():
        flow = run.network.flow(planes(batch, "second"), planes(batch, "first"))[0]
    assert float(flow[:, 0].median()) > 0.3  # of a pixel at 1/4, to the right; it began at 0


def test_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    batch, recipe = batch_of(1), toy(6)
    guide = {"guide": Colours()}
    whole = Run(recipe, tmp_path / "whole", ALONE, **guide)
    expected = [whole.train_step(batch) for _ in range(6)]
    cut = Run(recipe, tmp_path / "cut", ALONE, **guide)
    begun = [cut.train_step(batch) for _ in range(4)]
    cut.save()
    again = Run(recipe, tmp_path / "cut", ALONE, **guide)
    again.resume()
    assert begun + [again.train_step(batch) for _ in range(2)] == expected


def test_without_a_guide_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"recipe davss: expected a frozen segmenter .* --guide"):
        Propagating(toy(), None)


def test_recipes_come_back_from_a_checkpoint_and_keep_the_papers_schedule() -> None:
    for name, recipe in VIDEO_RECIPES.items():
        assert (recipe.name, recipe_from(describe(recipe))) == (name, recipe)
        assert named_recipe(name) is recipe
    full = VIDEO_RECIPES["davss_full"]
    schedule: Schedule = full.schedule
    assert [stage.name for stage in schedule.stages] == list(STAGES)
    assert {schedule.rate * stage.rate for stage in schedule.stages} == {1e-4}
    assert (schedule.decay, schedule.betas, schedule.batch) == (0.0, (0.9, 0.999), 4)
    assert full.crop == (512, 1024)


def test_the_papers_segmenter_guides_as_ours_does(tmp_path: Path) -> None:
    recipe = replace(VIDEO_RECIPES["keyframe_full"], width=4)
    path = tmp_path / "key.pt"
    save_weights(path, Checkpoint(recipe, recipe.network(), 1, 0.0, ("camvid",)))
    guide = open_guide(path)
    assert isinstance(guide, Guide)
    batch = batch_of()
    with torch.no_grad():
        seen = guide(planes(batch, "first")).logits
        torch.testing.assert_close(seen, guide.segmenter(batch["first"]))
    other = VIDEO_RECIPES["davss"]
    save_weights(path, Checkpoint(other, other.network(), 1, 0.0, ()))
    with pytest.raises(CheckpointError, match="DistortionAware, which does not segment by itself"):
        open_guide(path)
