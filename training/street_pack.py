"""Drawn streets as a data set on disk, in the layout of every other pack.

Drawing a new world costs more than a training step on a small machine, so the pictures are drawn
once and kept in `.cache/`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from adverse_perception.files import write_bytes, write_json, write_labels, write_picture
from adverse_perception.labels import CLASSES, UNLABELLED
from training.datasets.depth import Metres
from training.street import View, random_view

COUNT = 400
SIZE = (480, 360)
_SEED = 7_000_000
FOLDER = Path(".cache") / "street"


def drawn_pack(folder: Path = FOLDER, count: int = COUNT) -> Path:
    """The folder of the pack; what is missing of it is drawn, the rest kept.

    Args:
        folder: where the pack is, or will be.
        count: pictures in its `train` split.
    """
    names = [f"{number:05d}" for number in range(count)]
    missing = [n for n in range(count) if not (folder / f"depth/train/{names[n]}.png").is_file()]
    for number in tqdm(missing, desc="drawing streets", disable=not missing):
        _write(folder, names[number], random_view(np.random.default_rng((_SEED, number)), SIZE))
    _describe(folder, names)
    return folder


def _write(folder: Path, name: str, view: View) -> None:
    # Whole files only: the processes of a torchrun may draw beside each other.
    write_picture(folder / f"images/train/{name}.png", view.image)
    write_labels(folder / f"labels/train/{name}.png", view.labels)
    Metres(folder / f"depth/train/{name}.png").write(view.depth_m)


def _describe(folder: Path, names: list[str]) -> None:
    classes = [
        {"id": number, "name": entry.name, "colour": entry.colour}
        for number, entry in enumerate(CLASSES)
    ]
    described = {"ignore_index": UNLABELLED, "classes": classes}
    write_json(folder / "classes.json", described)
    kinds = ("images", "labels", "depth")
    pairs = [" ".join(f"{kind}/train/{name}.png" for kind in kinds) + "\n" for name in names]
    write_bytes(folder / "splits" / "train.txt", "".join(pairs).encode())
