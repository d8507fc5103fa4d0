"""Recipes so small that they train in seconds, and the data they train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tests.packs import write_camvid, write_idd
from training import samples, train
from training.datasets import open_pack
from training.networks.guide import Guide
from training.recipes import Augmentation, Recipe, Schedule
from training.run import Process, Run

torch.set_num_threads(1)
ALONE = Process(0, 1, torch.device("cpu"))
LIGHT = Augmentation(scales=(0.9, 1.4), photometry=0.3, weather=0.3)
TOY = Recipe(
    "toy",
    "segmentation",
    ("clear",),
    Schedule(6, batch=4, rate=4e-3, average=0.9),
    width=16,
    size=(48, 64),
    crop=(32, 48),
    data={"camvid": 0.7, "idd_lite": 0.3},
    augmentation=LIGHT,
)
TOY_WEATHER = replace(TOY, name="weather", role="weather", width=8)

TRAIN = ["clear", "--leave-out", "street", "kitti_semantic", "idd_lite", "--device", "cpu"]
"""Command line of a training on the toy CamVid alone."""


def write_data(folder: Path) -> Path:
    """A data folder with a fine and a coarse pack."""
    write_camvid(folder / "camvid", train=6, val=2, test=3)
    write_idd(folder / "idd_lite", train=4, val=2)
    return folder


def run_of(
    recipe: Recipe,
    folder: Path,
    data: Path,
    save_every: int = 1000,
    *,
    guide: Guide | None = None,
) -> list[float]:
    """Train a recipe in a folder, going on where it stopped; the loss of every step."""
    run = Run(recipe, folder, ALONE, guide=guide)
    run.resume()
    stream = samples.open_stream(recipe, data)
    return train.train(run, stream, open_pack(data / "camvid", "val"), save_every=save_every)


def moved(network: torch.nn.Module) -> torch.nn.Module:
    """With every parameter moved a little, so that nothing that begins as zero hides the rest."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return network.eval()
