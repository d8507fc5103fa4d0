"""Tiny copies of public data sets, drawn on the spot in their true folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from adverse_perception.frames import UInt8Array

HEIGHT, WIDTH = 16, 24
CITY = "lindau_000000_000019"
SUNNY = (200, 150, 100)


def picture(path: Path, colour: tuple[int, int, int] = (90, 90, 90), width: int = WIDTH) -> None:
    """A flat picture of that RGB colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, width, 3), colour[::-1], np.uint8))


def ids(path: Path, *values: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    """A label image whose columns hold these ids in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), stripes(values, width, height))


def stripes(values: tuple[int, ...], width: int = WIDTH, height: int = HEIGHT) -> UInt8Array:
    """(H, W) uint8."""
    return np.tile(np.resize(np.array(values, np.uint8), width), (height, 1))


def painted_ids(path: Path, *values: int) -> None:
    """The same as a PNG with a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(stripes(values))
    image.putpalette([(7 * n) % 256 for n in range(768)])
    image.save(path)


def move_split(root: Path, name: str) -> None:
    """Call the split of a drawn copy, `val`, by another name."""
    for split in sorted(root.rglob("val")):
        split.rename(split.with_name(name))


def cityscapes(root: Path) -> None:
    picture(root / f"leftImg8bit/val/lindau/{CITY}_leftImg8bit.png", SUNNY)
    ids(root / f"gtFine/val/lindau/{CITY}_gtFine_labelIds.png", 7, 11, 23, 26, 0)


def cityscapes_train_ids(root: Path) -> None:
    cityscapes(root)
    ids(root / f"gtFine/val/lindau/{CITY}_gtFine_labelTrainIds.png", 0, 2, 10, 13, 255)


def foggy(root: Path) -> None:
    cityscapes(root)
    for beta in ("0.005", "0.01", "0.02"):
        picture(root / f"leftImg8bit_foggy/val/lindau/{CITY}_leftImg8bit_foggy_beta_{beta}.png")


def rain(root: Path) -> None:
    cityscapes(root)
    for number in (1, 2):
        drawn = f"alpha_0.01_beta_0.005_dropsize_0.01_pattern_{number}"
        picture(root / f"leftImg8bit_rain/val/lindau/{CITY}_leftImg8bit_rain_{drawn}.png")


def drops(root: Path) -> None:
    picture(root / f"rain/val/{CITY}.png")
    picture(root / f"clean/val/{CITY}.png", SUNNY)
    ids(root / f"label/val/{CITY}.png", 0, 2, 10, 13, 255)


def drops_named_as_in_cityscapes(root: Path) -> None:
    picture(root / f"rain/val/{CITY}_leftImg8bit.png")
    picture(root / f"clean/val/{CITY}_leftImg8bit.png", SUNNY)
    ids(root / f"label/val/{CITY}_gtFine_labelIds.png", 7, 11, 23, 26, 0)


def camvid_tutorial(root: Path) -> None:
    for name in ("0001TP_006690", "0001TP_000001"):
        picture(root / f"val/{name}.png")
        ids(root / f"valannot/{name}.png", 3, 1, 0, 8, 11)
    lines = [
        f"/SegNet/CamVid/val/{n}.png /SegNet/CamVid/valannot/{n}.png" for n in ("0001TP_006690",)
    ]
    (root / "val.txt").write_text("\n".join(lines) + "\n")


def acdc(root: Path) -> None:
    for weather in ("fog", "night", "rain", "snow"):
        drive, name = "GOPR0475", f"GOPR0475_frame_{weather}"
        picture(root / f"rgb_anon/{weather}/val/{drive}/{name}_rgb_anon.png")
        picture(root / f"rgb_anon/{weather}/val_ref/{drive}/{name}_rgb_ref_anon.png", SUNNY)
        ids(root / f"gt/{weather}/val/{drive}/{name}_gt_labelTrainIds.png", 0, 2, 10, 13, 255)


def bdd100k(root: Path) -> None:
    tags = {
        "wet": {"weather": "rainy", "timeofday": "night"},
        "dark": {"weather": "clear", "timeofday": "night"},
        "day": {"weather": "overcast", "timeofday": "daytime"},
        "dusk": {"weather": "clear", "timeofday": "dawn/dusk"},
    }
    for name in (*tags, "unknown"):
        picture(root / f"images/10k/val/{name}.jpg")
        ids(root / f"labels/sem_seg/masks/val/{name}.png", 0, 2, 10, 13, 255)
    entries = [{"name": f"{name}.jpg", "attributes": has} for name, has in tags.items()]
    (root / "labels/det_20").mkdir()
    (root / "labels/det_20/det_val.json").write_text(json.dumps(entries))


def bdd100k_of_old(root: Path) -> None:
    picture(root / "seg/images/val/a.jpg")
    ids(root / "seg/labels/val/a_train_id.png", 0, 2, 10, 13, 255)


VISTAS_12 = [
    *("construction--flat--road", "construction--structure--building", "nature--sky"),
    *("object--vehicle--car", "object--bench"),
]
VISTAS_20 = [*VISTAS_12, "marking--discrete--crosswalk-zebra", "object--traffic-light--cyclists"]


def vistas(root: Path) -> None:
    picture(root / "validation/images/a.jpg")
    painted_ids(root / "validation/v1.2/labels/a.png", 0, 1, 2, 3, 4)
    write_config(root / "config_v1.2.json", VISTAS_12)


def vistas_2(root: Path) -> None:
    picture(root / "validation/images/a.jpg")
    painted_ids(root / "validation/v2.0/labels/a.png", 5, 1, 2, 3, 4)
    write_config(root / "config_v2.0.json", VISTAS_20)


def vistas_by_night(root: Path) -> None:
    vistas(root)
    picture(root / "validation/images/b.jpg", (12, 14, 25))
    painted_ids(root / "validation/v1.2/labels/b.png", 0, 1, 2, 3, 4)


def write_config(path: Path, names: list[str]) -> None:
    entries = [{"name": name, "evaluate": name != "object--bench"} for name in names]
    path.write_text(json.dumps({"labels": entries}))


def dark_zurich(root: Path) -> None:
    place = "val/night/GOPR0356/GOPR0356_frame_000321"
    picture(root / f"rgb_anon/{place}_rgb_anon.png")
    ids(root / f"gt/{place}_gt_labelTrainIds.png", 0, 2, 10, 13, 255)


def nighttime_driving(root: Path) -> None:
    picture(root / "leftImg8bit/val/night/0_0001_leftImg8bit.png")
    labels = root / "gtCoarse_daytime_trainvaltest/val/night"
    ids(labels / "0_0001_gtCoarse_labelTrainIds.png", 0, 2, 10, 13, 255)


def undd(root: Path) -> None:
    picture(root / "images/val/a.jpg")
    ids(root / "labels/val/a.png", 0, 2, 10, 13, 255)


def idd(root: Path) -> None:
    picture(root / "leftImg8bit/val/119/027_leftImg8bit.png")
    ids(root / "gtFine/val/119/027_gtFine_labellevel3Ids.png", 0, 22, 25, 8, 255)


def idd_lite(root: Path) -> None:
    picture(root / "leftImg8bit/val/119/027_image.jpg")
    ids(root / "gtFine/val/119/027_label.png", 0, 5, 6, 3, 255)
    ids(root / "gtFine/val/119/027_inst_label.png", 99)


def ade20k(root: Path) -> None:
    picture(root / "images/validation/ADE_val_00000001.jpg")
    ids(root / "annotations/validation/ADE_val_00000001.png", 7, 2, 3, 21, 0)


def voc2012(root: Path) -> None:
    for name in ("2007_000033", "2007_000042"):
        picture(root / f"JPEGImages/{name}.jpg")
    painted_ids(root / "SegmentationClass/2007_000042.png", 7, 15, 2, 0, 255)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000042\n")


def coco_stuff(root: Path) -> None:
    picture(root / "images/val2017/000000000139.jpg")
    ids(root / "annotations/val2017/000000000139.png", 148, 95, 156, 2, 255)


def coco_stuff_beside(root: Path) -> None:
    picture(root / "val2017/000000000139.jpg")
    ids(root / "stuffthingmaps_trainval2017/val2017/000000000139.png", 148, 95, 156, 2, 255)


def celebamask_hq(root: Path) -> None:
    for number in (9, 27999, 28000, 100000):
        picture(root / f"CelebA-HQ-img/{number}.jpg", width=2 * WIDTH)
        ids(root / f"mask/{number}.png", 0, 1, 17, 18)


ROAD: list[str | None] = ["road", "building", "sky", "car", None]


@dataclass(frozen=True)
class Case:
    """A data set, how it is drawn, and what the first columns of its first labels then mean."""

    name: str
    write: Callable[[Path], None]
    means: list[str | None]
    count: int = 1
    conditions: set[str | None] = field(default_factory=lambda: {None})
    classes: int = 11


NIGHT: set[str | None] = {"night"}
RAIN: set[str | None] = {"rain"}
CASES = [
    Case("cityscapes", cityscapes, ROAD, conditions={"clear"}),
    Case("cityscapes", cityscapes_train_ids, ROAD, conditions={"clear"}),
    Case("foggy_cityscapes", foggy, ROAD, 3, {"fog"}),
    Case("rain_cityscapes", rain, ROAD, 2, RAIN),
    Case("raindrop_cityscapes", drops, ROAD, conditions=RAIN),
    Case("raindrop_cityscapes", drops_named_as_in_cityscapes, ROAD, conditions=RAIN),
    Case("camvid", camvid_tutorial, ROAD),
    Case("acdc", acdc, ROAD, 4, {"fog", "night", "rain", "snow"}),
    Case("bdd100k", bdd100k, ROAD, 5, {"rain", "night", "clear", None}),
    Case("bdd100k", bdd100k_of_old, ROAD),
    Case("mapillary_vistas", vistas, ROAD),
    Case("mapillary_vistas", vistas_2, ROAD),
    Case("acdc_night", acdc, ROAD, conditions=NIGHT),
    Case("bdd100k_night", bdd100k, ROAD, 2, {"night", "rain"}),
    Case("vistas_night", vistas_by_night, ROAD, conditions=NIGHT),
    Case("dark_zurich", dark_zurich, ROAD, conditions=NIGHT),
    Case("nighttime_driving", nighttime_driving, ROAD, conditions=NIGHT),
    Case("undd", undd, ROAD, conditions=NIGHT),
    Case("idd", idd, ROAD),
    Case("idd_lite", idd_lite, ["drivable", "far_objects", "sky", "vehicles", None], classes=7),
    Case("ade20k", ade20k, ROAD, classes=150),
    Case("voc2012", voc2012, ["car", "person", "bicycle", "background", None], classes=21),
    Case(
        "coco_stuff", coco_stuff, ["road", "building-other", "sky-other", "car", None], classes=182
    ),
    Case(
        "coco_stuff",
        coco_stuff_beside,
        ["road", "building-other", "sky-other", "car", None],
        classes=182,
    ),
    Case("celebamask_hq", celebamask_hq, ["background", "skin", "hair", "hat"], 2, classes=19),
]
