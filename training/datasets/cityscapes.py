"""Cityscapes and what others made of it. All are opened from the root of Cityscapes.

    leftImg8bit/{train,val}/CITY/CITY_000000_000019_leftImg8bit.png
    gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelTrainIds.png (else _labelIds.png)
    leftImg8bit_sequence/...   the 30 frames of every snippet, as leftImg8bit      (optional)
    disparity/..._disparity.png, camera/..._camera.json                            (optional)
    leftImg8bit_foggy/..._leftImg8bit_foggy_beta_0.02.png          Foggy Cityscapes
    leftImg8bit_transmittance/..._leftImg8bit_transmittance_beta_0.02.png          (optional)
    foggy_trainval_refined_filenames.txt                                           (optional)
    leftImg8bit_rain/..._rain_alpha_A_beta_B_dropsize_D_pattern_P.png   RainCityscapes

RainCityscapes' own `depth_rain/` states no unit and is not read; `disparity/` gives its metres.
Raindrop-Cityscapes is a folder of its own, pictures of the same name or named as in Cityscapes:

    rain/{train,test}/NAME.png, clean/{train,test}/NAME.png, label/{train,test}/NAME.png
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.datasets.layouts import Labels, Layout, open_layout
from training.datasets.packs import Pack, Pair

_PLACE = "{split}/{city}/{name}"
_FINE = tuple(
    Labels(f"gtFine/{_PLACE}_gtFine_{ids}.png", classes)
    for ids, classes in (("labelTrainIds", "cityscapes19"), ("labelIds", "cityscapes34"))
)
_CLEAR = f"leftImg8bit/{_PLACE}_leftImg8bit.png"

CITYSCAPES = Layout(
    pictures=_CLEAR,
    labels=_FINE,
    condition="clear",
    disparity=f"disparity/{_PLACE}_disparity.png",
    camera=f"camera/{_PLACE}_camera.json",
    sequence=f"leftImg8bit_sequence/{_PLACE}_leftImg8bit.png",
)
FOGGY = replace(
    CITYSCAPES,
    pictures=f"leftImg8bit_foggy/{_PLACE}_leftImg8bit_foggy_beta_{{beta}}.png",
    condition="fog",
    clear=_CLEAR,
    transmittance=f"leftImg8bit_transmittance/{_PLACE}_leftImg8bit_transmittance_beta_{{beta}}.png",
    sequence=None,
)
RAIN = replace(
    FOGGY,
    pictures=f"leftImg8bit_rain/{_PLACE}_leftImg8bit_rain_alpha_{{alpha}}_beta_{{beta}}"
    "_dropsize_{dropsize}_pattern_{pattern}.png",
    condition="rain",
    transmittance=None,
)
DROPS_PLAIN = Layout(
    pictures="rain/{split}/{name}.png",
    labels=(Labels("label/{split}/{name}.png", "cityscapes19"),),
    condition="rain",
    clear="clean/{split}/{name}.png",
    columns=(64, 1984),
)
DROPS = replace(
    DROPS_PLAIN,
    pictures="rain/{split}/{name}_leftImg8bit.png",
    labels=(
        Labels("label/{split}/{name}_gtFine_labelTrainIds.png", "cityscapes19"),
        Labels("label/{split}/{name}_gtFine_labelIds.png", "cityscapes34"),
    ),
    clear="clean/{split}/{name}_leftImg8bit.png",
)
_REFINED = "foggy_trainval_refined_filenames.txt"


def open_foggy(folder: Path, split: str, classes: str | None = None) -> Pack:
    """Foggy Cityscapes in all its densities: `only(beta="0.02")`; `only(refined="yes")`."""
    pack = open_layout("foggy_cityscapes", [FOGGY], folder, split, classes)
    listing = folder / _REFINED
    if not listing.is_file():
        return pack
    lines = [Path(line.strip()).name for line in listing.read_text().splitlines()]
    refined = {line.partition("_leftImg8bit")[0].removesuffix(".png") for line in lines}
    return replace(pack, pairs=[_tagged(pair, refined) for pair in pack.pairs])


def _tagged(pair: Pair, refined: set[str]) -> Pair:
    answer = "yes" if pair.tags["name"] in refined else "no"
    return replace(pair, tags={**pair.tags, "refined": answer})
