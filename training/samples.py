"""An endless stream of training samples: sample i is a pure function of the recipe and i.

So a run can stop and go on, on one process or several, and see the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from adverse_perception.frames import Float32Array, UInt8Array, Weather
from training.datasets import (
    read_image,
)
from training.recipes import Augmentation, Recipe
from training.sources import REAL_WEATHER, Drawn, Source, open_real_weather, open_sources
from training.synthesis import clear_view, degrade, draw, estimate_depth, occlusion, render
from training.transforms import (
    apply_geometry,
    apply_photometry,
    draw_geometry,
    draw_photometry,
    of_the_light,
    of_the_sensor,
)

_REAL_SHARE = 0.3


@dataclass(frozen=True)
class Stream:
    """The samples of a run, and the names of the data sets they come from."""

    samples: Dataset[dict[str, Tensor]]
    learnt_from: tuple[str, ...]


def open_stream(
    recipe: Recipe,
    data: Path,
    leave_out: Sequence[str] = (),
    with_val: Sequence[str] = (),
    *,
    skip_broken: bool = False,
) -> Stream:
    """What a recipe trains on; broken pictures are an error, or skipped with a warning each.

    Raises:
        DatasetError: a pack is missing or laid out otherwise, or nothing is left to train on.
    """
    sources = open_sources(recipe, data, leave_out, with_val, skip_broken=skip_broken)
    if recipe.role != "weather":
        stream = RestorationStream if recipe.restores else LabelledStream
        return Stream(stream(recipe, sources), tuple(sources))
    real = open_real_weather(data, leave_out)
    packs = sorted({REAL_WEATHER[weather][0] for weather in real})
    return Stream(WeatherStream(recipe, sources, real), (*sources, *packs))


class LabelledStream(Dataset[dict[str, Tensor]]):
    """Samples to segment: `image` (H, W, 3) uint8, `labels` (H, W) int64, `groups` (K, K)."""

    def __init__(self, recipe: Recipe, sources: Mapping[str, Source]) -> None:
        self._recipe = recipe
        self._sources = list(sources.values())
        shares = np.array([recipe.data[name] for name in sources])
        self._shares = shares / shares.sum()

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        drawn = self._cropped(rng)
        image = _changed(
            drawn.image,
            drawn.label_map.likeliest(drawn.labels),
            self._recipe.augmentation,
            rng,
        )
        return {"image": torch.from_numpy(image), **_answers(drawn)}

    def _cropped(self, rng: np.random.Generator) -> Drawn:
        drawn = self._sources[rng.choice(len(self._sources), p=self._shares)].draw(rng)
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        return Drawn(
            *apply_geometry(drawn.image, drawn.labels, geometry, self._recipe.crop),
            drawn.label_map,
        )


def _answers(drawn: Drawn) -> dict[str, Tensor]:
    return {
        "labels": torch.from_numpy(drawn.labels.astype(np.int64)),
        "groups": torch.from_numpy(drawn.label_map.groups),
    }


class RestorationStream(LabelledStream):
    """Samples to restore: those to segment, and beside them what the camera should have seen.

    `clean` (H, W, 3) uint8, the scene through clean air and clean glass in the weather's light;
    `occlusion` (H, W) float32, 0 to 1, how much of a pixel something on the glass hides.
    """

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        drawn, augmentation = self._cropped(rng), self._recipe.augmentation
        photometry = draw_photometry(rng, augmentation.photometry)
        scene = apply_photometry(drawn.image, of_the_light(photometry))
        # Half of the time without labels, as in the test, where depth must be guessed.
        hint = drawn.label_map.likeliest(drawn.labels) if rng.random() < 0.5 else None
        seen = _Seen(scene, scene, np.zeros(scene.shape[:2], np.float32))
        if rng.random() < augmentation.weather:
            seen = _seen(scene, hint, self._cropped(rng).image, augmentation, rng)
        image = apply_photometry(seen.image, of_the_sensor(photometry))
        return {
            "image": torch.from_numpy(image),
            "clean": torch.from_numpy(seen.clean),
            "occlusion": torch.from_numpy(seen.occlusion),
            **_answers(drawn),
        }


@dataclass(frozen=True)
class _Seen:
    image: UInt8Array
    clean: UInt8Array
    occlusion: Float32Array


def _seen(
    scene: UInt8Array,
    labels: UInt8Array | None,
    reflected: UInt8Array,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> _Seen:
    """A scene in drawn weather, and in the same light without it."""
    state = draw(_condition(augmentation, rng), rng, augmentation.strength)
    depth = estimate_depth(scene, labels)
    return _Seen(
        render(scene, depth, state, labels=labels, reflected=reflected),
        render(scene, depth, clear_view(state), labels=labels),
        occlusion(scene.shape[:2], state),
    )


def _changed(
    image: UInt8Array, labels: UInt8Array, augmentation: Augmentation, rng: np.random.Generator
) -> UInt8Array:
    photometry = augmentation.photometry
    if rng.random() < augmentation.weather:
        condition = _condition(augmentation, rng)
        image = degrade(image, condition, rng, labels=labels, strength=augmentation.strength)
        photometry *= 0.5  # the weather's own sensor has changed much already
    return apply_photometry(image, draw_photometry(rng, photometry))


def _condition(augmentation: Augmentation, rng: np.random.Generator) -> str:
    names = list(augmentation.conditions)
    shares = np.array(list(augmentation.conditions.values()))
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


class WeatherStream(Dataset[dict[str, Tensor]]):
    """Samples to name the weather of: `image` (h, w, 3) uint8, `weather` int64."""

    def __init__(
        self, recipe: Recipe, sources: Mapping[str, Source], real: Mapping[Weather, Sequence[Path]]
    ) -> None:
        self._recipe = recipe
        self._sources = list(sources.values())
        self._real = real

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        recipe, rng = self._recipe, np.random.default_rng((self._recipe.seed, number))
        weather = list(Weather)[int(rng.integers(len(Weather)))]
        if weather in self._real and rng.random() < _REAL_SHARE:
            image = self._real_picture(weather, rng)
        else:
            image = self._drawn_picture(weather, rng)
        image = apply_photometry(image, draw_photometry(rng, recipe.augmentation.photometry))
        small = cv2.resize(image, recipe.size[::-1], interpolation=cv2.INTER_AREA)
        return {
            "image": torch.from_numpy(np.asarray(small, np.uint8)),
            "weather": torch.tensor(list(Weather).index(weather)),
        }

    def _real_picture(self, weather: Weather, rng: np.random.Generator) -> UInt8Array:
        pictures = self._real[weather]
        image = read_image(pictures[int(rng.integers(len(pictures)))])
        nothing = np.zeros(image.shape[:2], np.uint8)
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        return apply_geometry(image, nothing, geometry, self._recipe.crop)[0]

    def _drawn_picture(self, weather: Weather, rng: np.random.Generator) -> UInt8Array:
        drawn = self._sources[int(rng.integers(len(self._sources)))].draw(rng)
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        crop = self._recipe.crop
        image, labels = apply_geometry(drawn.image, drawn.labels, geometry, crop)
        if weather is Weather.CLEAR:
            return image
        # Half of the time without labels, as at inference and in the test, where weather has only
        # the picture itself to go by.
        hint = drawn.label_map.likeliest(labels) if rng.random() < 0.5 else None
        strength = self._recipe.augmentation.strength
        return degrade(image, weather.value, rng, labels=hint, strength=strength)


class Range(Sampler[int]):
    """The numbers of the samples of one process, from one step on to the last."""

    def __init__(self, begin: int, end: int, rank: int, world: int) -> None:
        self._numbers = range(begin + rank, end, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
