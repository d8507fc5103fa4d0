"""Depth comes in metres, with its holes; what is missing or does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.frames import Float32Array
from tests.public_sets import CITY, HEIGHT, WIDTH, cityscapes, foggy, picture
from training.datasets import DatasetError, open_dataset
from training.datasets.depth import Metres

BASELINE_M, FOCAL_PX = 0.22, 2000.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Cityscapes with disparity: a hole, 8 px, no disparity at all, 16 px."""
    cityscapes(tmp_path)
    stored = np.resize(np.array([0, 8 * 256 + 1, 1, 16 * 256 + 1], np.uint16), (HEIGHT, WIDTH))
    write(disparity(tmp_path), stored)
    camera(tmp_path).parent.mkdir(parents=True)
    described = {"extrinsic": {"baseline": BASELINE_M}, "intrinsic": {"fx": FOCAL_PX}}
    camera(tmp_path).write_text(json.dumps(described))
    return tmp_path


def disparity(root: Path) -> Path:
    return root / f"disparity/val/lindau/{CITY}_disparity.png"


def camera(root: Path) -> Path:
    return root / f"camera/val/lindau/{CITY}_camera.json"


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


def depth_of(root: Path, name: str = "cityscapes") -> Float32Array:
    depth_m = open_dataset(name, root, "val").sample(0).depth_m
    assert depth_m is not None
    return depth_m


def test_depth_is_baseline_times_focal_length_over_disparity(root: Path) -> None:
    depth_m = depth_of(root)
    assert depth_m.dtype == np.float32
    expected = [np.nan, BASELINE_M * FOCAL_PX / 8, np.nan, BASELINE_M * FOCAL_PX / 16]
    np.testing.assert_allclose(depth_m[0, :4], expected, rtol=1e-6)


def test_usual_camera_is_taken_where_no_calibration_is_unpacked(root: Path) -> None:
    camera(root).unlink()
    for folder in ("camera/val/lindau", "camera/val", "camera"):
        (root / folder).rmdir()
    np.testing.assert_allclose(depth_of(root)[0, 1], 0.2093 * 2262.5 / 8, rtol=1e-6)


def test_depth_is_left_out_where_no_disparity_is_unpacked(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    assert open_dataset("cityscapes", tmp_path, "val").sample(0).depth_m is None


def test_pictures_can_be_had_without_their_depth(root: Path) -> None:
    disparity(root).unlink()
    assert open_dataset("cityscapes", root, "val").load(0)[0].shape == (HEIGHT, WIDTH, 3)


def lose_disparity(root: Path) -> None:
    disparity(root).unlink()


def shrink_disparity(root: Path) -> None:
    write(disparity(root), np.ones((HEIGHT // 2, WIDTH // 2), np.uint16))


def flatten_disparity(root: Path) -> None:
    write(disparity(root), np.ones((HEIGHT, WIDTH), np.uint8))


def break_disparity(root: Path) -> None:
    disparity(root).write_bytes(b"\x89PNG but no more")


def lose_camera(root: Path) -> None:
    camera(root).unlink()


def empty_camera(root: Path) -> None:
    camera(root).write_text("{}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_disparity, ["_disparity.png", "found no file"]),
        (shrink_disparity, ["_disparity.png", "expected the size of", "(16, 24)", "(8, 12)"]),
        (
            flatten_disparity,
            ["_disparity.png", "expected one channel of 16-bit disparity", "uint8"],
        ),
        (break_disparity, ["_disparity.png", "cannot be decoded"]),
        (lose_camera, ["_camera.json", "expected the camera", "found no file", "unpack it"]),
        (empty_camera, ["_camera.json", "extrinsic.baseline", "KeyError", "copy it anew"]),
    ],
)
def test_depth_that_cannot_be_read_is_named(
    root: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(root)
    with pytest.raises(DatasetError) as raised:
        depth_of(root)
    assert [word for word in words if word not in str(raised.value)] == []


def test_transmittance_of_fog_gives_depth_where_there_is_no_disparity(tmp_path: Path) -> None:
    foggy(tmp_path)
    beta, depth_m = 0.02, np.array([20.0, 60.0, 120.0])
    stored = np.round(255 * np.exp(-beta * depth_m)).astype(np.uint8)
    folder = tmp_path / "leftImg8bit_transmittance/val/lindau"
    path = folder / f"{CITY}_leftImg8bit_transmittance_beta_{beta}.png"
    write(path, np.resize(np.append(stored, 0), (HEIGHT, WIDTH)).astype(np.uint8))
    sample = open_dataset("foggy_cityscapes", tmp_path, "val").only(beta="0.02").sample(0)
    assert sample.depth_m is not None
    x, y = 0.5 - WIDTH / 2 + np.arange(3), 0.5 - HEIGHT / 2
    focal = 2262.5 * WIDTH / 2048  # fog is as long as the ray, depth is along the axis
    ray = np.sqrt(1 + (x**2 + y**2) / focal**2)
    np.testing.assert_allclose(sample.depth_m[0, :3] * ray, depth_m, rtol=0.02)
    assert np.isnan(sample.depth_m[0, 3])
    write(path, np.ones((HEIGHT, WIDTH), np.uint16))
    with pytest.raises(DatasetError, match=r"expected one channel of 8-bit transmittance"):
        open_dataset("foggy_cityscapes", tmp_path, "val").only(beta="0.02").sample(0)


def test_foggy_pictures_take_their_depth_from_disparity_where_it_is_there(root: Path) -> None:
    picture(root / f"leftImg8bit_foggy/val/lindau/{CITY}_leftImg8bit_foggy_beta_0.02.png")
    np.testing.assert_array_equal(depth_of(root, "foggy_cityscapes"), depth_of(root))


def test_metres_are_kept_with_holes_and_sky(tmp_path: Path) -> None:
    depth_m = np.array([[1.5, 80.25, np.nan, np.inf, 300.0]], np.float32)
    file = Metres(tmp_path / "depth.png")
    file.write(depth_m)
    np.testing.assert_array_equal(file.read(), [[1.5, 80.25, np.nan, np.inf, np.inf]])
    write(file.path, np.ones((2, 2), np.uint8))
    with pytest.raises(DatasetError, match="expected one channel of 16-bit depth"):
        file.read()
