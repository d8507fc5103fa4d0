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
from training.clip_samples import clip_stream
from training.clips import open_clips
from training.datasets import read_image
from training.networks.guide import Guide
from training.recipes import Augmentation, Recipe
from training.sources import Drawn, Source, open_real_weather, open_sources, packs_of
from training.synthesis import (
    clear_view,
    draw,
    estimate_depth,
    magnified,
    occlusion,
    render,
)
from training.transforms import (
    Photometry,
    apply_photometry,
    draw_geometry,
    draw_photometry,
    of_the_light,
    of_the_sensor,
    warp_picture,
)
from training.unpaired import (
    NO_FOLDERS,
    Domains,
    UnpairedStream,
    check_used,
    open_unpaired,
    read_any,
    real_nights,
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
    guide: Guide | None = None,
    skip_broken: bool = False,
    domains: Domains = NO_FOLDERS,
) -> Stream:
    """What a recipe trains on; broken pictures are an error, or skipped with a warning each.

    Args:
        recipe: what is trained.
        data: the folder of all data sets.
        leave_out: data sets not to learn from.
        with_val: data sets whose validation split is learnt from too.
        guide: the key network of a recipe that corrects.
        skip_broken: go on without pictures that cannot be read.
        domains: folders of pictures without labels, for recipes that learn from such.

    Raises:
        DatasetError: a pack is missing or laid out otherwise, or nothing is left to train on.
    """
    check_used(recipe, domains)
    if recipe.watches:
        clips = open_clips(recipe, data, leave_out, with_val, skip_broken=skip_broken)
        return Stream(clip_stream(recipe, clips, guide), tuple(clips))
    if recipe.role == "cyclegan":
        pictures = open_unpaired(recipe, data, domains, leave_out, with_val)
        return Stream(UnpairedStream(recipe, pictures, skip_broken=skip_broken), pictures.names)
    sources = open_sources(recipe, data, leave_out, with_val, skip_broken=skip_broken)
    if recipe.adapts:
        name, nights = real_nights(data, domains.night, leave_out)
        adapting = AdaptationStream(recipe, sources, nights, skip_broken=skip_broken)
        return Stream(adapting, (*sources, name))
    if recipe.role == "weather":
        real = open_real_weather(data, leave_out)
        return Stream(WeatherStream(recipe, sources, real), (*sources, *packs_of(real)))
    stream = RestorationStream if recipe.restores else LabelledStream
    return Stream(stream(recipe, sources), tuple(sources))


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
        image = _changed(drawn, self._recipe.augmentation, rng)
        return {"image": torch.from_numpy(image), **_answers(drawn)}

    def _cropped(self, rng: np.random.Generator) -> Drawn:
        drawn = self._sources[rng.choice(len(self._sources), p=self._shares)].draw(rng)
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        return drawn.cropped(geometry, self._recipe.crop)


