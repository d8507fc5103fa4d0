"""Nights are opened by a name of their own; where no one has tagged them, the dark ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adverse_perception.frames import UInt8Array
from tests.public_sets import picture, vistas, vistas_by_night
from training.datasets import (
    BrokenPicture,
    BrokenPictureWarning,
    DatasetError,
    SkippingPack,
    folder_of,
    open_dataset,
)
from training.datasets.__main__ import main
from training.datasets.nights import is_night


def grey(sky: int, below: int) -> UInt8Array:
    """(H, W) uint8: the upper third, and what is below it."""
    values = np.full((46, 60), below, np.uint8)
    values[:16] = sky
    return values


@pytest.mark.parametrize(
    ("sky", "below", "night"),
    [
        (4, 12, True),  # unlit
        (25, 70, True),  # under lamps
        (110, 30, False),  # dusk, and days that are underexposed
        (40, 120, False),  # a day under trees
        (150, 110, False),
    ],
)
def test_night_is_dark_and_has_a_dark_sky(sky: int, below: int, night: bool) -> None:
    assert is_night(grey(sky, below)) == night


def test_lamps_do_not_make_a_day() -> None:
    values = grey(10, 25)
    values[12:18, ::10] = 255
    assert is_night(values)


def test_single_row_is_judged_as_well() -> None:
    assert is_night(np.full((1, 5), 10, np.uint8))


def test_no_picture_is_read_as_long_as_nobody_asks_for_nights(tmp_path: Path) -> None:
    vistas(tmp_path)
    (tmp_path / "validation/images/a.jpg").write_bytes(b"")
    pairs = open_dataset("mapillary_vistas", tmp_path, "val").pairs
    assert [pair.condition for pair in pairs] == [None]


def test_data_set_without_a_night_is_told_so(tmp_path: Path) -> None:
    vistas(tmp_path)
    with pytest.raises(DatasetError, match=r"expected pictures with .*'night'.*, found none"):
        open_dataset("vistas_night", tmp_path, "val")


def test_picture_that_cannot_be_read_is_named_or_passed_over(tmp_path: Path) -> None:
    vistas_by_night(tmp_path)
    (tmp_path / "validation/images/a.jpg").write_bytes(b"")
    pack = open_dataset("vistas_night", tmp_path, "val")
    with pytest.raises(BrokenPicture, match=r"a\.jpg"):
        pack.sample(0)
    with pytest.warns(BrokenPictureWarning, match=r"a\.jpg"):
        assert SkippingPack(pack).sample(0).image.mean() < 20


def test_folder_of_a_night_is_that_of_all_of_it() -> None:
    names = ("acdc_night", "bdd100k_night", "vistas_night", "undd")
    assert [folder_of(name) for name in names] == ["acdc", "bdd100k", "mapillary_vistas", "undd"]


def test_nights_are_learnt_from_beside_the_recipes_data(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tests.toys import TOY
    from training.sources import open_packs

    root = tmp_path / "mapillary_vistas"
    vistas_by_night(root)
    (root / "validation").rename(root / "training")
    picture(root / "training/images/c.jpg", (200, 200, 200))
    pack = open_packs(TOY, ["vistas_night"], tmp_path)["vistas_night"]
    assert [pair.image.name for pair in pack.pairs] == ["b.jpg"]


def test_check_looks_over_a_night(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vistas_by_night(tmp_path)
    assert main(["check", "vistas_night", str(tmp_path), "--split", "val"]) == 0
    said = capsys.readouterr().out
    for words in ("Neuhold et al. 2017", "1 pictures, 11 classes", "weather: night 1"):
        assert words in said
