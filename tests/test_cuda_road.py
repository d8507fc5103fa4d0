"""The road of a frame on a GPU, held to the road on the CPU: on a stand-in, and on a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.cuda_road import open_road
from adverse_perception.engines import Engines, open_pipeline
from adverse_perception.frames import Weather
from adverse_perception.inference import (
    BatchingEngine,
    PlanSettings,
)
from adverse_perception.kernels import gpu as gpu_kernels
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.keyframes import KeyframeSegmenter
from adverse_perception.propagation import EVIDENCE
from adverse_perception.roads import RoadSegmenter
from adverse_perception.segmenters import SEGMENTERS
from tests.conftest import write_correction_engine
from tests.flow_warps import installed
from tests.moving import CLEAR, FIVE, SIZE, frames, said_of, scene
from tests.test_device import ROOT, WAYS, fake_driver

pytest.importorskip("tensorrt_rtx")

from tests.cuda_roads import (
    DRIVES,
    EXACT,
    NEARLY,
    ROUNDED,
    Load,
    check_agreement,
    check_cameras,
    check_drive,
    config,
    device,
    folder,
    host,
    load,
    load_on_gpu,
    loading,
    plans,
    road_of,
    seen_at,
    segmenter_of,
    stand_in,
)
from tests.stand_in_tensorrt import StandIn

__all__ = ["config", "device", "fake_driver", "folder", "load", "load_on_gpu", "plans", "stand_in"]


@pytest.mark.parametrize(("size", "corrected", "share"), DRIVES)
def test_a_drive_is_labelled_as_on_the_cpu(
    load: Load, folder: Path, size: tuple[int, int], corrected: bool, share: float
) -> None:
    check_drive(load, folder, size, corrected, share)


@pytest.mark.gpu
@pytest.mark.parametrize(("size", "corrected", "share"), DRIVES)
def test_on_a_gpu_a_drive_is_labelled_as_on_the_cpu(
    load_on_gpu: Load, folder: Path, size: tuple[int, int], corrected: bool, share: float
) -> None:
    check_drive(load_on_gpu, folder, size, corrected, share + ROUNDED)


DRIVE_ON_THE_DRIVER = """
import ctypes, sys
from pathlib import Path
import pytest
from adverse_perception.inference import PlanSettings
from adverse_perception.kernels import device, sharing
from tests import cuda_roads as road, host_device, moving
from tests.stand_in_tensorrt import StandIn

sys.modules["adverse_perception.kernels." + sys.argv[1]] = None
folder, driver, kept = Path(sys.argv[2]), ctypes.CDLL("libcuda.so.1"), []

def put(stream, deed):
    kept.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: deed()))
    assert driver.cuLaunchHostFunc(ctypes.c_void_p(stream), kept[-1], None) == 0

patch = pytest.MonkeyPatch()
StandIn(patch)
patch.setattr(sharing, "open_device", device.open_device)
patch.setattr(host_device, "put", put)
load = road.loading(folder, PlanSettings(folder / "plans"))
for size, corrected, share in road.DRIVES:
    road.check_drive(load, folder, size, corrected, share)