class AdaptationStream(LabelledStream):
    """Samples to segment, and `target` (H, W, 3) uint8, a road by night that has no labels.

    `day` (H, W, 3) uint8 is what is to be segmented before night fell.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Mapping[str, Source],
        nights: Sequence[Path],
        *,
        skip_broken: bool = False,
    ) -> None:
        super().__init__(recipe, sources)
        self._nights, self._skip_broken = nights, skip_broken

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        drawn = self._cropped(rng)
        image = _changed(drawn, self._recipe.augmentation, rng)
        return {
            "image": torch.from_numpy(image),
            "day": torch.from_numpy(drawn.image),
            "target": torch.from_numpy(self._target(rng)),
            **_answers(drawn),
        }

    def _target(self, rng: np.random.Generator) -> UInt8Array:
        """Seen from nearer and farther and by other sensors, or the network learns the place."""
        number, change = int(rng.integers(len(self._nights))), self._recipe.augmentation
        image = read_any(self._nights, number, skip_broken=self._skip_broken)
        image = warp_picture(image, draw_geometry(rng, change.scales), self._recipe.crop)
        return apply_photometry(image, draw_photometry(rng, change.photometry))


def _answers(drawn: Drawn) -> dict[str, Tensor]:
    return {
        "labels": torch.from_numpy(drawn.labels.astype(np.int64)),
        "groups": torch.from_numpy(drawn.label_map.groups),
    }


class RestorationStream(LabelledStream):
    """Samples to restore: those to segment, and beside them what the camera should have seen.

    `clean` (H, W, 3) uint8, the scene through clean air and clean glass in the weather's light;
    `occlusion` (H, W) float32, 0 to 1, how much of a pixel something on the glass hides, NaN where
    nobody knows. What a data set shows in weather is restored to its own clear view.
    """

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        drawn = self._cropped(rng)
        photometry = draw_photometry(rng, self._recipe.augmentation.photometry)
        seen = self._seen(drawn, of_the_light(photometry), rng)
        # The same sensor and its same noise, so that what is not hidden is to be left as it is.
        image, clean = (
            apply_photometry(view, of_the_sensor(photometry)) for view in (seen.image, seen.clean)
        )
        return {
            "image": torch.from_numpy(image),
            "clean": torch.from_numpy(clean),
            "occlusion": torch.from_numpy(seen.occlusion),
            **_answers(drawn),
        }

    def _seen(self, drawn: Drawn, light: Photometry, rng: np.random.Generator) -> _Seen:
        """The scene in drawn weather or the data set's own, and in the same light without it."""
        scene, augmentation = apply_photometry(drawn.image, light), self._recipe.augmentation
        shape = scene.shape[:2]
        if drawn.clear is not None:
            clear = apply_photometry(drawn.clear, light)
            return _Seen(scene, clear, np.full(shape, np.nan, np.float32))
        if rng.random() >= augmentation.weather:
            return _Seen(scene, scene, np.zeros(shape, np.float32))
        name = augmentation.condition(rng)
        state = magnified(draw(name, rng, augmentation.strength), drawn.zoom)
        reflected = self._cropped(rng).image if name == "reflection" else None
        hint, depth = _hints(drawn, scene, rng)
        return _Seen(
            render(scene, depth, state, labels=hint, reflected=reflected),
            render(scene, depth, clear_view(state), labels=hint),
            occlusion(shape, state),
        )


@dataclass(frozen=True)
class _Seen:
    image: UInt8Array
    clean: UInt8Array
    occlusion: Float32Array


def _hints(
    drawn: Drawn, scene: UInt8Array, rng: np.random.Generator
) -> tuple[UInt8Array | None, Float32Array]:
    """Labels and depth to render by.

    Half of the time without labels and with nothing but a guess, as in the test.
    """
    if rng.random() < 0.5:
        return None, estimate_depth(scene)
    labels = drawn.label_map.likeliest(drawn.labels)
    return labels, estimate_depth(scene, labels) if drawn.depth_m is None else drawn.depth_m


def _changed(drawn: Drawn, augmentation: Augmentation, rng: np.random.Generator) -> UInt8Array:
    image, photometry = drawn.image, augmentation.photometry
    if rng.random() < augmentation.weather and not drawn.adverse:
        image = _in_weather(drawn, augmentation.condition(rng), augmentation, rng)
        photometry *= 0.5  # the weather's own sensor has changed much already
    return apply_photometry(image, draw_photometry(rng, photometry))


def _in_weather(
    drawn: Drawn, name: str, augmentation: Augmentation, rng: np.random.Generator
) -> UInt8Array:
    state = magnified(draw(name, rng, augmentation.strength), drawn.zoom)
    hint, depth = _hints(drawn, drawn.image, rng)
    return render(drawn.image, depth, state, labels=hint)


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
        geometry = draw_geometry(rng, self._recipe.augmentation.scales)
        return warp_picture(image, geometry, self._recipe.crop)

    def _drawn_picture(self, weather: Weather, rng: np.random.Generator) -> UInt8Array:
        drawn = self._sources[int(rng.integers(len(self._sources)))].draw(rng)
        drawn = drawn.cropped(
            draw_geometry(rng, self._recipe.augmentation.scales), self._recipe.crop
        )
        if weather is Weather.CLEAR:
            return drawn.image
        return _in_weather(drawn, weather.value, self._recipe.augmentation, rng)


class Range(Sampler[int]):
    """The numbers of the samples of one process, from one step on to the last."""

    def __init__(self, begin: int, end: int, rank: int, world: int) -> None:
        self._numbers = range(begin + rank, end, world)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
