"""Roads elsewhere, and the scenes, things and faces that SR-Net restores.

CamVid:           our pack (splits/), or as the SegNet tutorial has it: train.txt, train/NAME.png,
                  trainannot/NAME.png with 11 = void; the same for val and test; [video/NAME.png,
                  every frame of the videos at 30 Hz, numbered as the labelled ones]
IDD:              leftImg8bit/{train,val}/DRIVE/NAME_leftImg8bit.png (or .jpg)
                  gtFine/{train,val}/DRIVE/NAME_gtFine_labellevel3Ids.png, rendered beforehand
IDD-Lite:         our pack, or leftImg8bit/{train,val}/DRIVE/NAME_image.jpg and
                  gtFine/{train,val}/DRIVE/NAME_label.png
Mapillary Vistas: {training,validation}/images/NAME.jpg, {training,validation}/v1.2/labels/NAME.png
                  with config_v1.2.json (else v2.0; of the first release labels/, config.json)
ADE20K:           images/{training,validation}/NAME.jpg, annotations/{training,validation}/NAME.png
                  (the 150 classes of the scene parsing challenge, 0 = unlabelled)
VOC 2012:         JPEGImages/NAME.jpg, SegmentationClass/NAME.png,
                  ImageSets/Segmentation/{train,val}.txt
COCO-Stuff:       images/{train,val}2017/NAME.jpg, annotations/{train,val}2017/NAME.png; or
                  {train,val}2017/ beside stuffthingmaps_trainval2017/{train,val}2017/
CelebAMask-HQ:    CelebA-HQ-img/NUMBER.jpg, mask/NUMBER.png (`faces.py` makes the latter)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.datasets.layouts import Labels, Layout, open_layout
from training.datasets.packs import Pack, open_pack
from training.datasets.pictures import DatasetError

CAMVID = Layout(
    pictures="{split}/{name}.png",
    labels=(Labels("{split}annot/{name}.png", "camvid12"),),
    listing="{split}.txt",
    sequence="video/{name}.png",
)
_DRIVE = "{split}/{drive}/{name}"
IDD = Layout(
    pictures=f"leftImg8bit/{_DRIVE}_leftImg8bit.{{suffix}}",
    labels=(Labels(f"gtFine/{_DRIVE}_gtFine_labellevel3Ids.png", "idd26"),),
)
IDD_LITE = Layout(
    pictures=f"leftImg8bit/{_DRIVE}_image.jpg",
    labels=(Labels(f"gtFine/{_DRIVE}_label.png", "idd7"),),
    read_as="own",
)
_LONG = {"train": "training", "val": "validation", "test": "testing"}
VISTAS = Layout(
    pictures="{split}/images/{name}.jpg",
    labels=(
        Labels("{split}/v1.2/labels/{name}.png", "config_v1.2.json"),
        Labels("{split}/v2.0/labels/{name}.png", "config_v2.0.json"),
        Labels("{split}/labels/{name}.png", "config.json"),
    ),
    splits=_LONG,
)
ADE20K = Layout(
    pictures="images/{split}/{name}.jpg",
    labels=(Labels("annotations/{split}/{name}.png", "ade20k"),),
    splits=_LONG,
    read_as="own",
)
VOC2012 = Layout(
    pictures="JPEGImages/{name}.jpg",
    labels=(Labels("SegmentationClass/{name}.png", "voc2012"),),
    listing="ImageSets/Segmentation/{split}.txt",
    read_as="own",
)
_COCO = Layout(
    pictures="images/{split}/{name}.jpg",
    labels=(Labels("annotations/{split}/{name}.png", "coco_stuff"),),
    splits={"train": "train2017", "val": "val2017"},
    read_as="own",
)
COCO_STUFF = (
    _COCO,
    replace(
        _COCO,
        pictures="{split}/{name}.jpg",
        labels=(Labels("stuffthingmaps_trainval2017/{split}/{name}.png", "coco_stuff"),),
    ),
)
CELEBAMASK_HQ = Layout(
    pictures="CelebA-HQ-img/{name}.jpg",
    labels=(Labels("mask/{name}.png", "celebamask_hq"),),
    fit=True,
    read_as="own",
)
FIRST_FACE_NOT_TRAINED_ON = 28_000


def open_celebamask_hq(folder: Path, split: str, classes: str | None = None) -> Pack:
    """CelebAMask-HQ: the pictures below 28000 are `train`, the last 2000 `val`.

    Pictures are 1024 wide and shrunk to their masks of 512.
    """
    if (folder / "CelebAMask-HQ-mask-anno").is_dir() and not (folder / "mask").is_dir():
        raise DatasetError(
            f"{folder}: expected label maps in mask/, found the masks of single parts only; make "
            f"them with: python -m training.datasets merge-faces {folder}"
        )
    pack = open_layout("celebamask_hq", [CELEBAMASK_HQ], folder, split, classes)
    keep = {
        "train": lambda number: number < FIRST_FACE_NOT_TRAINED_ON,
        "val": lambda number: number >= FIRST_FACE_NOT_TRAINED_ON,
    }.get(split)
    pairs = [p for p in pack.pairs if keep is not None and keep(int(p.tags["name"]))]
    if not pairs:
        raise DatasetError(
            f"{folder}: expected faces of split {split!r}, found none; splits are train (pictures "
            f"below {FIRST_FACE_NOT_TRAINED_ON}) and val (the others)"
        )
    return replace(pack, pairs=sorted(pairs, key=lambda pair: int(pair.tags["name"])))


def open_camvid(folder: Path, split: str, classes: str | None = None) -> Pack:
    """CamVid in either layout."""
    return _ours_or("camvid", CAMVID, folder, split, classes)


def open_idd_lite(folder: Path, split: str, classes: str | None = None) -> Pack:
    """IDD-Lite in either layout; its seven classes are coarser than ours."""
    return _ours_or("idd_lite", IDD_LITE, folder, split, classes)


def open_ours(folder: Path, split: str, classes: str | None = None) -> Pack:
    """A pack in our own layout, read as its `classes.json` says."""
    if classes is not None:
        raise DatasetError(
            f"{folder}: expected no other classes than its classes.json names, found {classes!r}; "
            "leave them out"
        )
    return open_pack(folder, split)


def _ours_or(name: str, layout: Layout, folder: Path, split: str, classes: str | None) -> Pack:
    if (folder / "splits").is_dir():
        return replace(open_ours(folder, split, classes), name=name)
    return open_layout(name, [layout], folder, split, classes)
