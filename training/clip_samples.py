"""Training samples drawn from clips: for our light step, and the triplets of the paper.

As in `training.samples`, sample i is a pure function of the recipe and i.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.propagation import Propagation, Step, halved
from training.clips import Clip, ClipSource
from training.methods.method import needed, planes
from training.networks.guide import Guide
from training.recipes import Recipe
from training.synthesis import draw, estimate_depth, render
from training.transforms import apply_photometry, draw_geometry, draw_photometry

LONGEST = 10
"""Frames that a key frame's result is carried over at most; the paper's j."""
_TOGETHER = 8
"""Clips that samples are taken from by turns, so that a batch shows different ones."""
_OF_ONE = 20
"""Samples taken from one clip: drawing it and running the key network costs more than a step."""
_CUTS = 0.25
"""Share of the samples whose key frame shows another scene. The vehicle makes key frames of most
such frames; here they teach the correction to see for itself, of which distortions alone, a small
part of a picture, teach too little."""
_RATE_HZ = 15.0
"""At which weather passes by."""


def clip_stream(
    recipe: Recipe, clips: Mapping[str, ClipSource], guide: Guide | None
) -> Dataset[dict[str, Tensor]]:
    """Samples for the recipe's role; to learn to correct, a key network is needed."""
    if recipe.role == "davss":
        return TripletStream(recipe, clips)
    return CorrectionStream(recipe, clips, needed(guide, recipe.name))


class _ClipStream(Dataset[dict[str, Tensor]]):
    def __init__(self, recipe: Recipe, sources: Mapping[str, ClipSource]) -> None:
        self._recipe = recipe
        self._sources = list(sources.values())
        shares = np.array([recipe.data[name] for name in sources])
        self._shares = shares / shares.sum()

    def _clip(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
        """A crop of a clip, through one lens and in one light, at times in weather."""
        augmentation = self._recipe.augmentation
        clip = self._sources[rng.choice(len(self._sources), p=self._shares)].draw(rng, numbers)
        clip = clip.cropped(draw_geometry(rng, augmentation.scales), self._recipe.crop)
        if rng.random() < augmentation.weather:
            clip = _in_weather(clip, rng, self._recipe, numbers)
        photometry = draw_photometry(rng, augmentation.photometry)
        grains = rng.integers(2**31, size=len(clip.images))
        images = [
            apply_photometry(image, replace(photometry, seed=int(grain)))
            for image, grain in zip(clip.images, grains, strict=True)
        ]
        return replace(clip, images=tuple(images))


def _in_weather(
    clip: Clip, rng: np.random.Generator, recipe: Recipe, numbers: Sequence[int]
) -> Clip:
    """The same weather over the whole clip: streaks fall, drops stay."""
    state = draw(recipe.augmentation.condition(rng), rng, recipe.augmentation.strength)
    images = [
        render(image, estimate_depth(image), state, number / _RATE_HZ)
        for image, number in zip(clip.images, numbers, strict=True)
    ]
    return replace(clip, images=tuple(images))


@dataclass(frozen=True)
class _Known:
    """A clip with what the key network makes of every frame: (T, K, h, w) float32 logits."""

    clip: Clip
    pictures: tuple[UInt8Array, ...]
    logits: Float32Array


class CorrectionStream(_ClipStream):
    """Frames some way behind a key frame, as the vehicle sees them.

    `image` (H/2, W/2, 3) uint8, `warped` (K, h, w) and `evidence` (E, h, w) float32 as
    `propagation.Step` has them; `seen` (K, h, w) float32, what the key network says of the frame
    itself; `labels` (H, W) int64 and `groups` as elsewhere.

    Args:
        guide: the key network.
    """

    def __init__(self, recipe: Recipe, sources: Mapping[str, ClipSource], guide: Guide) -> None:
        super().__init__(recipe, sources)
        self._guide = copy.deepcopy(guide)  # the run may take its own to a GPU
        self._recent: dict[int, _Known] = {}

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        first = number // (_TOGETHER * _OF_ONE) * _TOGETHER
        known = self._known(first + number % _TOGETHER)
        rng = np.random.default_rng((self._recipe.seed, number, 1))
        begin = int(rng.integers(0, len(known.pictures) - 1))
        end = int(rng.integers(begin + 1, len(known.pictures)))
        if rng.random() < _CUTS:
            other = self._known(first + (number + 1) % _TOGETHER)
            step = Propagation(other.pictures[begin], other.logits[begin]).step(
                known.pictures[end]
            )
        else:
            step = _carried(known, begin, end)
        return {
            "image": torch.from_numpy(step.picture),
            "warped": torch.from_numpy(step.warped),
            "evidence": torch.from_numpy(step.evidence),
            "seen": torch.from_numpy(known.logits[end]),
            **_answers(known.clip, end),
        }

    def _known(self, number: int) -> _Known:
        """A clip by its number; the last few are remembered."""
        if number not in self._recent:
            if len(self._recent) >= _TOGETHER:
                del self._recent[next(iter(self._recent))]
            self._recent[number] = self._know(number)
        return self._recent[number]

    def _know(self, number: int) -> _Known:
        rng = np.random.default_rng((self._recipe.seed, number))
        clip = self._clip(rng, range(LONGEST + 1))
        pictures = planes(torch.from_numpy(np.stack(clip.images)))
        with torch.no_grad():
            logits = self._guide(pictures).logits.float().numpy()
        return _Known(clip, tuple(halved(image) for image in clip.images), logits)


def _carried(known: _Known, begin: int, end: int) -> Step:
    propagation = Propagation(known.pictures[begin], known.logits[begin])
    for picture in known.pictures[begin + 1 : end + 1]:
        step = propagation.step(picture)
    return step


def _answers(clip: Clip, number: int) -> dict[str, Tensor]:
    return {
        "labels": torch.from_numpy(clip.labels[number].astype(np.int64)),
        "groups": torch.from_numpy(clip.label_map.groups),
    }


class TripletStream(_ClipStream):
    """The paper's samples: a key frame, one between, and a labelled frame up to 10 after the key.

    `first`, `second`, `third` (H, W, 3) uint8; `labels` and `groups` of the third;
    `flow_second` (2, H, W) float32, pixels from the second back to the first, and `flow_third`,
    from the third back to the second, NaN where unknown.
    """

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._recipe.seed, number))
        distance = int(rng.integers(2, LONGEST + 1))
        between = int(rng.integers(1, distance))
        clip = self._clip(rng, (0, between, distance))
        names = ("first", "second", "third")
        flows = {
            f"flow_{name}": torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))
            for name, flow in zip(names[1:], clip.flows[1:], strict=True)
        }
        images = map(torch.from_numpy, clip.images)
        return {**dict(zip(names, images, strict=True)), **flows, **_answers(clip, 2)}
