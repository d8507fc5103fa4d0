"""Every public data set by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from training.datasets import adverse, cityscapes, scenes
from training.datasets.layouts import open_layout
from training.datasets.nights import NIGHTS
from training.datasets.packs import Pack
from training.datasets.pictures import DatasetError


class Loader(Protocol):
    """Opens one split of one data set. Raises `DatasetError`."""

    def __call__(self, folder: Path, split: str, classes: str | None = None) -> Pack: ...


_WHOLE: Mapping[str, Loader] = {
    **{
        name: partial(open_layout, name, layouts)
        for name, layouts in {
            "acdc": [adverse.ACDC],
            "ade20k": [scenes.ADE20K],
            "cityscapes": [cityscapes.CITYSCAPES],
            "coco_stuff": scenes.COCO_STUFF,
            "dark_zurich": [adverse.DARK_ZURICH],
            "idd": [scenes.IDD],
            "mapillary_vistas": [scenes.VISTAS],
            "nighttime_driving": [adverse.NIGHTTIME_DRIVING],
            "rain_cityscapes": [cityscapes.RAIN],
            "raindrop_cityscapes": [cityscapes.DROPS, cityscapes.DROPS_PLAIN],
            "undd": [adverse.UNDD],
            "voc2012": [scenes.VOC2012],
        }.items()
    },
    "bdd100k": adverse.open_bdd100k,
    "camvid": scenes.open_camvid,
    "celebamask_hq": scenes.open_celebamask_hq,
    "foggy_cityscapes": cityscapes.open_foggy,
    "idd_lite": scenes.open_idd_lite,
    "kitti_semantic": scenes.open_ours,
    "street": scenes.open_ours,
}


def _open_night(name: str, folder: Path, split: str, classes: str | None = None) -> Pack:
    whole, night = NIGHTS[name]
    return replace(night(_WHOLE[whole](folder, split, classes)), name=name)


LOADERS: Mapping[str, Loader] = {
    **_WHOLE,
    **{name: partial(_open_night, name) for name in NIGHTS},
}


def folder_of(name: str) -> str:
    """What the folder of a data set is called, beside the others: a night's is all of it."""
    return NIGHTS[name][0] if name in NIGHTS else name


def open_dataset(name: str, folder: Path, split: str, classes: str | None = None) -> Pack:
    """One split of a data set as its authors hand it out.

    Args:
        name: one of `LOADERS`.
        folder: the root of the data set.
        split: train, val or test, whatever the data set calls it.
        classes: class list to read the labels as: `camvid11` (ours), `cityscapes19`, or `own` for
            the data set's; by default ours for roads, its own for everything else.

    Raises:
        DatasetError: there is no such data set, or the folder is laid out otherwise.
    """
    if name not in LOADERS:
        raise DatasetError(
            f"data set {name!r}: expected one of {', '.join(sorted(LOADERS))}; name one of these"
        )
    return LOADERS[name](Path(folder), split, classes)
