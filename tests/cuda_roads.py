"""Roads on a GPU, or on a stand-in for one, and how they are compared with those on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.cuda_road import CudaRoad, open_road
from adverse_perception.frames import Frame, Segmentation
from adverse_perception.inference import (
    Engine,
    PlanSettings,
    load_engine,
)
from adverse_perception.inference.tensorrt_module import usable
from adverse_perception.keyframes import KeyframeSegmenter
from tests.conftest import write_correction_engine, write_engines, write_joint_engine
from tests.moving import FIVE, SIZE, frames, said_of, scene

pytest.importorskip("tensorrt_rtx")

from tests.host_device import HostDevice
from tests.stand_in_tensorrt import StandIn

Load = Callable[[str], Engine]
"""From an engine's name to the engine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an engine of every role."""
    path = write_engines(tmp_path_factory.mktemp("every_role"))
    write_joint_engine(path / "joint.onnx", ["clear"])
    write_correction_engine(path / "correction.onnx")
    return path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PlanSettings:
    return PlanSettings(tmp_path_factory.mktemp("plans"))


def loading(folder: Path, plans: PlanSettings) -> Load:
    return lambda name: load_engine(folder / f"{name}.onnx", backend="tensorrt", plans=plans)


@pytest.fixture
def load(stand_in: StandIn, folder: Path, tmp_path: Path) -> Load:
    return loading(folder, PlanSettings(tmp_path / "plans"))


@pytest.fixture
def device(stand_in: StandIn, load: Load) -> Iterator[HostDevice]:
    held = load("weather")
    yield stand_in.devices[0]
    assert held.name == "weather"


def host(folder: Path, name: str) -> Engine:
    return load_engine(folder / f"{name}.onnx")


def road_of(*engines: Engine | None) -> CudaRoad:
    road = open_road(*engines)
    assert road is not None
    return road


def segmenter_of(engine: Engine, correction: Engine | None) -> KeyframeSegmenter:
    return KeyframeSegmenter(engine, correction, FIVE, road_of(engine, correction))


def seen_at(drive: list[Frame], size: tuple[int, int]) -> list[Frame]:
    """The drive as a camera of another size sees it."""
    return [
        replace(frame, image=np.asarray(cv2.resize(frame.image, size[::-1]), np.uint8))
        for frame in drive
    ]


def check_agreement(found: list[Segmentation], wanted: list[Segmentation], share: float) -> None:
    """Labels and confidence are the same but for a share of the pixels, all else entirely."""
    for one, other in zip(found, wanted, strict=True):
        assert one.labels.shape == other.labels.shape
        assert (one.keyframe, one.engine) == (other.keyframe, other.engine)
        assert set(one.failures) == set(other.failures)
        assert one.distortion == pytest.approx(other.distortion, abs=2e-3)
        assert (one.labels != other.labels).mean() <= share
        apart = np.abs(one.confidence.astype(int) - other.confidence)
        assert (apart > 1).mean() <= share


EXACT, NEARLY = 0.0005, 0.03
"""Share of pixels that rounding may decide; resampled pictures are off by a grey value."""
ROUNDED = 0.02
"""The same for a GPU, whose networks may count in TF32 (ten bits) and choose among kernels."""
DRIVES = [(SIZE, True, EXACT), (SIZE, False, EXACT), ((120, 160), True, NEARLY),
    ((72, 96), True, NEARLY), ((100, 112), False, NEARLY), ((160, 288), True, NEARLY)]  # fmt: skip


def check_drive(
    load: Load, folder: Path, size: tuple[int, int], corrected: bool, share: float
) -> None:
    drive = seen_at(frames(8), size)
    name = "correction" if corrected else None
    found = said_of(segmenter_of(load("clear"), load(name) if name else None), drive)
    other = KeyframeSegmenter(host(folder, "clear"), host(folder, name) if name else None, FIVE)
    assert "".join("K" if one.keyframe else "-" for one in found) == "K----K--"
    assert len(np.unique(found[-1].labels)) > 2
    check_agreement(found, said_of(other, drive), share)


@pytest.fixture
def load_on_gpu(folder: Path, plans: PlanSettings) -> Load:
    if not usable():
        pytest.skip("needs tensorrt or tensorrt_rtx")
    return loading(folder, plans)


def check_cameras(load: Load, share: float = 0) -> None:
    """Two cameras, each in its own thread, say what each says when it is alone."""
    engine, correction = load("clear"), load("correction")
    drives = [frames(12), [replace(f, image=scene(40 - n, 5)) for n, f in enumerate(frames(12))]]
    wanted = [said_of(segmenter_of(engine, correction), drive) for drive in drives]
    found: dict[int, list[Segmentation]] = {}

    def work(number: int, segmenter: KeyframeSegmenter) -> None:
        found[number] = said_of(segmenter, drives[number])

    segmenters = [segmenter_of(engine, correction) for _ in drives]
    threads = [threading.Thread(target=work, args=one) for one in enumerate(segmenters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, expected in enumerate(wanted):
        check_agreement(found[number], expected, share)


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> PipelineConfig:
    return PipelineConfig(
        engines_folder=str(folder), backend="tensorrt", plans_folder=str(tmp_path / "plans"),
        condition="clear", keyframe_interval=3,
    )  # fmt: skip
