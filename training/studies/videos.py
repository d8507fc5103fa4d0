"""The videos that propagation is judged on: CamVid's dense run and drives along drawn streets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from adverse_perception import kernels
from adverse_perception.frames import Float32Array, UInt8Array, Weather
from adverse_perception.inference import Engine
from training.datasets import open_pack
from training.drive import STRENGTHS, Drive
from training.synthesis import draw, estimate_depth, render
from training.trials import TEST_SEED
from training.video_scores import VideoFrame, seen

RATE_HZ = 15.0
DRIVES = (101, 102, 103)
"""Seeds of the drives; neither training nor the sample drive uses them."""
DRIVE_FRAMES = 60
_BEGIN_S = 2.0
_AGREE_PX = 1.0
"""Forward and backward flow that differ by more do not see the same surface."""


@dataclass(frozen=True)
class Scene:
    """A frame as the camera sees it, with labels and the flow to the frame before it."""

    image: UInt8Array
    labels: UInt8Array
    flow: Float32Array


def camvid(data: Path, weather: Weather, count: int | None = None) -> list[Scene]:
    """CamVid's `val`: 101 consecutive labelled frames at 15 Hz, in steady weather if wished.

    The flow is Farneback's, on the pictures without weather: independent of the one on trial.
    """
    pack = open_pack(data / "camvid", "val")
    loaded = [pack.load(number) for number in range(count or len(pack.pairs))]
    flows = _farneback([image for image, _ in loaded])
    images = _weathered([image for image, _ in loaded], weather)
    return [
        Scene(image, labels, flow)
        for image, (_, labels), flow in zip(images, loaded, flows, strict=True)
    ]


def _weathered(images: Sequence[UInt8Array], weather: Weather) -> list[UInt8Array]:
    if weather is Weather.CLEAR:
        return list(images)
    state = draw(weather, np.random.default_rng((TEST_SEED, 4)), STRENGTHS[weather])
    return [
        render(image, estimate_depth(image), state, number / RATE_HZ)
        for number, image in enumerate(images)
    ]


def _farneback(images: Sequence[UInt8Array]) -> list[Float32Array]:
    greys = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in images]
    flows = [np.full((*greys[0].shape, 2), np.nan, np.float32)]
    for before, now in pairwise(greys):
        back, forth = (_flow_between(*two) for two in ((now, before), (before, now)))
        flows.append(_agreed(back, forth))
    return flows


def _flow_between(one: UInt8Array, other: UInt8Array) -> Float32Array:
    start = np.zeros((*one.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(one, other, start, 0.5, 5, 21, 3, 7, 1.5, 0)
    return np.asarray(flow, np.float32)


def _agreed(back: Float32Array, forth: Float32Array) -> Float32Array:
    """The flow back, NaN where the flow forth does not return."""
    returned = kernels.warp(np.ascontiguousarray(forth.transpose(2, 0, 1)), back)
    apart = np.linalg.norm(back + returned.transpose(1, 2, 0), axis=-1)
    return np.where((apart < _AGREE_PX)[..., None], back, np.float32(np.nan))


def drive(seed: int, weather: Weather, count: int = DRIVE_FRAMES) -> list[Scene]:
    """A stretch of a drive in one weather, with the renderer's labels and flow."""
    drawn = Drive.draw(seed)
    street, interval_s, scenes = drawn.street, 1 / RATE_HZ, []
    forth: Float32Array | None = None
    for number in tqdm(range(count), desc=f"drive {seed}", leave=False):
        at_s = _BEGIN_S + number * interval_s
        back = street.render(at_s, -interval_s).flow
        known = np.full_like(back, np.nan) if forth is None else _agreed(back, forth)
        view = street.render(at_s, interval_s)
        scenes.append(Scene(drawn.in_weather(weather, view, at_s), view.labels, known))
        forth = view.flow
    return scenes


def through(scenes: Sequence[Scene], key: Engine) -> list[VideoFrame]:
    """The scenes as the key network sees them."""
    return [seen(one.image, one.labels, key, one.flow) for one in scenes]


def videos(
    data: Path, weather: Weather, seeds: Sequence[int] = DRIVES, count: int = DRIVE_FRAMES
) -> Iterator[tuple[str, list[list[Scene]]]]:
    """Both worlds by name; the drives are videos of their own that are scored together."""
    yield "CamVid val", [camvid(data, weather)]
    yield "drawn drives", [drive(seed, weather, count) for seed in seeds]
