"""Labelled frames from folders, each with its own classes, all told in terms of `labels.CLASSES`.

`open_pack` opens a folder in our own layout, `open_dataset` a public data set as its authors hand
it out; both give a `Pack`. `docs/datasets.md` lists what is known.
"""

from __future__ import annotations

from training.datasets.class_lists import ClassList, class_list, read_classes
from training.datasets.label_maps import LabelMap
from training.datasets.loaders import LOADERS, folder_of, open_dataset
from training.datasets.packs import (
    DATA_VARIABLE,
    BrokenPictureWarning,
    Labelled,
    Pack,
    Pair,
    Sample,
    SkippingPack,
    data_folder,
    open_pack,
    open_pictures,
)
from training.datasets.pictures import BrokenPicture, DatasetError, read_image
from training.datasets.terms import TERMS

__all__ = [
    "DATA_VARIABLE",
    "LOADERS",
    "TERMS",
    "BrokenPicture",
    "BrokenPictureWarning",
    "ClassList",
    "DatasetError",
    "LabelMap",
    "Labelled",
    "Pack",
    "Pair",
    "Sample",
    "SkippingPack",
    "class_list",
    "data_folder",
    "folder_of",
    "open_dataset",
    "open_pack",
    "open_pictures",
    "read_classes",
    "read_image",
]
