"""Clips to learn propagation from: drawn, moved, recorded; and the samples taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adverse_perception import kernels
from adverse_perception.labels import UNLABELLED
from adverse_perception.propagation import Propagation, halved
from tests.packs import write_camvid
from tests.public_sets import CITY, SUNNY, cityscapes, move_split, picture

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from tests.toys import ALONE, LIGHT, TOY, moved  # noqa: E402
from tests.videos import textured_video  # noqa: E402
from training import train  # noqa: E402
from training.checkpoints import Checkpoint, open_checkpoint, open_guide, save_weights  # noqa: E402
from training.clip_samples import LONGEST, CorrectionStream, TripletStream  # noqa: E402
from training.clips import OURS, Clip, DrivenStreets, MovedStills, Recorded, open_clips  # noqa: E402
from training.datasets import open_dataset, open_pack  # noqa: E402
from training.export import example_maps, export  # noqa: E402
from training.network_engine import NetworkEngine  # noqa: E402
from training.networks.guide import Guide  # noqa: E402
from training.recipes import RECIPES, Schedule  # noqa: E402
from training.run import Run  # noqa: E402
from training.sources import Source  # noqa: E402
from training.transforms import Geometry  # noqa: E402
from training.video_recipes import VIDEO_RECIPES  # noqa: E402
from training.video_scores import (  # noqa: E402
    EveryFrame,
    FlowOnly,
    Held,
    LightStep,
    pda,
)

STILL = replace(LIGHT, photometry=0.0, weather=0.0)
TOY_CORRECTION = replace(
    VIDEO_RECIPES["correction"],
    schedule=Schedule(4, batch=2, rate=3e-3, average=0.9),
    width=16,
    size=(48, 64),
    crop=(96, 128),
    data={"street": 0.5, "camvid": 0.5},
    augmentation=STILL,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_camvid(folder / "camvid", train=3, val=12)
    return folder


@pytest.fixture(scope="module")
def guide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guide") / "guide.pt"
    save_weights(path, Checkpoint(TOY, moved(TOY.network()), 0, 0.0, ("camvid",)))
    return path


@pytest.fixture(scope="module")
def guide() -> Guide:
    network = moved(TOY.network())
    return Guide(network)  # type: ignore[arg-type]


def write_sequence(root: Path) -> None:
    """A labelled frame of Cityscapes with what the camera saw before it."""
    cityscapes(root)
    head, _, frame = CITY.rpartition("_")
    for number in range(int(frame) - 5, int(frame)):
        name = f"{head}_{number:06d}_leftImg8bit.png"
        picture(root / f"leftImg8bit_sequence/val/lindau/{name}", SUNNY)


def test_exact_flow_leads_back_to_the_frame_before() -> None:
    clip = DrivenStreets().draw(np.random.default_rng(3), (0, 2))
    before, now = (image.astype(np.float32) for image in clip.images)
    brought = kernels.warp(np.ascontiguousarray(before.transpose(2, 0, 1)), clip.flows[1])
    wrong = np.abs(brought.transpose(1, 2, 0) - now).mean()
    assert np.isnan(clip.flows[0]).all()
    assert wrong < 0.6 * np.abs(before - now).mean()


def test_flow_turns_with_the_crop() -> None:
    clip = DrivenStreets().draw(np.random.default_rng(3), (0, 2))
    mirrored = Geometry(1.0, 1.0, 0.0, (0.0, 0.0), mirrored=True)
    crop = clip.cropped(mirrored, (180, 240))
    whole, seen = clip.flows[1][::2, ::2], crop.flows[1][:, ::-1]
    np.testing.assert_allclose(np.median(seen[..., 0]), -np.median(whole[..., 0]) / 2, atol=0.2)
    np.testing.assert_allclose(np.median(seen[..., 1]), np.median(whole[..., 1]) / 2, atol=0.2)


def test_still_is_seen_from_nearer_in_later_frames(data: Path) -> None:
    stills = MovedStills(Source(open_pack(data / "camvid", "train")))
    clips = [stills.draw(np.random.default_rng(seed), range(6)) for seed in range(3)]
    for clip in clips:
        assert all(not np.array_equal(clip.images[0], later) for later in clip.images[1:])
        for image, labels in zip(clip.images, clip.labels, strict=True):
            assert image.shape[:2] == labels.shape
    ahead = [np.count_nonzero(clip.labels[-1] == UNLABELLED) for clip in clips]
    behind = [np.count_nonzero(clip.labels[0] == UNLABELLED) for clip in clips]
    assert sum(behind) >= sum(ahead)  # from behind, more lies beyond the picture


def test_recorded_video_ends_at_its_labelled_frame(tmp_path: Path) -> None:
    write_sequence(tmp_path)
    pack = open_dataset("cityscapes", tmp_path, "val")
    clip = Recorded(pack).draw(np.random.default_rng(0), (0, 3, 5))
    assert len(clip.images) == 3
    assert all((labels == UNLABELLED).all() for labels in clip.labels[:2])
    assert (clip.labels[2] != UNLABELLED).any()
    assert all(np.isnan(flow).all() for flow in clip.flows)


def test_data_sets_with_video_give_it_and_others_are_moved(data: Path, tmp_path: Path) -> None:
    recipe = replace(TOY_CORRECTION, data={"street": 1, "camvid": 1, "cityscapes": 1})
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "camvid").symlink_to(data / "camvid")
    write_sequence(folder / "cityscapes")
    move_split(folder / "cityscapes", "train")
    clips = open_clips(recipe, folder)
    kinds = {name: type(source) for name, source in clips.items()}
    assert kinds == {"street": DrivenStreets, "camvid": MovedStills, "cityscapes": Recorded}


def test_correction_sample_is_a_function_of_its_number(data: Path, guide: Guide) -> None:
    clips = open_clips(TOY_CORRECTION, data)
    stream = CorrectionStream(TOY_CORRECTION, clips, guide)
    samples = [stream[number] for number in (0, 1, 9)]
    again = CorrectionStream(TOY_CORRECTION, clips, guide)
    for number, sample in zip((9, 1, 0), samples[::-1], strict=True):
        repeated = again[number]
        assert all(torch.equal(repeated[name], sample[name]) for name in sample)
    assert samples[0]["image"].shape == (48, 64, 3)
    assert samples[0]["warped"].shape == samples[0]["seen"].shape == (11, 24, 32)
    assert samples[0]["labels"].shape == (96, 128)


def test_triplets_keep_the_papers_distances_and_stack(data: Path) -> None:
    stream = TripletStream(TOY_CORRECTION, open_clips(TOY_CORRECTION, data))
    batch = next(iter(DataLoader(stream, batch_size=4, sampler=range(4))))
    assert batch["first"].shape == batch["third"].shape == (4, 96, 128, 3)
    assert batch["flow_third"].shape == (4, 2, 96, 128)


def test_triplets_span_two_to_ten_frames_with_one_between() -> None:
    asked: list[tuple[int, ...]] = []

    class Asked(DrivenStreets):
        def draw(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
            asked.append(tuple(numbers))
            blank = np.zeros((90, 120, 3), np.uint8)
            flow = np.zeros((90, 120, 2), np.float32)
            return Clip((blank,) * 3, (blank[..., 0],) * 3, OURS, (flow,) * 3)

    recipe = replace(TOY_CORRECTION, data={"street": 1.0})
    stream = TripletStream(recipe, {"street": Asked()})
    for number in range(60):
        stream[number]
    assert all(first == 0 < second < third <= LONGEST for first, second, third in asked)
    assert {third for *_, third in asked} == set(range(2, 11))


@pytest.mark.parametrize("name", ["correction", "davss"])
def test_training_on_clips_runs_from_the_command_to_a_checkpoint(
    name: str,
    data: Path,
    guide_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = replace(VIDEO_RECIPES[name], width=16 if name == "correction" else 8, crop=(96, 128))
    toy = replace(toy, size=(48, 64) if name == "correction" else (96, 128))
    monkeypatch.setitem(train.recipe_of.__globals__["EVERY_RECIPE"], name, toy)
    # Eleven frames of a drawn clip take a while.
    learnt = {"correction": {"camvid"}, "davss": {"camvid", "street"}}[name]
    told = [name, "--data", str(data), "--leave-out", "none", *(set(toy.data) - learnt)]
    told += [
        "--device",
        "cpu",
        "--guide",
        str(guide_file),
        "--steps",
        "3",
        "--batch",
        "2",
        "--out",
        str(tmp_path),
    ]
    assert train.main(told) == 0
    checkpoint = open_checkpoint(tmp_path / "last.pt")
    assert checkpoint.step == 3
    assert learnt == set(checkpoint.learnt_from)
    assert 0 <= checkpoint.score <= 1


def test_exported_correction_says_what_the_trained_network_says(tmp_path: Path) -> None:
    checkpoint = Checkpoint(TOY_CORRECTION, moved(TOY_CORRECTION.network()), 1, 0.0, ())
    metadata = export(checkpoint, tmp_path / "correction.onnx", {})
    assert (metadata.role, metadata.stride) == ("correction", 2)
    maps = example_maps(TOY_CORRECTION, (48, 64), np.random.default_rng(0))
    found = NetworkEngine(TOY_CORRECTION, checkpoint.network).run(
        np.zeros((48, 64, 3), np.uint8), maps=maps
    )
    assert found["correction"].shape == (11, 24, 32)
    assert 0 <= found["distortion"].min() <= found["distortion"].max() <= 1


def test_flow_carries_labels_where_holding_them_fails() -> None:
    video = textured_video(8, 8)
    held, carried, every = (
        {d: m.miou() for d, m in pda(video, way, 5).items()}
        for way in (Held(), FlowOnly(), EveryFrame())
    )
    assert all(carried[distance] > held[distance] + 0.05 for distance in (3, 4, 5))
    assert every[1] == pytest.approx(every[5], abs=0.02)
    assert held[5] < held[1]


def test_every_distance_is_scored_on_the_same_frames() -> None:
    video = textured_video(9, 4)
    totals = {int(matrix.counts.sum()) for matrix in pda(video, Held(), 4).values()}
    assert totals == {5 * 192 * 256}


def test_light_step_is_blended_as_its_engine_says() -> None:
    video = textured_video(4, 8)
    recipe = replace(TOY_CORRECTION, size=(96, 128))
    engine = NetworkEngine(recipe, moved(recipe.network()))
    light, fed_back = LightStep(engine), LightStep(engine, fed_back=True)
    step = Propagation(halved(video[0].working), video[0].logits).step(halved(video[1].working))
    found = engine.run(step.picture, maps={"warped": step.warped, "evidence": step.evidence})
    correction, distortion = found["correction"], found["distortion"][0]
    size = video[1].labels.shape
    expected = kernels.correct_and_label(step.warped, correction, distortion, *size)[0]
    for way in (light, fed_back):
        way.begin(video[0])
        np.testing.assert_array_equal(way.carry(video[1]), expected)
        assert way.distortions == [pytest.approx(float(distortion.mean()))]
        way.carry(video[2])
    assert light.distortions[1] != fed_back.distortions[1]


@pytest.mark.parametrize("name", ["correction", "correction_large"])
def test_correction_costs_at_most_a_fifth_of_the_key_network(name: str) -> None:
    recipe = VIDEO_RECIPES[name]
    height, width = recipe.size
    with torch.device("meta"):
        key = RECIPES["clear"].network()
        light = recipe.network()
        picture = torch.zeros(1, 2 * height, 2 * width, 3, dtype=torch.uint8)
        maps = [torch.zeros(1, planes, height // 2, width // 2) for planes in (11, 6)]
    with FlopCounterMode(display=False) as whole:
        key(picture)
    with FlopCounterMode(display=False) as part:
        light(picture[:, ::2, ::2], *maps)
    assert part.get_total_flops() <= 0.2 * whole.get_total_flops()


def test_correction_lies_on_the_picture_at_any_size() -> None:
    network = replace(TOY_CORRECTION).network().eval()
    for height, width in ((188, 332), (48, 64), (92, 100)):
        seen: list[torch.Size] = []
        hook = network.segmenter.backbone.register_forward_pre_hook(
            lambda _, given, seen=seen: seen.append(given[0].shape)
        )
        maps = [torch.zeros(1, planes, height // 2, width // 2) for planes in (11, 6)]
        picture = torch.zeros(1, height, width, 3, dtype=torch.uint8)
        assert network(picture, *maps).correction.shape[2:] == (height // 2, width // 2)
        hook.remove()
        sides = seen[0][2:]
        assert all(side % 4 == 0 for side in sides)
        assert sides[0] / height == pytest.approx(2 / 3, abs=3 / height)


def test_a_segmenter_begins_the_correction_that_has_one_inside(
    guide_file: Path, tmp_path: Path
) -> None:
    run = Run(TOY_CORRECTION, tmp_path, ALONE, guide=open_guide(guide_file))
    run.begin_from(guide_file)
    known = open_checkpoint(guide_file).network.state_dict()
    inside = run.network.state_dict()
    assert all(torch.equal(inside[f"segmenter.{name}"], value) for name, value in known.items())


def test_some_samples_begin_at_another_scene(data: Path, guide: Guide) -> None:
    recipe = replace(TOY_CORRECTION, data={"camvid": 1.0})
    stream = CorrectionStream(recipe, open_clips(recipe, data), guide)
    residuals = [float(stream[number]["evidence"][:3].mean()) for number in range(24)]
    assert max(residuals) > 3 * np.median(residuals)
