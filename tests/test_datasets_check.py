"""Broken files are skipped only on demand; the check says what a data set holds."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.packs import write_camvid
from tests.public_sets import acdc, ids, picture, voc2012
from training.datasets import (
    BrokenPicture,
    BrokenPictureWarning,
    DatasetError,
    Labelled,
    Pack,
    SkippingPack,
    open_dataset,
    open_pack,
)
from training.datasets.__main__ import main


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return open_pack(write_camvid(tmp_path / "camvid", train=4), "train")


def test_broken_picture_stops_a_pack_and_is_named(pack: Pack) -> None:
    pack.pairs[1].image.write_bytes(b"\x89PNG but no more")
    with pytest.raises(BrokenPicture, match=r"0001\.png: .* cannot be decoded"):
        pack.load(1)


def test_broken_picture_is_passed_over_on_demand_and_named_once(pack: Pack) -> None:
    pack.pairs[1].image.write_bytes(b"\x89PNG but no more")
    pack.pairs[2].labels.unlink()
    skipping: Labelled = SkippingPack(pack)
    with pytest.warns(BrokenPictureWarning) as caught:
        passed = skipping.sample(1)
    assert [str(entry.message).partition(": expected")[0] for entry in caught] == [
        f"skipped: {pack.pairs[1].image}",
        f"skipped: {pack.pairs[2].labels}",
    ]
    np.testing.assert_array_equal(passed.image, pack.load(3)[0])
    np.testing.assert_array_equal(passed.labels, pack.load(3)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(skipping.sample(2).image, passed.image)
        assert np.array_equal(skipping.sample(0).image, pack.load(0)[0])


def test_picture_after_the_last_is_the_first(pack: Pack) -> None:
    pack.pairs[3].image.unlink()
    with pytest.warns(BrokenPictureWarning):
        image = SkippingPack(pack).sample(3).image
    np.testing.assert_array_equal(image, pack.load(0)[0])


def test_wrong_class_list_is_not_passed_over(pack: Pack) -> None:
    ids(pack.pairs[0].labels, 200, width=64, height=48)
    with pytest.raises(DatasetError, match="found 200"):
        SkippingPack(pack).sample(0)


def test_pack_with_nothing_whole_in_it_stops(pack: Pack) -> None:
    for pair in pack.pairs:
        pair.image.unlink()
    with pytest.warns(BrokenPictureWarning), pytest.raises(DatasetError, match="4 broken ones"):
        SkippingPack(pack).sample(0)


def test_check_says_what_a_data_set_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acdc(tmp_path)
    sheet = tmp_path / "sheet.png"
    assert main(["check", "acdc", str(tmp_path), "--split", "val", "--show", str(sheet)]) == 0
    said = capsys.readouterr().out
    for words in (
        "Sakaridis et al. 2021",
        "4 pictures, 11 classes",
        "road         20.83 %",
        "unlabelled   16.67 %",
        "weather: fog 1, night 1, rain 1, snow 1",
        "carries: reference picture 4",
        "broken: 0",
    ):
        assert words in said
    assert cv2.imread(str(sheet)).shape == (400, 1280, 3)


def test_check_names_the_first_broken_file_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acdc(tmp_path)
    pairs = open_dataset("acdc", tmp_path, "val").pairs
    pairs[1].image.write_bytes(b"")
    pairs[2].labels.unlink()
    assert main(["check", "acdc", str(tmp_path), "--split", "val"]) == 1
    said = capsys.readouterr().out
    assert "broken: 2" in said
    assert f"first: {pairs[1].image}" in said


def test_check_looks_at_what_was_asked_for_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acdc(tmp_path)
    arguments = ["check", "acdc", str(tmp_path), "--split", "val", "--classes", "own"]
    assert main([*arguments, "--only", "condition=fog"]) == 0
    said = capsys.readouterr().out
    assert "1 pictures, 19 classes" in said
    assert main([*arguments, "--only", "condition=hail"]) == 1
    assert "DatasetError: acdc: expected pictures with" in capsys.readouterr().err


def test_check_of_a_wrong_folder_says_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "cityscapes", str(tmp_path)]) == 1
    assert "expected the root of cityscapes, with pictures as" in capsys.readouterr().err


def test_sheet_shows_classes_that_are_not_ours(tmp_path: Path) -> None:
    voc2012(tmp_path)
    sheet = tmp_path / "sheet.png"
    arguments = ["check", "voc2012", str(tmp_path), "--split", "val", "--show", str(sheet)]
    assert main(arguments) == 0
    shown = cv2.imread(str(sheet))
    above, below = shown[:200, :320], shown[200:, :320]
    assert np.ptp(above.reshape(-1, 3), axis=0).max() < 5  # the picture is one grey
    assert len(np.unique(below[100, ::13].reshape(-1, 3), axis=0)) > 3  # the stripes of the ids


def test_masks_of_faces_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "CelebA-HQ-img/2001.jpg")
    masks = tmp_path / "CelebAMask-HQ-mask-anno/1"
    masks.mkdir(parents=True)
    for part, last in (("hair", 100), ("skin", 300)):
        mask = np.zeros((512, 512, 3), np.uint8)
        mask[:, :last] = 255
        cv2.imwrite(str(masks / f"02001_{part}.png"), mask)
    with pytest.raises(DatasetError, match=r"merge-faces"):
        open_dataset("celebamask_hq", tmp_path, "train")
    assert main(["merge-faces", str(tmp_path)]) == 0
    assert "1 label maps written" in capsys.readouterr().out
    pack = open_dataset("celebamask_hq", tmp_path, "train")
    labels = cv2.imread(str(pack.pairs[0].labels), cv2.IMREAD_UNCHANGED)
    names = [pack.class_names[labels[0, column]] for column in (50, 200, 400)]
    assert names == ["hair", "skin", "background"]
    assert main(["merge-faces", str(tmp_path / "mask")]) == 1
    assert "expected CelebA-HQ-img" in capsys.readouterr().err
