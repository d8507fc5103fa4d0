"""What fails or shows nothing on a GPU: told and stood in for as on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adverse_perception import propagation
from adverse_perception.frames import UInt8Array
from adverse_perception.inference import (
    EngineError,
    PlanSettings,
    read_metadata,
    write_metadata,
)
from adverse_perception.keyframes import KeyframeSegmenter
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.roads import FLOW, RoadSegmenter
from adverse_perception.segmenters import EngineSegmenter
from tests.conftest import write_correction_engine
from tests.moving import CLEAR, FIVE, frames, kinds, plain, said_of, scene
from tests.test_replay import spoil

pytest.importorskip("tensorrt_rtx")

from tests.cuda_roads import (
    Load,
    folder,
    host,
    load,
    loading,
    road_of,
    segmenter_of,
    stand_in,
)
from tests.host_device import STREAMS
from tests.stand_in_tensorrt import StandIn

__all__ = ["folder", "load", "stand_in"]


def test_a_camera_cut_and_a_black_picture_begin_anew(load: Load) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    drive = frames(10)
    for number in range(3, 6):
        drive[number] = replace(drive[number], image=scene(number, seed=3))
    for number in (6, 7):
        drive[number] = replace(drive[number], image=plain(0))
    assert kinds(segmenter, drive) == "K--K--K-K-"


def test_distortion_above_the_limit_does_the_frame_again(load: Load, folder: Path) -> None:
    engine, correction = load("clear"), load("correction")
    segmenter = segmenter_of(engine, correction)
    said_of(segmenter, frames(2))
    segmenter.reconfigure(replace(FIVE, distortion_limit=1e-6))
    said = segmenter.segment(frames(3)[2], CLEAR)
    assert said.keyframe
    assert said.distortion is not None and said.distortion > 1e-6
    assert list(said.timing_ms) == ["resize", "flow", "correct", "infer", "label"]
    wanted = EngineSegmenter(host(folder, "clear")).segment(frames(3)[2], CLEAR)
    np.testing.assert_array_equal(said.labels, wanted.labels)


def test_a_correction_that_fails_is_told_and_tried_again(stand_in: StandIn, load: Load) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    drive = frames(12)
    assert kinds(segmenter, drive[:2]) == "K-"
    stand_in.break_("correction")
    failed = said_of(segmenter, drive[2:3])
    assert not any(STREAMS.values())  # what was put there before it failed is done
    failed += said_of(segmenter, drive[3:4])
    assert [one.keyframe for one in failed] == [True, True]
    assert all(set(one.failures) == {"correction"} for one in failed)
    stand_in.break_("correction", False)
    assert kinds(segmenter, drive[4:]) == "----K---"


def test_a_network_that_fails_is_an_error_and_the_next_frame_a_key_frame(
    stand_in: StandIn, load: Load
) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    assert kinds(segmenter, frames(5)) == "K----"
    stand_in.break_("clear")
    with pytest.raises(EngineError, match=r"engine clear failed on \(96, 128, 3\)"):
        segmenter.segment(frames(6)[5], CLEAR)
    assert not any(STREAMS.values())
    stand_in.break_("clear", False)
    assert kinds(segmenter, frames(2, begin=6)) == "K-"


def test_both_failures_are_told_when_the_whole_network_fails_too(
    stand_in: StandIn, load: Load
) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    said_of(segmenter, frames(2))
    stand_in.break_("correction")
    stand_in.break_("clear")
    with pytest.raises(EngineError, match=r"clear failed.*; before that, correction: EngineError"):
        segmenter.segment(frames(3)[2], CLEAR)


def test_logits_that_are_no_numbers_are_an_error(
    stand_in: StandIn, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "clear.onnx").write_bytes((folder / "clear.onnx").read_bytes())
    spoil(tmp_path / "clear.onnx")
    engine = loading(tmp_path, PlanSettings(tmp_path / "plans"))("clear")
    with pytest.raises(EngineError, match="engine clear: expected finite logits"):
        RoadSegmenter("clear", road_of(engine, None)).segment(frames(1)[0], CLEAR)


def changed(engine: Path, to: Path, name: str, values: np.ndarray) -> Path:
    """The engine with other weights of one name, while its description stays good."""
    metadata, model = read_metadata(engine), onnx.load(engine)
    weights = next(one for one in model.graph.initializer if one.name == name)
    weights.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    onnx.save(model, to)
    write_metadata(to, metadata)
    return to


def test_a_correction_whose_logits_are_no_numbers_is_a_failure(
    load: Load, folder: Path, tmp_path: Path
) -> None:
    planes = np.full((1, len(CLASS_NAMES), 1, 1), np.inf)
    changed(folder / "correction.onnx", tmp_path / "correction.onnx", "planes", planes)
    correction = loading(tmp_path, PlanSettings(tmp_path / "plans"))("correction")
    found = said_of(segmenter_of(load("clear"), correction), frames(2))
    assert found[1].keyframe
    assert "expected finite correction" in found[1].failures["correction"]


def test_logits_too_far_apart_to_be_carried_make_key_frames(
    load: Load, folder: Path, tmp_path: Path
) -> None:
    bias = np.zeros(len(CLASS_NAMES))
    bias[:2] = 3e38, -3e38  # the difference is no number
    changed(folder / "clear.onnx", tmp_path / "clear.onnx", "bias", bias)
    engine = loading(tmp_path, PlanSettings(tmp_path / "plans"))("clear")
    found = said_of(segmenter_of(engine, load("correction")), frames(3))
    other = KeyframeSegmenter(host(tmp_path, "clear"), host(folder, "correction"), FIVE)
    with np.errstate(all="ignore"):
        wanted = said_of(other, frames(3))
    assert [one.keyframe for one in found] == [one.keyframe for one in wanted] == [True] * 3
    assert set(found[1].failures) == set(wanted[1].failures) == {FLOW}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_correction_that_is_no_number_is_a_failure(
    load: Load, tmp_path: Path, value: float
) -> None:
    write_correction_engine(tmp_path / "correction.onnx", distortion=value)
    correction = loading(tmp_path, PlanSettings(tmp_path / "plans"))("correction")
    found = said_of(segmenter_of(load("clear"), correction), frames(2))
    assert found[1].keyframe
    assert "expected finite distortion" in found[1].failures["correction"]


def test_flow_that_is_no_number_makes_a_key_frame(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mad(seen: UInt8Array, before: UInt8Array) -> np.ndarray:
        return np.full((*seen.shape, 2), np.nan, np.float32)

    monkeypatch.setattr(propagation, "_flow_estimator", lambda *_: mad)
    found = said_of(segmenter_of(load("clear"), load("correction")), frames(3))
    assert [one.keyframe for one in found] == [True] * 3
    assert "finite optical flow" in found[1].failures[FLOW]


def test_a_picture_that_the_correction_does_not_take_is_a_key_frame(
    stand_in: StandIn, load: Load
) -> None:
    engine, correction = load("clear"), load("correction")
    stand_in.runtime.engines[-1].sizes = [(1, 8, 8), (1, 8, 8), (1, 16, 16)]
    found = said_of(segmenter_of(engine, correction), frames(4))
    assert [one.keyframe for one in found] == [True] * 4
    assert all("expected a shape from" in one.failures["correction"] for one in found[1:])
