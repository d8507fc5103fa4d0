"""Short videos to learn propagation from: drawn streets, moved stills, and recorded sequences.

Few data sets have video with labels, so two of three kinds are made: a drawn street is driven
along, with exact labels and optical flow; a labelled still is seen from before and behind, as if
the car had driven up to it (its ground and walls move rightly, nothing else moves by itself).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import CLASS_NAMES, UNLABELLED
from training.datasets import Labelled, LabelMap, Pair, read_image
from training.datasets.label_maps import label_map
from training.recipes import Recipe
from training.sources import Source, kept_names, open_packs
from training.street import Street
from training.synthesis import estimate_depth
from training.transforms import Geometry, affine, warp_map, warp_picture

_SPEED_MPS = 9.0
_INTERVALS_S = (1 / 30, 1 / 8)
"""Shortest and longest time between two frames: at 9 m/s as a car of 5 to 16 m/s at 15 Hz."""
_STEPS_M = (0.0, 1.1)
"""How far a car drives from frame to frame."""
_TURN_PX = 3.0
"""How far, about, the picture turns meanwhile."""
_NEAREST_M = 1.5
"""Nothing comes nearer to the camera."""
_HORIZON = 0.45
"""Its height, in shares from the top."""
_SIZE = (480, 360)
"""Width and height of a drawn clip."""
OURS = label_map(
    {number: number for number in range(len(CLASS_NAMES))},
    {number: (name,) for number, name in enumerate(CLASS_NAMES)},
    range(256),
)
"""How the renderer's labels are to be read: as they are."""


@dataclass(frozen=True)
class Clip:
    """Some frames of a video, in order.

    Attributes:
        images: (H, W, 3) uint8 RGB each.
        labels: (H, W) uint8 each; all `UNLABELLED` where a frame has none.
        label_map: what the labels mean.
        flows: (H, W, 2) float32 each, pixels from a frame back to the one before it in the clip,
            NaN where unknown; the first frame's are all NaN.
    """

    images: tuple[UInt8Array, ...]
    labels: tuple[UInt8Array, ...]
    label_map: LabelMap
    flows: tuple[Float32Array, ...]

    def cropped(self, geometry: Geometry, size: tuple[int, int]) -> Clip:
        """The same crop of `size` (height, width) of every frame."""
        return replace(
            self,
            images=tuple(warp_picture(image, geometry, size) for image in self.images),
            labels=tuple(warp_map(one, geometry, size, UNLABELLED) for one in self.labels),
            flows=tuple(_cropped_flow(flow, geometry, size) for flow in self.flows),
        )


def _cropped_flow(flow: Float32Array, geometry: Geometry, size: tuple[int, int]) -> Float32Array:
    """Vectors turn and stretch as the picture does."""
    linear = affine(geometry, flow.shape[:2], size)[:, :2].astype(np.float32)
    planes = [warp_map(np.ascontiguousarray(flow[..., i]), geometry, size, np.nan) for i in (0, 1)]
    return np.asarray(np.stack(planes, -1) @ linear.T, np.float32)


