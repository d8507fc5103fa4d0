"""Night only: by what a data set says of its pictures, or by how dark they are.

`only(condition="night")` finds night where a data set tells; Mapillary Vistas does not.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
from tqdm import tqdm

from adverse_perception.frames import UInt8Array
from training.datasets.packs import Pack
from training.datasets.pictures import BrokenPicture, read_raw

DARK = 70
"""Mean grey value below which a picture may be of the night; underexposed days are, too."""
DARK_ABOVE = 60
"""The same of the upper third, where an underexposed day still has its sky."""


def is_night(grey: UInt8Array) -> bool:
    """A dark picture whose upper third is dark as well; (H, W) uint8, a small one will do."""
    upper = grey[: max(1, len(grey) // 3)]
    return bool(grey.mean() < DARK and upper.mean() < DARK_ABOVE)


def by_brightness(pack: Pack) -> Pack:
    """The pictures of a pack that are dark as a night, which is their condition then.

    Reads every picture at an eighth of its size, on all cores. What cannot be read is kept, so
    that it is named, or passed over, as anywhere else.

    Raises:
        DatasetError: none is dark.
    """
    with ThreadPoolExecutor() as readers:
        paths = [pair.image for pair in pack.pairs]
        dark = list(
            tqdm(readers.map(_is_dark, paths), pack.name, len(paths), leave=False, mininterval=2)
        )
    pairs = [
        replace(pair, condition="night" if night else pair.condition)
        for pair, night in zip(pack.pairs, dark, strict=True)
    ]
    return replace(pack, pairs=pairs).only(condition="night")


def _is_dark(path: Path) -> bool:
    try:
        return is_night(read_raw(path, cv2.IMREAD_REDUCED_GRAYSCALE_8))
    except BrokenPicture:
        return True


NIGHTS: dict[str, tuple[str, Callable[[Pack], Pack]]] = {
    "acdc_night": ("acdc", partial(Pack.only, condition="night")),
    "bdd100k_night": ("bdd100k", partial(Pack.only, timeofday="night")),  # in any weather
    "vistas_night": ("mapillary_vistas", by_brightness),
}
"""Names of nights: of which data set they are, and how they are found in it."""
