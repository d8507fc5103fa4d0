"""Data sets of different detail read alike; one that is laid out wrongly is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.labels import CLASS_ID, CLASS_NAMES
from tests.packs import (
    COARSE_CLASSES,
    OURS_TO_COARSE,
    city_road,
    coarse_road,
    road,
    write_camvid,
    write_idd,
    write_kitti,
)
from training.datasets import (
    DATA_VARIABLE,
    TERMS,
    DatasetError,
    Pack,
    data_folder,
    open_pack,
    open_pictures,
)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    return write_camvid(tmp_path / "camvid", train=2, val=1)


def test_fine_pack_gives_pictures_and_labels_as_they_are(camvid: Path) -> None:
    image, labels = road(np.random.default_rng(0))
    pack = open_pack(camvid, "train")
    assert (pack.name, len(pack.pairs), pack.class_names) == ("camvid", 2, CLASS_NAMES)
    assert pack.label_map.is_fine
    found_image, found_labels = pack.load(0)
    np.testing.assert_array_equal(found_image, image)
    np.testing.assert_array_equal(found_labels, labels)


def test_split_may_be_named_from_within_the_pack(
    camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(camvid)
    assert open_pack(Path(), "val").name == "camvid"


def test_finer_classes_are_mapped_to_ours(tmp_path: Path) -> None:
    pack = open_pack(write_kitti(tmp_path / "kitti", train=1), "train")
    ids = city_road(np.random.default_rng(0))[1]
    assert pack.class_names == CLASS_NAMES
    assert pack.label_map.is_fine
    np.testing.assert_array_equal(pack.load(0)[1], road(np.random.default_rng(0))[1])
    assert ids.max() > 10  # what is on disk is not ours
    names = ("wall", "terrain", "truck", "motorcycle", "rider")
    numbers = np.array([3, 9, 14, 17, 12])
    ours = [CLASS_NAMES[number] for number in pack.label_map.table[numbers]]
    expected = ["building", "tree", "car", "bicyclist", "bicyclist"]
    assert dict(zip(names, ours, strict=True)) == dict(zip(names, expected, strict=True))
    assert (pack.label_map.table[19:] == 255).all()


def test_coarse_class_is_the_group_of_its_fine_ones(tmp_path: Path) -> None:
    pack = open_pack(write_idd(tmp_path / "idd", train=1), "train")
    groups = pack.label_map.groups
    assert pack.class_names == COARSE_CLASSES
    assert not pack.label_map.is_fine
    np.testing.assert_array_equal(pack.load(0)[1], coarse_road(np.random.default_rng(0))[1])
    assert groups.sum() == len(CLASS_NAMES)  # every class of ours is in one group
    assert [int(groups[:, fine].argmax()) for fine in range(11)] == OURS_TO_COARSE
    assert groups[:, CLASS_ID["tree"]].argmax() == groups[:, CLASS_ID["building"]].argmax()
    assert list(pack.label_map.coarse_of()[:11]) == OURS_TO_COARSE
    assert pack.label_map.coarse_of()[255] == 255


def test_likeliest_class_of_a_coarse_label_is_one_of_its_group(tmp_path: Path) -> None:
    label_map = open_pack(write_idd(tmp_path / "idd", train=1), "train").label_map
    coarse = np.array([[0, 1, 2, 3, 4, 5, 6, 255]], np.uint8)
    likeliest = label_map.likeliest(coarse)
    np.testing.assert_array_equal(label_map.coarse_of()[likeliest], coarse)


def test_class_that_no_coarse_one_covers_is_not_scored_as_another(tmp_path: Path) -> None:
    folder = write_idd(tmp_path / "idd", train=1)
    described = json.loads((folder / "classes.json").read_text())
    described["camvid11_to_idd7"][CLASS_ID["fence"]] = 255
    (folder / "classes.json").write_text(json.dumps(described))
    label_map = open_pack(folder, "train").label_map
    assert label_map.coarse_of()[CLASS_ID["fence"]] == 255


def break_split(folder: Path) -> None:
    (folder / "splits" / "train.txt").write_text("images/train/0000.png\n")


def empty_split(folder: Path) -> None:
    (folder / "splits" / "train.txt").write_text("\n")


def remove_split(folder: Path) -> None:
    (folder / "splits" / "train.txt").unlink()


def remove_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def break_classes(folder: Path) -> None:
    (folder / "classes.json").write_text('{"classes": ')


def name_other_classes(folder: Path) -> None:
    (folder / "classes.json").write_text('{"classes": [{"id": 0, "name": "moon"}]}')


def remove_classes(folder: Path) -> None:
    (folder / "classes.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_split, ["train.txt", "expected 'image label'", "found 'images/train/0000.png'"]),
        (empty_split, ["train.txt", "expected", "found none", "fill it"]),
        (remove_split, ["train.txt", "expected a split", "splits here: val"]),
        (remove_folder, ["camvid", "expected a data set", "found no folder", "leave it out"]),
        (break_classes, ["classes.json", "expected JSON", "JSONDecodeError", "write it as"]),
        (name_other_classes, ["classes.json", "expected the classes sky", "found classes moon"]),
        (remove_classes, ["classes.json", "expected", "found none", "write one"]),
    ],
)
def test_wrong_layout_is_named(
    camvid: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(camvid)
    with pytest.raises(DatasetError) as raised:
        open_pack(camvid, "train")
    assert [word for word in words if word not in str(raised.value)] == []


def scramble_picture(folder: Path) -> None:
    (folder / "images/train/0000.png").write_bytes(b"\x89PNG but no more")


def remove_picture(folder: Path) -> None:
    (folder / "images/train/0000.png").unlink()


def shrink_labels(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels/train/0000.png"), np.zeros((24, 32), np.uint8))


def colour_labels(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels/train/0000.png"), np.zeros((48, 64, 3), np.uint8))


def widen_labels(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels/train/0000.png"), np.full((48, 64), 300, np.uint16))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (scramble_picture, ["0000.png", "expected a picture", "cannot be decoded", "copy"]),
        (remove_picture, ["0000.png", "expected a picture", "found no file", "copy it"]),
        (shrink_labels, ["0000.png", "one 8-bit label per pixel", "(48, 64)", "(24, 32)"]),
        (colour_labels, ["one 8-bit label per pixel", "(48, 64, 3)"]),
        (widen_labels, ["one 8-bit label per pixel", "uint16"]),
    ],
)
def test_pair_that_does_not_fit_is_named(
    camvid: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(camvid)
    pack = open_pack(camvid, "train")
    with pytest.raises(DatasetError) as raised:
        pack.load(0)
    assert [word for word in words if word not in str(raised.value)] == []


def test_pictures_without_labels_are_listed_one_a_line(camvid: Path) -> None:
    (camvid / "splits" / "fog.txt").write_text("images/train/0001.png\nimages/train/0000.png\n")
    pictures = open_pictures(camvid, "fog")
    assert [path.name for path in pictures] == ["0001.png", "0000.png"]
    with pytest.raises(DatasetError, match=r"rain\.txt: expected .* splits here: fog, train, val"):
        open_pictures(camvid, "rain")


def test_data_folder_is_the_given_one_else_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, by_environment = tmp_path / "given", tmp_path / "environment"
    given.mkdir()
    by_environment.mkdir()
    monkeypatch.setenv(DATA_VARIABLE, str(by_environment))
    assert data_folder(given) == given
    assert data_folder() == by_environment


def test_data_folder_is_beside_the_checkout_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.datasets.packs._BESIDE", tmp_path)
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert data_folder() == tmp_path
    monkeypatch.delenv(DATA_VARIABLE)
    assert data_folder() == tmp_path


def test_missing_data_folder_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match=rf"nowhere: expected .* --data or set {DATA_VARIABLE}"):
        data_folder()


def real(name: str, split: str) -> Pack:
    """A pack of the real data; the test is skipped where there is none."""
    try:
        return open_pack(data_folder() / name, split)
    except DatasetError as error:
        pytest.skip(f"needs the real data: {error}")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "split", "count", "fine"),
    [
        ("camvid", "train", 367, True),
        ("camvid", "val", 101, True),
        ("camvid", "test", 233, True),
        ("idd_lite", "train", 1403, False),
        ("kitti_semantic", "train", 166, True),
    ],
)
def test_real_pack_opens_whole(name: str, split: str, count: int, fine: bool) -> None:
    pack = real(name, split)
    assert len(pack.pairs) == count
    assert pack.label_map.is_fine is fine
    assert all(pair.image.is_file() and pair.labels.is_file() for pair in pack.pairs)
    _, labels = pack.load(count // 2)
    assert set(np.unique(labels)) <= {*range(len(pack.class_names)), 255}
    assert name in TERMS