class ClipSource(Protocol):
    """Where clips come from."""

    def draw(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
        """The frames of a video with these numbers, increasing."""
        ...


class DrivenStreets:
    """Drives along streets nobody has seen before, with exact labels and flow."""

    def draw(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
        """See `ClipSource.draw`."""
        interval_s = float(np.exp(rng.uniform(*np.log(_INTERVALS_S))))
        length_m = float(rng.uniform(60, 140))
        begin_s = float(rng.uniform(0, 0.2 * length_m / _SPEED_MPS))
        stamps = [begin_s + number * interval_s for number in numbers]
        street = Street.draw(
            int(rng.integers(1 << 31)),
            size=_SIZE,
            length_m=length_m,
            speed=_SPEED_MPS,
            sharp_to_m=stamps[-1] * _SPEED_MPS + 25.0,
        )
        gaps = [0.0, *(before - after for before, after in pairwise(stamps))]
        views = [street.render(at, gap) for at, gap in zip(stamps, gaps, strict=True)]
        flows = [_unknown(views[0].labels.shape), *(view.flow for view in views[1:])]
        return Clip(
            tuple(view.image for view in views),
            tuple(view.labels for view in views),
            OURS,
            tuple(flows),
        )


class MovedStills:
    """Labelled stills of a pack, seen from where the car was and from where it would be."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def draw(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
        """See `ClipSource.draw`."""
        drawn = self._source.draw(rng)
        labels = drawn.label_map.likeliest(drawn.labels)
        depth_m = np.nan_to_num(estimate_depth(drawn.image, labels), posinf=1e4)
        depth_m = np.asarray(cv2.GaussianBlur(depth_m, (0, 0), drawn.image.shape[1] / 160))
        here, step_m = int(rng.choice(numbers)), float(rng.uniform(*_STEPS_M))
        turn_px = rng.normal(0, _TURN_PX, 2)
        trembling = rng.normal(0, 0.7, (len(numbers), 2))
        images, moved = [], []
        for number, tremble in zip(numbers, trembling, strict=True):
            away = number - here
            places = _seen_from(depth_m, away * step_m, away * turn_px + tremble)
            images.append(_looked_up(drawn.image, places))
            moved.append(_labels_at(drawn.labels, places))
        unknown = tuple(_unknown(drawn.labels.shape) for _ in numbers)
        return Clip(tuple(images), tuple(moved), drawn.label_map, unknown)


Places = tuple[Float32Array, Float32Array]


def _seen_from(depth_m: Float32Array, ahead_m: float, turn_px: Float32Array) -> Places:
    """Where in the still, x and y, each pixel of a camera lies that stands so many metres on.

    What that camera sees z metres away, the still sees z + ahead metres away, nearer to its
    centre. The depth of the one is taken for that of the other, which is right on the ground.
    """
    height, width = depth_m.shape
    shrunk = depth_m / np.maximum(depth_m + np.float32(ahead_m), _NEAREST_M)
    column = np.arange(width, dtype=np.float32) - width / 2
    row = (np.arange(height, dtype=np.float32) - _HORIZON * height)[:, None]
    x = shrunk * column + width / 2 + turn_px[0]
    y = shrunk * row + _HORIZON * height + turn_px[1] / 3
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _looked_up(image: UInt8Array, places: Places) -> UInt8Array:
    seen = cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(seen, np.uint8)


def _labels_at(labels: UInt8Array, places: Places) -> UInt8Array:
    seen = cv2.remap(labels, *places, cv2.INTER_NEAREST, borderValue=(UNLABELLED,))
    return np.asarray(seen, np.uint8)


class Recorded:
    """Videos around labelled frames, as Cityscapes' sequences: the labelled frame comes last.

    Frames are counted as the data set has them, at 17 Hz in Cityscapes and 30 in CamVid's videos.
    """

    def __init__(self, pack: Labelled) -> None:
        """Take the pairs of a pack that have neighbours before them; there must be some."""
        self._pack = pack
        self._numbers = [n for n, pair in enumerate(pack.pairs) if has_video(pair)]

    def draw(self, rng: np.random.Generator, numbers: Sequence[int]) -> Clip:
        """See `ClipSource.draw`."""
        number = self._numbers[int(rng.integers(len(self._numbers)))]
        pair, sample = self._pack.pairs[number], self._pack.sample(number, paired=False)
        if sample.neighbours is not pair.neighbours:  # a broken picture: the next one was taken
            pair = next(one for one in self._pack.pairs if one.neighbours is sample.neighbours)
        before = [pair.cut(read_image(_nearest(pair, at - numbers[-1]))) for at in numbers[:-1]]
        bare = np.full_like(sample.labels, UNLABELLED)
        unknown = _unknown(sample.labels.shape)
        return Clip(
            (*before, sample.image),
            (*(bare for _ in before), sample.labels),
            self._pack.label_map,
            tuple(unknown for _ in numbers),
        )


def has_video(pair: Pair) -> bool:
    """There are frames of the same camera before it."""
    return any(distance < 0 for distance in pair.neighbours)


def _nearest(pair: Pair, distance: int) -> Path:
    """The frame at a distance, or the nearest to it that the data set has."""
    before = [at for at in pair.neighbours if at < 0]
    known = min(before, key=lambda at: (abs(at - distance), at))
    return pair.neighbours[known]


def _unknown(shape: tuple[int, ...]) -> Float32Array:
    return np.full((*shape[:2], 2), np.nan, np.float32)


def open_clips(
    recipe: Recipe,
    data: Path,
    leave_out: Sequence[str] = (),
    with_val: Sequence[str] = (),
    *,
    skip_broken: bool = False,
) -> dict[str, ClipSource]:
    """A source of clips for every data set of a recipe that is not left out.

    Data sets with frames before the labelled ones give these, others their stills, moved; `street`
    is driven along. Raises `DatasetError` as `sources.open_sources`.
    """
    names = kept_names(recipe, leave_out)
    still = [name for name in names if name != "street"]
    packs = open_packs(recipe, still, data, with_val, skip_broken=skip_broken)
    return {name: _clips_of(packs[name]) if name in packs else DrivenStreets() for name in names}


def _clips_of(pack: Labelled) -> ClipSource:
    recorded = any(has_video(pair) for pair in pack.pairs)
    return Recorded(pack) if recorded else MovedStills(Source(pack))