road.check_cameras(load)
engine = load("clear")
one = road.road_of(engine, load("correction"))
moving.said_of(road.KeyframeSegmenter(engine, None, moving.FIVE, one), moving.frames(12))
print("refused:", one.without_graphs or "nothing", "by", type(engine.gpu.device).__name__)
del one, engine
print("taken", driver.fake_taken())
"""


@pytest.mark.parametrize(("package", "other", "name"), WAYS)
def test_a_driver_takes_the_road_by_either_package(
    fake_driver: Path, folder: Path, package: str, other: str, name: str
) -> None:
    if not installed(package):
        pytest.skip(f"{package} is not installed")
    shown = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", DRIVE_ON_THE_DRIVER, other, folder],
        env={**os.environ, "LD_LIBRARY_PATH": str(fake_driver)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == f"refused: nothing by {name}\ntaken 0\n"


@pytest.mark.gpu
def test_on_a_gpu_work_is_captured(load_on_gpu: Load) -> None:
    engine, correction = load_on_gpu("clear"), load_on_gpu("correction")
    road = road_of(engine, correction)
    said_of(KeyframeSegmenter(engine, correction, FIVE, road), frames(12))
    assert road.without_graphs == ""


@pytest.mark.gpu
def test_on_a_gpu_cameras_do_not_disturb_each_other(load_on_gpu: Load) -> None:
    check_cameras(load_on_gpu, ROUNDED)


@pytest.mark.parametrize("name", ["clear", "joint"])
@pytest.mark.parametrize(("size", "share"), [(SIZE, EXACT), ((97, 131), NEARLY)])
def test_every_frame_by_itself_is_labelled_as_on_the_cpu(
    load: Load, folder: Path, name: str, size: tuple[int, int], share: float
) -> None:
    engine, other = load(name), host(folder, name)
    drive = seen_at(frames(4), size)
    found = said_of(RoadSegmenter(name, road_of(engine, None)), drive)
    wanted = said_of(SEGMENTERS[other.metadata.role](other), drive)
    check_agreement(found, wanted, share)
    assert list(found[0].timing_ms) == list(wanted[0].timing_ms)


def test_a_frame_that_is_to_be_restored_is_restored(load: Load, folder: Path) -> None:
    engine, other = load("joint"), host(folder, "joint")
    drive = [replace(frame, restore=number == 1) for number, frame in enumerate(frames(3))]
    for found, wanted in (
        (RoadSegmenter("joint", road_of(engine, None)), SEGMENTERS["joint"](other)),
        (segmenter_of(engine, load("correction")), KeyframeSegmenter(other, None, FIVE)),
    ):
        said, expected = said_of(found, drive), said_of(wanted, drive)
        assert [one.restored is not None for one in said] == [False, True, False]
        np.testing.assert_array_equal(said[1].restored, expected[1].restored)
        assert [one.keyframe for one in said] == [one.keyframe for one in expected]


def test_stages_bear_the_names_they_have_on_the_cpu(load: Load) -> None:
    key, between = said_of(segmenter_of(load("clear"), load("correction")), frames(2))
    assert list(key.timing_ms) == ["resize", "infer", "label"]
    assert list(between.timing_ms) == ["resize", "flow", "correct", "label"]


def test_cameras_do_not_disturb_each_other(load: Load) -> None:
    check_cameras(load)


def test_cameras_that_take_turns_do_not_disturb_each_other(load: Load) -> None:
    engine, correction = load("clear"), load("correction")
    front, rear = (segmenter_of(engine, correction) for _ in range(2))
    drive = frames(6)
    wanted = said_of(segmenter_of(engine, correction), drive)
    turns = [(front.segment(f, CLEAR), rear.segment(replace(f, image=scene(50 - n)), CLEAR))
        for n, f in enumerate(drive)]  # fmt: skip
    check_agreement([said for said, _ in turns], wanted, 0)


def test_a_correction_sees_the_evidence_that_it_sees_on_the_cpu(
    load: Load, folder: Path, tmp_path: Path
) -> None:
    write_correction_engine(tmp_path / "correction.onnx", evidence=len(EVIDENCE))
    correction = loading(tmp_path, PlanSettings(tmp_path / "plans"))("correction")
    other = KeyframeSegmenter(host(folder, "clear"), host(tmp_path, "correction"), FIVE)
    drive = frames(5)
    drive[3] = replace(drive[3], image=np.roll(drive[3].image, 9, axis=0))  # flows disagree
    found, wanted = said_of(segmenter_of(load("clear"), correction), drive), said_of(other, drive)
    check_agreement(found, wanted, EXACT)
    for one, expected in zip(found[1:], wanted[1:], strict=True):
        assert one.distortion == pytest.approx(expected.distortion, abs=1e-5)


def test_a_pipeline_takes_the_road_on_the_gpu_where_its_engines_lie_there(
    stand_in: StandIn, config: PipelineConfig
) -> None:
    drive = frames(6)
    told: list[str] = []
    engines = Engines.load(config, told.append)
    pipeline = engines.pipeline(config)
    told.clear()
    found = [pipeline.process(frame) for frame in drive]
    assert (told, engines.stand_ins) == ([], [])
    assert stand_in.devices[0].captures == 3
    other = open_pipeline(replace(config, backend="onnxruntime"))
    check_agreement(found, [other.process(frame) for frame in drive], EXACT)


def test_engines_that_are_to_run_in_batches_do_not_take_the_road(load: Load) -> None:
    assert open_road(BatchingEngine(load("clear"), 2), None) is None


def test_without_a_compiler_for_our_kernels_frames_are_labelled_on_the_cpu_and_that_is_said(
    stand_in: StandIn, config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> bytes:
        raise DeviceError("flow_warp.cu: expected nvcc or cuda-bindings to compile it")

    monkeypatch.setattr(gpu_kernels, "built", nothing)
    engines = Engines.load(config)
    (line,) = engines.stand_ins
    assert re.match("frames come down from the GPU.*on the CPU.*expected nvcc", line)
    pipeline = engines.pipeline(config)
    found = [pipeline.process(frame) for frame in frames(4)]
    assert stand_in.devices[0].captures == 0
    other = open_pipeline(replace(config, backend="onnxruntime"))
    check_agreement(found, [other.process(frame) for frame in frames(4)], 0)


def test_engines_that_lie_elsewhere_go_the_cpus_road(load: Load, folder: Path) -> None:
    here = host(folder, "clear")
    assert open_road(here, None) is None
    assert open_road(load("clear"), host(folder, "correction")) is None
    assert Engines(None, dict.fromkeys(Weather, here)).pipeline(FIVE) is not None
