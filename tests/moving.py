"""A camera that drives by, and engines that are watched, for tests of key frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame, Segmentation, UInt8Array, Weather
from adverse_perception.inference import NO_MAPS, Engine, load_engine
from adverse_perception.keyframes import KeyframeSegmenter
from adverse_perception.pipeline import Pipeline
from adverse_perception.segmenters import Segmenter
from adverse_perception.weather import certain
from tests.conftest import write_correction_engine

CLEAR = certain(Weather.CLEAR)
PERIOD_NS = 66_000_000
SIZE = 96, 128  # as the tiny engines work at
FIVE = PipelineConfig(keyframe_interval=5)


def scene(number: int, seed: int = 0) -> UInt8Array:
    """Frame `number` of a camera that drives by, (96, 128, 3) uint8 RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)
    wide = cv2.resize(noise, (320, SIZE[0]), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(wide[:, 20 + number : 20 + number + SIZE[1]])


def frames(count: int, begin: int = 0) -> list[Frame]:
    return [Frame(scene(number), number * PERIOD_NS) for number in range(begin, begin + count)]


def plain(value: int) -> UInt8Array:
    return np.full((*SIZE, 3), value, np.uint8)


class Watched:
    """A real engine that counts its runs and fails when told to."""

    def __init__(self, engine: Engine) -> None:
        self.metadata, self.name = engine.metadata, engine.name
        self.runs = 0
        self.error: Exception | None = None
        self._engine = engine

    def run(
        self, image: UInt8Array, outputs: tuple[str, ...] = (), maps: Mapping[str, Any] = NO_MAPS
    ) -> Mapping[str, Any]:
        self.runs += 1
        if self.error:
            raise self.error
        return self._engine.run(image, outputs, maps)


@pytest.fixture
def whole(engines_path: Path) -> Watched:
    return Watched(load_engine(engines_path / "clear.onnx"))


@pytest.fixture
def correction(correction_engines_path: Path) -> Watched:
    return Watched(load_engine(correction_engines_path / "correction.onnx"))


@pytest.fixture
def segmenter(whole: Watched, correction: Watched) -> KeyframeSegmenter:
    return KeyframeSegmenter(whole, correction, FIVE)


def correcting(path: Path, **told: Any) -> Engine:
    return load_engine(write_correction_engine(path / "correction.onnx", **told))


def said_of(segmenter: Segmenter, drive: Iterable[Frame]) -> list[Segmentation]:
    return [segmenter.segment(frame, CLEAR) for frame in drive]


def kinds(segmenter: Segmenter | Pipeline, drive: Iterable[Frame]) -> str:
    """One letter a frame: K for a key frame, - for one between."""
    if isinstance(segmenter, Pipeline):
        said = [segmenter.process(frame) for frame in drive]
    else:
        said = said_of(segmenter, drive)
    return "".join("K" if one.keyframe else "-" for one in said)


def engines(clear: Engine, other: Engine, correction: Engine | None) -> Engines:
    routes = dict.fromkeys(Weather, other) | {Weather.CLEAR: clear}
    return Engines(None, routes, correction)


@pytest.fixture
def shared(whole: Watched, correction: Watched, engines_path: Path) -> Engines:
    return engines(whole, load_engine(engines_path / "all_weather.onnx"), correction)
