"""CelebAMask-HQ ships a mask per part of a face; training wants one label map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from adverse_perception.files import write_labels
from adverse_perception.frames import UInt8Array
from training.datasets.class_lists import class_list
from training.datasets.pictures import DatasetError, read_raw

_FACES_A_FOLDER = 2000
_SIZE = 512


def merge_faces(folder: Path) -> int:
    """Write `mask/NUMBER.png` for every face that has none yet; says how many were written.

    Parts are painted in the order of the class list, so that hair and hats cover the skin.

    Raises:
        DatasetError: this is not CelebAMask-HQ, or a mask is broken.
        FileError: a label map cannot be written.
    """
    numbers = sorted(int(path.stem) for path in folder.glob("CelebA-HQ-img/*.jpg"))
    if not numbers or not (folder / "CelebAMask-HQ-mask-anno").is_dir():
        raise DatasetError(
            f"{folder}: expected CelebA-HQ-img/NUMBER.jpg and CelebAMask-HQ-mask-anno/, found not "
            "both; give the root of CelebAMask-HQ"
        )
    missing = [n for n in numbers if not (folder / "mask" / f"{n}.png").is_file()]
    for number in tqdm(missing, desc="merging masks", disable=not missing):
        write_labels(folder / "mask" / f"{number}.png", merged(folder, number))
    return len(missing)


def merged(folder: Path, number: int) -> UInt8Array:
    """The label map of one face: (512, 512) uint8. Raises `DatasetError`."""
    labels = np.zeros((_SIZE, _SIZE), np.uint8)
    parts = folder / "CelebAMask-HQ-mask-anno" / str(number // _FACES_A_FOLDER)
    for value, part in class_list("celebamask_hq").ids.items():
        path = parts / f"{number:05d}_{part}.png"
        if not path.is_file():
            continue  # not every face has every part
        mask = read_raw(path, cv2.IMREAD_GRAYSCALE)
        if mask.shape != labels.shape:
            raise DatasetError(
                f"{path}: expected a mask of {labels.shape}, found {mask.shape}; copy it anew"
            )
        labels[mask > 127] = value
    return labels
