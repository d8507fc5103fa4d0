"""Class lists are data; what they mean in ours, and what they do not know."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.labels import CLASS_ID, CLASS_NAMES
from tests.packs import CITY_TO_OURS, write_camvid
from tests.public_sets import VISTAS_12, acdc, ade20k, cityscapes, ids, vistas, write_config
from training.datasets import DatasetError, class_list, open_dataset, open_pack
from training.datasets.class_lists import OUR_LIST, ClassList, read_as, vistas_classes

SIZES = {
    "ade20k": 150,
    "camvid12": 11,
    "celebamask_hq": 19,
    "cityscapes19": 19,
    "cityscapes34": 34,
    "coco_stuff": 182,
    "idd26": 26,
    "idd7": 7,
    "voc2012": 21,
}


@pytest.mark.parametrize("name", SIZES)
def test_class_list_is_whole_and_leads_where_it_says(name: str) -> None:
    listed = class_list(name)
    assert len(set(listed.names)) == len(listed.ids) == SIZES[name]
    assert set(listed.meaning) <= set(listed.names)
    assert set(listed.covers) <= set(listed.names)
    if listed.parent is not None:
        assert set(listed.meaning.values()) <= set(class_list(listed.parent).names)
    assert not set(listed.ids) & listed.unlabelled


def test_nineteen_ids_of_cityscapes_mean_the_same_as_in_kitti() -> None:
    names, label_map = read_as(class_list("cityscapes19"), "camvid11")
    assert names == CLASS_NAMES
    assert label_map.is_fine
    assert list(label_map.table[:19]) == CITY_TO_OURS
    assert (label_map.table[19:] == 255).all()


def test_thirty_four_ids_are_read_as_the_nineteen_or_as_ours() -> None:
    raw = class_list("cityscapes34")
    nineteen, _ = read_as(raw, "cityscapes19")
    official = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    table = read_as(raw, "cityscapes19")[1].table
    assert [int(table[number]) for number in official] == list(range(len(nineteen)))
    assert (np.delete(table, official) == 255).all()
    assert list(read_as(raw, "camvid11")[1].table[official]) == CITY_TO_OURS


def test_classes_that_are_not_ours_mean_those_of_ours_that_they_name() -> None:
    names, label_map = read_as(class_list("ade20k"), "own")
    assert label_map.table[1] == names.index("wall") == 0
    assert label_map.table[0] == 255
    road = np.array([[names.index("road"), names.index("bed"), 255]], np.uint8)
    assert list(label_map.likeliest(road)[0]) == [CLASS_ID["road"], 255, 255]
    assert label_map.coarse_of()[CLASS_ID["sky"]] == names.index("sky")
    assert not label_map.is_fine


def test_faces_mean_nothing_of_ours() -> None:
    _, label_map = read_as(class_list("celebamask_hq"), "own")
    assert not label_map.groups.any()
    assert (label_map.coarse_of() == 255).all()


def test_idd_lite_covers_ours_as_the_pack_says() -> None:
    names, label_map = read_as(class_list("idd7"), "own")
    assert names[label_map.coarse_of()[CLASS_ID["fence"]]] == "roadside_objects"
    assert label_map.groups.shape == (11, 11)  # as every other pack for roads: they share a batch
    assert label_map.groups.sum() == len(CLASS_NAMES)


def test_classes_can_be_read_as_another_list_that_they_lead_to(tmp_path: Path) -> None:
    acdc(tmp_path)
    pack = open_dataset("acdc", tmp_path, "val", "cityscapes19")
    assert pack.class_names == class_list("cityscapes19").names
    assert list(pack.load(0)[1][0, :5]) == [0, 2, 10, 13, 255]
    with pytest.raises(DatasetError, match=r"'voc2012': expected one that cityscapes19 leads to"):
        open_dataset("acdc", tmp_path, "val", "voc2012")


def test_unknown_class_list_is_told_which_there_are() -> None:
    with pytest.raises(DatasetError, match=r"'moon': expected one of camvid11, ade20k"):
        class_list("moon")


def test_label_that_the_class_list_does_not_know_is_named_with_its_file(tmp_path: Path) -> None:
    acdc(tmp_path)
    pack = open_dataset("acdc", tmp_path, "val")
    ids(pack.pairs[0].labels, 0, 77, 19, 255)
    with pytest.raises(
        DatasetError, match=r"labelTrainIds\.png: .* acdc's class list, found 19, 77"
    ):
        pack.load(0)
    assert pack.load(1)[1].shape == (16, 24)


def test_label_that_a_pack_of_ours_does_not_list_is_named(tmp_path: Path) -> None:
    pack = open_pack(write_camvid(tmp_path / "camvid", train=1), "train")
    ids(pack.pairs[0].labels, 11, width=64)
    with pytest.raises(DatasetError, match=r"one 8-bit label per pixel"):
        pack.load(0)
    ids(pack.pairs[0].labels, 11, width=64, height=48)
    with pytest.raises(DatasetError, match=r"0000\.png: .* camvid's class list, found 11;"):
        pack.load(0)


def test_id_that_a_data_set_does_not_declare_is_no_way_to_say_unlabelled(tmp_path: Path) -> None:
    ade20k(tmp_path)
    pack = open_dataset("ade20k", tmp_path, "val")
    ids(pack.pairs[0].labels, 1, 255)
    with pytest.raises(DatasetError, match="found 255"):
        pack.load(0)


def test_ignore_index_of_a_pack_is_known(tmp_path: Path) -> None:
    folder = write_camvid(tmp_path / "camvid", train=1)
    described = json.loads((folder / "classes.json").read_text())
    (folder / "classes.json").write_text(json.dumps({**described, "ignore_index": 11}))
    pack = open_pack(folder, "train")
    ids(pack.pairs[0].labels, 3, 11, 255, width=64, height=48)
    assert list(pack.load(0)[1][0, :3]) == [3, 255, 255]


def test_classes_of_vistas_come_from_its_config(tmp_path: Path) -> None:
    vistas(tmp_path)
    pack = open_dataset("mapillary_vistas", tmp_path, "val", "own")
    assert pack.class_names == tuple(VISTAS_12[:4])  # the bench is not scored
    assert list(pack.load(0)[1][0, :5]) == [0, 1, 2, 3, 255]


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("construction--flat--road", "road"),
        ("construction--flat--curb-cut", "pavement"),
        ("construction--flat--parking", None),
        ("marking--discrete--arrow--left", "road"),
        ("object--support--utility-pole", "pole"),
        ("object--traffic-sign--front", "sign_symbol"),
        ("object--traffic-sign--back", None),
        ("human--rider--motorcyclist", "bicyclist"),
        ("void--ego-vehicle", None),
    ],
)
def test_names_of_vistas_are_read_by_their_longest_known_beginning(
    tmp_path: Path, name: str, means: str | None
) -> None:
    write_config(tmp_path / "config.json", [name])
    _, label_map = read_as(vistas_classes(tmp_path / "config.json"), "camvid11")
    assert label_map.table[0] == (255 if means is None else CLASS_ID[means])


def test_missing_config_of_vistas_is_named(tmp_path: Path) -> None:
    vistas(tmp_path)
    (tmp_path / "config_v1.2.json").unlink()
    with pytest.raises(DatasetError, match=r"config_v1\.2\.json: expected .* FileNotFoundError"):
        open_dataset("mapillary_vistas", tmp_path, "val")


def test_labels_in_train_ids_are_preferred_to_raw_ones(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    assert open_dataset("cityscapes", tmp_path, "val", "own").class_names[0] == "unlabelled"
    raw = open_dataset("cityscapes", tmp_path, "val").pairs[0].labels
    ids(raw.with_name(raw.name.replace("labelIds", "labelTrainIds")), 10)
    pack = open_dataset("cityscapes", tmp_path, "val", "own")
    assert pack.class_names[10] == "sky"
    assert (pack.load(0)[1] == 10).all()


def test_our_own_list_is_read_as_it_is() -> None:
    names, label_map = read_as(OUR_LIST, "own")
    assert names == CLASS_NAMES
    assert label_map.is_fine
    assert isinstance(OUR_LIST, ClassList)
