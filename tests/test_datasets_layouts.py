"""Every public data set is opened from a tiny copy of its true folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID, CLASS_NAMES
from tests.packs import write_camvid
from tests.public_sets import (
    CASES,
    CITY,
    HEIGHT,
    SUNNY,
    WIDTH,
    Case,
    acdc,
    bdd100k,
    camvid_tutorial,
    celebamask_hq,
    cityscapes,
    foggy,
    idd,
    ids,
    picture,
    rain,
)
from training.datasets import (
    LOADERS,
    TERMS,
    DatasetError,
    Pack,
    folder_of,
    open_dataset,
    read_image,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.write.__name__)
def test_data_set_opens_as_its_authors_lay_it_out(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    pack = open_dataset(case.name, tmp_path, "val")
    assert pack.name == case.name
    assert len(pack.pairs) == case.count
    assert {pair.condition for pair in pack.pairs} == case.conditions
    assert len(pack.class_names) == case.classes
    image, labels = pack.load(0)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert labels.shape == (HEIGHT, WIDTH)
    assert named(pack, labels)[: len(case.means)] == case.means


def named(pack: Pack, labels: UInt8Array) -> list[str | None]:
    names = dict(enumerate(pack.class_names))
    return [names.get(int(value)) for value in labels[0]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.write.__name__)
def test_empty_folder_is_told_what_was_expected(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected the root of .* as .*/.*found none"):
        open_dataset(case.name, tmp_path, "val")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.write.__name__)
def test_pictures_without_labels_are_told_where_labels_were_expected(
    case: Case, tmp_path: Path
) -> None:
    case.write(tmp_path)
    for pair in open_dataset(folder_of(case.name), tmp_path, "val").pairs:
        for labels in pair.labels.parent.iterdir():
            labels.unlink()
    with pytest.raises(DatasetError, match=r"expected labels of .* as .*; found none .*holds"):
        open_dataset(case.name, tmp_path, "val")


def test_every_loader_is_tested_and_has_terms() -> None:
    assert set(LOADERS) <= set(TERMS)
    assert set(LOADERS) - {case.name for case in CASES} == {"kitti_semantic", "street"}


def test_split_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    with pytest.raises(DatasetError, match=r"leftImg8bit/train/.*leftImg8bit holds val\)"):
        open_dataset("cityscapes", tmp_path, "train")


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: expected .*, nor that folder"):
        open_dataset("acdc", tmp_path / "nowhere", "val")


def test_unknown_data_set_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'kitty': expected one of acdc, .*voc2012"):
        open_dataset("kitty", tmp_path, "val")


def test_foggy_picture_has_its_clear_counterpart_and_density(tmp_path: Path) -> None:
    foggy(tmp_path)
    pack = open_dataset("foggy_cityscapes", tmp_path, "val").only(beta="0.02")
    sample = pack.sample(0)
    assert sample.clear is not None
    assert tuple(sample.clear[0, 0]) == SUNNY
    assert tuple(sample.image[0, 0]) != SUNNY
    assert [pair.tags["beta"] for pair in pack.pairs] == ["0.02"]


def test_clear_counterpart_is_left_out_where_the_clear_pictures_are_not_unpacked(
    tmp_path: Path,
) -> None:
    foggy(tmp_path)
    (tmp_path / "leftImg8bit").rename(tmp_path / "elsewhere")
    assert open_dataset("foggy_cityscapes", tmp_path, "val").sample(0).clear is None


def test_refined_pictures_of_foggy_cityscapes_can_be_asked_for(tmp_path: Path) -> None:
    foggy(tmp_path)
    other = "lindau_000001_000019"
    picture(tmp_path / f"leftImg8bit_foggy/val/lindau/{other}_leftImg8bit_foggy_beta_0.02.png")
    listing = tmp_path / "foggy_trainval_refined_filenames.txt"
    listing.write_text(f"val/lindau/{CITY}\n")
    pack = open_dataset("foggy_cityscapes", tmp_path, "val").only(beta="0.02", refined="yes")
    assert [pair.tags["name"] for pair in pack.pairs] == [CITY]


def test_tags_that_no_picture_has_are_answered_with_those_there_are(tmp_path: Path) -> None:
    foggy(tmp_path)
    with pytest.raises(DatasetError, match=r"found none; there are .*'0\.005', '0\.01', '0\.02'"):
        open_dataset("foggy_cityscapes", tmp_path, "val").only(beta="0.5")


def test_rain_picture_has_the_state_it_was_drawn_with(tmp_path: Path) -> None:
    rain(tmp_path)
    pair = open_dataset("rain_cityscapes", tmp_path, "val").pairs[1]
    assert {name: pair.tags[name] for name in ("alpha", "beta", "dropsize", "pattern")} == {
        "alpha": "0.01", "beta": "0.005", "dropsize": "0.01", "pattern": "2",
    }  # fmt: skip
    assert pair.clear is not None
    assert tuple(read_image(pair.clear)[0, 0]) == SUNNY


def test_margins_of_raindrop_cityscapes_are_cut_off(tmp_path: Path) -> None:
    for part, colour in (("rain", (9, 9, 9)), ("clean", SUNNY)):
        picture(tmp_path / f"{part}/train/a.png", colour, width=2048)
    ids(tmp_path / "label/train/a.png", *[0] * 64, *[10] * 1920, *[0] * 64, width=2048)
    sample = open_dataset("raindrop_cityscapes", tmp_path, "train").sample(0)
    assert sample.image.shape == (HEIGHT, 1920, 3)
    assert sample.clear is not None
    assert sample.clear.shape == (HEIGHT, 1920, 3)
    assert (sample.labels == CLASS_ID["sky"]).all()


def test_reference_of_acdc_shows_the_same_frame(tmp_path: Path) -> None:
    acdc(tmp_path)
    pair = open_dataset("acdc", tmp_path, "val").only(condition="snow").pairs[0]
    assert pair.reference is not None
    assert pair.reference.name == "GOPR0475_frame_snow_rgb_ref_anon.png"
    assert tuple(read_image(pair.reference)[0, 0]) == SUNNY
    assert pair.clear is None  # it does not match pixel by pixel


@pytest.mark.parametrize(
    ("name", "condition"),
    [("wet", "rain"), ("dark", "night"), ("day", "clear"), ("dusk", None), ("unknown", None)],
)
def test_weather_of_bdd100k_comes_from_its_tags(
    tmp_path: Path, name: str, condition: str | None
) -> None:
    bdd100k(tmp_path)
    pairs = {pair.image.stem: pair for pair in open_dataset("bdd100k", tmp_path, "val").pairs}
    assert pairs[name].condition == condition


def test_tags_of_bdd100k_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    bdd100k(tmp_path)
    (tmp_path / "labels/det_20/det_val.json").write_text('[{"attributes": {}}]')
    with pytest.raises(DatasetError, match=r"det_val\.json: expected a JSON list .* KeyError"):
        open_dataset("bdd100k", tmp_path, "val")


def test_neighbours_are_the_frames_of_the_same_snippet(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    for city, number in (("lindau_000000", 0), ("lindau_000000", 18), ("lindau_000000", 30)):
        picture(tmp_path / f"leftImg8bit_sequence/val/lindau/{city}_{number:06d}_leftImg8bit.png")
    picture(tmp_path / f"leftImg8bit_sequence/val/lindau/{CITY}_leftImg8bit.png")
    picture(tmp_path / "leftImg8bit_sequence/val/lindau/lindau_000001_000018_leftImg8bit.png")
    neighbours = open_dataset("cityscapes", tmp_path, "val").pairs[0].neighbours
    assert {distance: path.name for distance, path in neighbours.items()} == {
        -19: "lindau_000000_000000_leftImg8bit.png",
        -1: "lindau_000000_000018_leftImg8bit.png",
    }


def test_listing_chooses_the_pictures_of_a_split(tmp_path: Path) -> None:
    camvid_tutorial(tmp_path)
    pairs = open_dataset("camvid", tmp_path, "val").pairs
    assert [pair.image.name for pair in pairs] == ["0001TP_006690.png"]


def test_frames_of_camvids_videos_are_found_by_their_number(tmp_path: Path) -> None:
    camvid_tutorial(tmp_path)
    for name in ("0001TP_006688", "0001TP_006691", "0006R0_006689"):
        picture(tmp_path / f"video/{name}.png")
    neighbours = open_dataset("camvid", tmp_path, "val").pairs[0].neighbours
    assert {distance: path.stem for distance, path in neighbours.items()} == {
        -2: "0001TP_006688",
        1: "0001TP_006691",
    }


def test_both_parts_of_idd_are_opened_from_one_folder(tmp_path: Path) -> None:
    idd(tmp_path)
    picture(tmp_path / "leftImg8bit/val/500/frame1_leftImg8bit.jpg")
    ids(tmp_path / "gtFine/val/500/frame1_gtFine_labellevel3Ids.png", 25)
    pack = open_dataset("idd", tmp_path, "val")
    assert [pair.image.suffix for pair in pack.pairs] == [".png", ".jpg"]
    assert (pack.load(1)[1] == CLASS_ID["sky"]).all()


def test_faces_are_split_by_their_number(tmp_path: Path) -> None:
    celebamask_hq(tmp_path)
    numbers = {
        split: [int(p.image.stem) for p in open_dataset("celebamask_hq", tmp_path, split).pairs]
        for split in ("train", "val")
    }
    assert numbers == {"train": [9, 27999], "val": [28000, 100000]}
    with pytest.raises(DatasetError, match=r"split 'test', found none; splits are train"):
        open_dataset("celebamask_hq", tmp_path, "test")


@pytest.mark.parametrize("name", ["camvid", "idd_lite"])
def test_layout_of_ours_is_opened_by_the_same_name(tmp_path: Path, name: str) -> None:
    pack = open_dataset(name, write_camvid(tmp_path / "pack", val=1), "val")
    assert (pack.name, pack.class_names) == (name, CLASS_NAMES)
    with pytest.raises(DatasetError, match=r"found 'own'; leave them out"):
        open_dataset(name, tmp_path / "pack", "val", "own")
