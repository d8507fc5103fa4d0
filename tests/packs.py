"""Tiny labelled data sets, drawn on the spot in the layout of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID, CLASS_NAMES, palette

CITY_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic_light", "traffic_sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
CITY_TO_OURS = [3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10]
COARSE_CLASSES = ("drivable", "non_drivable", "living", "vehicles", "objects", "far", "sky")
OURS_TO_COARSE = [6, 5, 4, 0, 1, 5, 4, 4, 3, 2, 2]

Labelled = tuple[UInt8Array, UInt8Array]


def road(rng: np.random.Generator, height: int = 48, width: int = 64) -> Labelled:
    """A picture of four flat colours and its labels: sky, building, road and a car somewhere.

    Returns (H, W, 3) uint8 RGB and (H, W) uint8 ids of `labels.CLASSES`.
    """
    labels = np.full((height, width), CLASS_ID["road"], np.uint8)
    labels[: height // 3] = CLASS_ID["sky"]
    labels[height // 3 : height // 2, : width // 2] = CLASS_ID["building"]
    left = int(rng.integers(0, width - width // 4))
    labels[height // 2 : height * 3 // 4, left : left + width // 4] = CLASS_ID["car"]
    noise = rng.integers(-12, 13, (height, width, 1))
    return np.clip(palette()[labels] + noise, 0, 255).astype(np.uint8), labels


def coarse_road(rng: np.random.Generator) -> Labelled:
    """The same with the seven coarse ids."""
    image, labels = road(rng)
    return image, np.array(OURS_TO_COARSE, np.uint8)[labels]


def city_road(rng: np.random.Generator) -> Labelled:
    """The same with the nineteen ids of Cityscapes."""
    image, labels = road(rng)
    back = np.array([CITY_TO_OURS.index(number) for number in range(len(CLASS_NAMES))], np.uint8)
    return image, back[labels]


def write_pack(
    folder: Path,
    splits: Mapping[str, int],
    classes: Mapping[str, Any],
    draw: Callable[[np.random.Generator], Labelled] = road,
) -> Path:
    """Write a pack: so many pairs a split, and its `classes.json`."""
    rng = np.random.default_rng(0)
    (folder / "splits").mkdir(parents=True)
    for split, count in splits.items():
        lines = [
            _write_pair(folder, split, f"{number:04d}", *draw(rng)) for number in range(count)
        ]
        (folder / "splits" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "classes.json").write_text(json.dumps(classes))
    return folder


def _write_pair(folder: Path, split: str, name: str, image: UInt8Array, labels: UInt8Array) -> str:
    picture, ids = f"images/{split}/{name}.png", f"labels/{split}/{name}.png"
    for path in (picture, ids):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / picture), image[:, :, ::-1])
    cv2.imwrite(str(folder / ids), labels)
    return f"{picture} {ids}"


def class_list(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The entries of `classes` in a `classes.json`."""
    return [{"id": number, "name": name} for number, name in enumerate(names)]


def write_camvid(folder: Path, **splits: int) -> Path:
    """A fine pack, labelled in our own classes."""
    return write_pack(folder, splits, {"ignore_index": 255, "classes": class_list(CLASS_NAMES)})


def write_kitti(folder: Path, **splits: int) -> Path:
    """A finer pack: nineteen classes that map to ours."""
    classes = {"classes": class_list(CITY_CLASSES), "city19_to_camvid11": CITY_TO_OURS}
    return write_pack(folder, splits, classes, city_road)


def write_idd(folder: Path, **splits: int) -> Path:
    """A coarse pack: seven classes that ours map to."""
    classes = {"classes": class_list(COARSE_CLASSES), "camvid11_to_idd7": OURS_TO_COARSE}
    return write_pack(folder, splits, classes, coarse_road)
