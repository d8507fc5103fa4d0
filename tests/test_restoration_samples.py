"""What restorers learn from: weather of our own on clear pictures, and pairs of a data set."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import Dataset  # noqa: E402

from tests.public_sets import SUNNY, acdc, drops, move_split  # noqa: E402
from tests.toys import LIGHT, TOY, TOY_WEATHER, write_data  # noqa: E402
from training import street_pack  # noqa: E402
from training.datasets import DatasetError, open_pack  # noqa: E402
from training.datasets.depth import Metres  # noqa: E402
from training.losses import mean_where  # noqa: E402
from training.recipes import Augmentation, Recipe  # noqa: E402
from training.samples import open_stream  # noqa: E402
from training.street import random_view  # noqa: E402

STILL = Augmentation(scales=(1.0, 1.0), photometry=0.0, weather=1.0, conditions={"fog": 1.0})
RESTORER = replace(TOY, role="joint", data={"camvid": 1.0}, augmentation=STILL)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return street_pack.drawn_pack(tmp_path_factory.mktemp("street"), count=1)


def first(recipe: Recipe, data: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in open_stream(recipe, data).samples[0].items()}


def test_samples_to_restore_carry_the_clean_picture_and_what_hides_it(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    augmentation = replace(LIGHT, weather=1.0, photometry=0.0, conditions={"drops": 1.0})
    recipe = replace(TOY, role="joint", augmentation=augmentation)
    for number in range(8):
        sample = open_stream(recipe, data).samples[number]
        image, clean, hidden = (sample[key].numpy() for key in ("image", "clean", "occlusion"))
        assert image.shape == clean.shape == (32, 48, 3)
        assert hidden.shape == (32, 48)
        assert not np.array_equal(image, clean)
        assert hidden.max() > 0.3
        assert {"labels", "groups"} <= sample.keys()


def test_sample_without_weather_is_its_own_target(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    augmentation = replace(LIGHT, weather=0.0, photometry=0.0)
    recipe = replace(TOY, role="joint", augmentation=augmentation)
    sample = open_stream(recipe, data).samples[0]
    assert torch.equal(sample["image"], sample["clean"])
    assert float(sample["occlusion"].max()) == 0


def test_sensor_spoils_both_pictures_alike(tmp_path: Path) -> None:
    noisy = replace(LIGHT, photometry=1.0, weather=0.0)
    recipe = replace(RESTORER, augmentation=noisy)
    data = write_data(tmp_path)
    stream = open_stream(recipe, data).samples
    for number in range(12):
        assert torch.equal(stream[number]["image"], stream[number]["clean"])


def test_pair_of_a_data_set_is_restored_to_its_own_clear_view(tmp_path: Path) -> None:
    drops(tmp_path / "raindrop_cityscapes")
    move_split(tmp_path / "raindrop_cityscapes", "train")
    sample = first(replace(RESTORER, data={"raindrop_cityscapes": 1.0}), tmp_path)
    np.testing.assert_allclose(sample["clean"], np.broadcast_to(SUNNY, (32, 48, 3)), atol=25)
    assert np.ptp(sample["image"], axis=2).max() < 20  # the grey one of the pair, without fog
    assert np.isnan(sample["occlusion"]).all()


def test_weather_without_a_clear_view_teaches_no_restorer(tmp_path: Path) -> None:
    acdc(tmp_path / "acdc")
    move_split(tmp_path / "acdc", "train")
    recipe = replace(RESTORER, data={"acdc": 1.0})
    with pytest.raises(DatasetError, match="expected pictures in clear weather"):
        first(recipe, tmp_path)
    labelled = replace(recipe, role="segmentation")
    assert first(labelled, tmp_path)["image"].std() == 0.0  # and no second weather on top of it


def test_street_carries_its_exact_depth(street: Path) -> None:
    depth = open_pack(street, "train").sample(0).depth_m
    assert depth is not None
    seed = np.random.default_rng((street_pack._SEED, 0))
    exact = random_view(seed, street_pack.SIZE).depth_m
    near = exact < 255.9
    np.testing.assert_allclose(depth[near], exact[near], atol=1 / 500)
    assert np.isinf(depth[~near]).all()
    assert 0.1 < near.mean() < 1.0


@pytest.mark.parametrize("role", ["segmentation", "joint"])
def test_weather_is_as_deep_as_the_data_set_says(street: Path, tmp_path: Path, role: str) -> None:
    contrasts = []
    for depth_m in (2.0, 200.0):
        folder = tmp_path / f"{depth_m}" / "kitti_semantic"
        shutil.copytree(street, folder)
        depth = Metres(folder / "depth/train/00000.png")
        depth.write(np.full((360, 480), depth_m, np.float32))
        recipe = replace(RESTORER, role=role, data={"kitti_semantic": 1.0}, crop=(72, 96))
        contrasts.append(_contrast(open_stream(recipe, folder.parent).samples))
    assert contrasts[0] > 1.2 * contrasts[1]


def _contrast(stream: Dataset[dict[str, torch.Tensor]]) -> float:
    return float(np.mean([stream[number]["image"].float().std() for number in range(12)]))


def test_weather_that_a_data_set_shows_is_not_named_clear(tmp_path: Path) -> None:
    acdc(tmp_path / "acdc")
    move_split(tmp_path / "acdc", "train")
    with pytest.raises(DatasetError, match="acdc: expected pictures in clear weather"):
        open_stream(replace(TOY_WEATHER, data={"acdc": 1.0}), tmp_path)


def test_unknown_truth_counts_nothing() -> None:
    errors = torch.tensor([1.0, 5.0, 3.0])
    assert mean_where(torch.tensor([True, False, True]), errors) == 2.0
    assert mean_where(torch.zeros(3, dtype=torch.bool), errors) == 0.0


def test_drops_grow_with_the_part_of_the_picture_that_is_shown(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    shares = []
    for zoom in (1.0, 3.0):
        drops = Augmentation((zoom, zoom), 0.0, 1.0, {"drops": 1.0}, (1.0, 1.0))
        stream = open_stream(replace(RESTORER, augmentation=drops, crop=(96, 128)), data).samples
        hidden = [
            (stream[number]["occlusion"].numpy() > 0.5).astype(np.uint8) for number in range(8)
        ]
        thick = [cv2.erode(mask, np.ones((5, 5))).sum() / mask.sum() for mask in hidden]
        shares.append(np.mean(thick))
    assert shares[1] > 2 * shares[0]
