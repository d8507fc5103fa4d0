"""How a picture is shown in another light: by drawn weather, a look-up table or a CycleGAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from adverse_perception.frames import UInt8Array
from training.checkpoints import open_checkpoint
from training.datasets import Sample
from training.methods import translated
from training.networks.cyclegan import CycleGan
from training.recipes import NOTICEABLE
from training.synthesis import WEATHERS, degrade

WAYS = {
    "synthesis": tuple(weather for weather in WEATHERS if weather != "clear"),
    "lookup": ("night",),
}
"""What can be shown by means that need no training."""
_EITHER = ("night", "day")
"""What a CycleGAN can show."""


class TranslationError(ValueError):
    """What was asked for cannot be translated, or not like this."""


@dataclass(frozen=True)
class Translation:
    """How a pack is made of another; what `translation.json` says.

    Attributes:
        source: folder of the labelled set.
        data_set: its name in `training.datasets.LOADERS`, none for a pack of ours.
        to: a weather of the synthesis, or `day`.
        by: `synthesis`, `lookup`, or the checkpoint of a CycleGAN.
        strength: range of the weather's, 0 (light) to 1 (heavy); of the synthesis alone.
        seed: of all chance.
        sha256: of the checkpoint.
    """

    source: str
    data_set: str | None
    to: str
    by: str = "synthesis"
    strength: tuple[float, float] | None = None
    seed: int = 0
    sha256: str | None = None


Show = Callable[[Sample, UInt8Array, np.random.Generator], UInt8Array]
"""From a sample, its labels in our classes and chance to the picture in the other light."""


def way_of(translation: Translation, device: str | None = None) -> Show:
    """How pictures are translated.

    Raises:
        TranslationError: it cannot be done that way.
        CheckpointError: the checkpoint is missing or broken.
    """
    _check(translation)
    if translation.by == "synthesis":
        return _by_synthesis(translation.to, translation.strength or NOTICEABLE)
    if translation.by == "lookup":
        return lambda sample, labels, rng: degrade(sample.image, "night_lookup", rng)
    return _by_generator(Path(translation.by), translation.to, device)


def _check(translation: Translation) -> None:
    known = WAYS.get(translation.by, _EITHER)
    if translation.to not in known:
        raise TranslationError(
            f"--to {translation.to}: expected one of {', '.join(known)} by {translation.by}; "
            "choose one of these, or another way with --by"
        )
    strength = translation.strength
    if strength is not None and translation.by != "synthesis":
        raise TranslationError(
            f"--strength: expected none by {translation.by}, which has but one, found "
            f"{strength[0]} {strength[1]}; leave it out"
        )
    if strength is not None and not 0.0 <= strength[0] <= strength[1] <= 1.0:
        raise TranslationError(
            f"--strength: expected 0 <= LOW <= HIGH <= 1, found {strength[0]} {strength[1]}; "
            "0 is light and 1 heavy"
        )


def _by_synthesis(weather: str, strength: tuple[float, float]) -> Show:
    def show(sample: Sample, labels: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        known = sample.depth_m is not None and bool((sample.depth_m > 0).any())
        depth_m = sample.depth_m if known else None
        return degrade(sample.image, weather, rng, depth_m, labels, strength)

    return show


def _by_generator(path: Path, to: str, device: str | None) -> Show:
    network = open_checkpoint(path).network
    if not isinstance(network, CycleGan):
        raise TranslationError(
            f"{path}: expected a checkpoint of cyclegan, found a {type(network).__name__}; "
            "train one with training.train cyclegan"
        )
    network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = network.to_night if to == "night" else network.to_day
    return lambda sample, labels, rng: translated(generator, sample.image)
