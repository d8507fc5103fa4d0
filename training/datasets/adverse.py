"""Real bad weather and real night, all in Cityscapes' 19 train ids.

ACDC:              rgb_anon/WEATHER/{train,val}/DRIVE/NAME_rgb_anon.png
                   gt/WEATHER/{train,val}/DRIVE/NAME_gt_labelTrainIds.png (else _labelIds.png)
                   rgb_anon/WEATHER/{train,val}_ref/DRIVE/NAME_rgb_ref_anon.png     (optional)
Dark Zurich:       rgb_anon/val/night/DRIVE/NAME_rgb_anon.png
                   gt/val/night/DRIVE/NAME_gt_labelTrainIds.png
Nighttime Driving: leftImg8bit/test/night/NAME_leftImg8bit.png
                   gtCoarse_daytime_trainvaltest/test/night/NAME_gtCoarse_labelTrainIds.png
UNDD:              images/test/NAME.png (or .jpg), labels/test/NAME.png; its release states no
                   layout, so arrange its 75 labelled pictures like this
BDD100K:           images/10k/{train,val}/NAME.jpg, labels/sem_seg/masks/{train,val}/NAME.png;
                   of the older release seg/images/..., seg/labels/.../NAME_train_id.png
                   labels/det_20/det_{train,val}.json or labels/bdd100k_labels_images_*.json gives
                   weather and time of day to those pictures that it knows      (optional)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from training.datasets.layouts import Labels, Layout, open_layout
from training.datasets.packs import Pack, Pair
from training.datasets.pictures import DatasetError

_DRIVE = "{weather}/{split}/{drive}/{name}"
ACDC = Layout(
    pictures=f"rgb_anon/{_DRIVE}_rgb_anon.png",
    labels=(
        Labels(f"gt/{_DRIVE}_gt_labelTrainIds.png", "cityscapes19"),
        Labels(f"gt/{_DRIVE}_gt_labelIds.png", "cityscapes34"),
    ),
    reference="rgb_anon/{weather}/{split}_ref/{drive}/{name}_rgb_ref_anon.png",
)
DARK_ZURICH = Layout(
    pictures="rgb_anon/{split}/night/{drive}/{name}_rgb_anon.png",
    labels=(Labels("gt/{split}/night/{drive}/{name}_gt_labelTrainIds.png", "cityscapes19"),),
    condition="night",
)
_COARSE = "gtCoarse_daytime_trainvaltest/{split}/night/{name}_gtCoarse_"
NIGHTTIME_DRIVING = Layout(
    pictures="leftImg8bit/{split}/night/{name}_leftImg8bit.png",
    labels=(
        Labels(f"{_COARSE}labelTrainIds.png", "cityscapes19"),
        Labels(f"{_COARSE}labelIds.png", "cityscapes34"),
    ),
    condition="night",
)
UNDD = Layout(
    pictures="images/{split}/{name}.{suffix}",
    labels=(Labels("labels/{split}/{name}.png", "cityscapes19"),),
    condition="night",
)
BDD100K = (
    Layout(
        pictures="images/10k/{split}/{name}.jpg",
        labels=(Labels("labels/sem_seg/masks/{split}/{name}.png", "cityscapes19"),),
    ),
    Layout(
        pictures="seg/images/{split}/{name}.jpg",
        labels=(Labels("seg/labels/{split}/{name}_train_id.png", "cityscapes19"),),
    ),
)

_BDD_TAGS = ("labels/det_20/det_{}.json", "labels/bdd100k_labels_images_{}.json")
_BDD_WEATHER = {
    **dict.fromkeys(("clear", "overcast", "partly cloudy"), "clear"),
    "rainy": "rain",
    "snowy": "snow",
    "foggy": "fog",
}


def open_bdd100k(folder: Path, split: str, classes: str | None = None) -> Pack:
    """BDD100K's 10k labelled pictures: `only(condition="night")`, `only(timeofday="night")`.

    Weather counts by night too, so night is a picture's condition only in clear weather; dawn and
    dusk, and what the tags leave undefined, have no condition.
    """
    pack = open_layout("bdd100k", BDD100K, folder, split, classes)
    path = next((p for name in _BDD_TAGS if (p := folder / name.format(split)).is_file()), None)
    if path is None:
        return pack
    known = _attributes(path)
    pairs = [_weathered(pair, known.get(pair.tags["name"], {})) for pair in pack.pairs]
    return replace(pack, pairs=pairs)


def _attributes(path: Path) -> dict[str, Mapping[str, str]]:
    """The attributes of every picture by its name without suffix."""
    try:
        entries = json.loads(path.read_text())
        return {Path(entry["name"]).stem: entry.get("attributes") or {} for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: expected a JSON list of entries with 'name' and 'attributes', found "
            f"{type(error).__name__}: {error}; copy it anew, or remove it to go without tags"
        ) from error


def _weathered(pair: Pair, attributes: Mapping[str, str]) -> Pair:
    tags = {name: attributes[name] for name in ("weather", "timeofday") if name in attributes}
    return replace(pair, condition=_condition(tags), tags={**pair.tags, **tags})


def _condition(tags: Mapping[str, str]) -> str | None:
    weather = _BDD_WEATHER.get(tags.get("weather", ""))
    time = tags.get("timeofday")
    if weather != "clear":
        return weather or ("night" if time == "night" else None)
    return {"daytime": "clear", "night": "night"}.get(time or "")
