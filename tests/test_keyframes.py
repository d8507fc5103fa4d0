"""Key frames and the frames between: which is which, and what is said of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from adverse_perception import kernels, segmenters
from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame, UInt8Array, Weather
from adverse_perception.inference import Engine, load_engine
from adverse_perception.keyframes import KeyframeSegmenter
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import Propagation, halved
from adverse_perception.segmenters import EngineSegmenter
from adverse_perception.weather import certain
from tests.conftest import write_joint_engine
from tests.moving import (
    CLEAR,
    FIVE,
    PERIOD_NS,
    SIZE,
    Watched,
    correcting,
    correction,
    frames,
    kinds,
    said_of,
    scene,
    segmenter,
    shared,
    whole,
)

__all__ = ["correction", "segmenter", "shared", "whole"]

RAIN = certain(Weather.RAIN)


@pytest.mark.parametrize(
    ("interval", "expected"), [(1, "KKKKKKKK"), (2, "K-K-K-K-"), (3, "K--K--K-"), (50, "K-------")]
)
def test_every_nth_frame_goes_through_the_whole_network(
    segmenter: KeyframeSegmenter, whole: Watched, interval: int, expected: str
) -> None:
    segmenter.reconfigure(replace(FIVE, keyframe_interval=interval))
    assert kinds(segmenter, frames(8)) == expected
    assert whole.runs == expected.count("K")


def test_an_interval_of_one_is_every_frame_by_itself(
    segmenter: KeyframeSegmenter, whole: Watched, correction: Watched
) -> None:
    segmenter.reconfigure(replace(FIVE, keyframe_interval=1))
    for frame in frames(3):
        found = segmenter.segment(frame, CLEAR)
        expected = EngineSegmenter(whole).segment(frame, CLEAR)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.confidence, expected.confidence)
        assert list(found.timing_ms) == list(expected.timing_ms)
    assert correction.runs == 0


def test_key_frames_are_labelled_as_without_any_memory(
    segmenter: KeyframeSegmenter, whole: Watched
) -> None:
    drive = frames(6)
    found = said_of(segmenter, drive)
    for number in (0, 5):
        expected = EngineSegmenter(whole).segment(drive[number], CLEAR)
        np.testing.assert_array_equal(found[number].labels, expected.labels)


def expected_between(
    whole: Engine, correction: Engine | None, drive: list[Frame]
) -> tuple[UInt8Array, UInt8Array]:
    """Labels and confidence of the last frame of a drive that began with a key frame."""
    moved = Propagation(halved(drive[0].image), whole.run(drive[0].image)["logits"])
    for frame in drive[1:]:
        step = moved.step(halved(frame.image))
    if correction is None:
        return kernels.label(step.warped, *SIZE)
    maps = {"warped": step.warped, "evidence": step.evidence}
    found = correction.run(step.picture, (), maps)
    return kernels.correct_and_label(
        step.warped, found["correction"], found["distortion"][0], *SIZE
    )


@pytest.mark.parametrize("corrected", [True, False])
def test_between_them_the_last_key_frame_is_warped_and_corrected(
    whole: Watched, correction: Watched, corrected: bool
) -> None:
    engine = correction if corrected else None
    drive = frames(4)
    found = said_of(KeyframeSegmenter(whole, engine, FIVE), drive)[-1]
    labels, confidence = expected_between(whole, engine, drive)
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.confidence, confidence)
    assert not found.keyframe
    assert (found.distortion is not None) == corrected


def test_pure_propagation_follows_the_camera(whole: Watched) -> None:
    drive = frames(5)
    found = said_of(KeyframeSegmenter(whole, None, FIVE), drive)
    by_itself = EngineSegmenter(whole).segment(drive[-1], CLEAR).labels
    right = (found[-1].labels == by_itself)[:, 8:-8].mean()
    assert right > 0.85
    assert right > (found[0].labels == by_itself)[:, 8:-8].mean() + 0.1


def test_what_is_distorted_is_said_by_the_correction_engine(
    whole: Watched, tmp_path: Path
) -> None:
    engine = correcting(tmp_path, distortion=1.0, favourite=CLASS_NAMES.index("pole"))
    found = said_of(KeyframeSegmenter(whole, engine, FIVE), frames(2))
    assert found[1].distortion == 1
    np.testing.assert_array_equal(found[1].labels, CLASS_NAMES.index("pole"))
    assert (found[0].distortion, found[0].failures) == (None, {})


def test_every_stage_is_timed_by_kind_of_frame(segmenter: KeyframeSegmenter) -> None:
    key, between = said_of(segmenter, frames(2))
    assert list(key.timing_ms) == ["resize", "infer", "label"]
    assert list(between.timing_ms) == ["resize", "flow", "correct", "label"]
    assert all(duration > 0 for duration in between.timing_ms.values())


def test_the_stages_are_all_there_is(
    segmenter: KeyframeSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    monkeypatch.setattr(segmenters, "perf_counter", lambda: looks.append(0.0) or len(looks) ** 2)
    for frame in frames(2):
        found = segmenter.segment(frame, CLEAR)
        assert sum(found.timing_ms.values()) == pytest.approx((len(looks) ** 2 - 1) * 1e3)
        looks.clear()


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ((0, 0.1, 0.55, 0.65), "K---"),
        ((0, 0.1, 0.7, 0.8), "K-K-"),  # a pause
        ((0, 0, 0.1, 0.1), "K---"),  # repeated
        ((0, 0, 0, 0), "K---"),  # no stamps
        ((1, 1.1, 1.05, 1.15), "K-K-"),  # one that was overtaken
        ((9, 9.1, 3.0, 3.1), "K-K-"),  # another drive
    ],
)
def test_stamps_tell_when_to_begin_anew(
    segmenter: KeyframeSegmenter, times_s: tuple[float, ...], expected: str
) -> None:
    drive = [Frame(scene(n), round(time_s * 1e9)) for n, time_s in enumerate(times_s)]
    assert kinds(segmenter, drive) == expected


def test_a_missing_frame_is_no_reason_to_begin_anew(segmenter: KeyframeSegmenter) -> None:
    drive = frames(5)
    del drive[2]
    assert kinds(segmenter, drive) == "K---"


def test_the_same_frame_again_is_labelled_the_same(whole: Watched) -> None:
    drive = [Frame(scene(0), n * PERIOD_NS) for n in range(4)]
    found = said_of(KeyframeSegmenter(whole, None, FIVE), drive)
    assert (found[-1].labels == found[0].labels).mean() > 0.97


@pytest.mark.parametrize("size", [(48, 64), (192, 256), (40, 200), (16, 16), (9, 900), (1, 1)])
def test_another_size_begins_anew(segmenter: KeyframeSegmenter, size: tuple[int, int]) -> None:
    drive = frames(6)
    for number in (2, 3):
        pixels = cv2.resize(drive[number].image, size[::-1], interpolation=cv2.INTER_AREA)
        drive[number] = Frame(np.asarray(pixels, np.uint8), drive[number].stamp_ns)
    found = said_of(segmenter, drive)
    assert "".join("K" if one.keyframe else "-" for one in found) == "K-K-K-"
    assert [one.labels.shape for one in found] == [frame.image.shape[:2] for frame in drive]


def test_a_camera_cut_begins_anew(segmenter: KeyframeSegmenter) -> None:
    drive = frames(8)
    for number in range(3, 8):
        drive[number] = replace(drive[number], image=scene(number, seed=3))
    assert kinds(segmenter, drive) == "K--K----"


def test_distortion_above_the_limit_does_the_frame_again(whole: Watched, tmp_path: Path) -> None:
    segmenter = KeyframeSegmenter(whole, correcting(tmp_path, distortion=0.25), FIVE)
    assert kinds(segmenter, frames(5)) == "K----"
    segmenter.reconfigure(replace(FIVE, distortion_limit=0.2))
    found = said_of(segmenter, frames(2, begin=5))
    assert [one.keyframe for one in found] == [True, True]
    assert found[1].distortion == pytest.approx(0.25)
    assert list(found[1].timing_ms) == ["resize", "flow", "correct", "infer", "label"]
    expected = EngineSegmenter(whole).segment(frames(1, begin=6)[0], CLEAR)
    np.testing.assert_array_equal(found[1].labels, expected.labels)
    segmenter.reconfigure(replace(FIVE, distortion_limit=0.3))
    assert kinds(segmenter, frames(2, begin=7)) == "--"


def test_a_frame_that_is_to_be_restored_goes_through_the_whole_network(
    correction: Watched, tmp_path: Path
) -> None:
    joint = load_engine(write_joint_engine(tmp_path / "joint.onnx", ["clear"]))
    segmenter = KeyframeSegmenter(joint, correction, FIVE)
    drive = frames(8)
    for number in (2, 3):
        drive[number] = replace(drive[number], restore=True)
    found = said_of(segmenter, drive)
    assert "".join("K" if one.keyframe else "-" for one in found) == "K-KKK---"
    assert [one.restored is not None for one in found] == [n in (2, 3) for n in range(8)]


def test_a_route_that_cannot_restore_goes_on_as_before(segmenter: KeyframeSegmenter) -> None:
    drive = [replace(frame, restore=True) for frame in frames(3)]
    assert kinds(segmenter, drive) == "K--"


def test_what_is_forgotten_is_not_carried_on(segmenter: KeyframeSegmenter) -> None:
    assert kinds(segmenter, frames(2)) == "K-"
    segmenter.forget()
    assert kinds(segmenter, frames(2, begin=2)) == "K-"


def test_weathers_that_are_wanted_are_carried_on_and_those_that_are_known_corrected(
    segmenter: KeyframeSegmenter, correction: Watched
) -> None:
    def kind(number: int, condition: Any) -> bool:
        return segmenter.segment(frames(1, begin=number)[0], condition).keyframe

    assert [kind(n, CLEAR) for n in range(2)] == [True, False]
    assert [kind(n, RAIN) for n in range(2, 4)] == [True, True]
    assert [kind(n, CLEAR) for n in range(4, 6)] == [True, False]
    segmenter.reconfigure(replace(FIVE, propagated=("clear", "rain")))
    corrected = correction.runs
    assert not kind(6, RAIN)
    assert correction.runs == corrected  # it has never seen rain


def test_a_change_of_route_begins_anew(shared: Engines) -> None:
    pipeline = shared.pipeline(FIVE)
    assert kinds(pipeline, frames(3)) == "K--"
    pipeline.reconfigure(replace(FIVE, condition="rain"))
    assert kinds(pipeline, frames(2, begin=3)) == "KK"
    pipeline.reconfigure(FIVE)
    assert kinds(pipeline, frames(2, begin=5)) == "K-"


def test_forgetting_the_camera_begins_anew(shared: Engines) -> None:
    pipeline = shared.pipeline(FIVE)
    assert kinds(pipeline, frames(2)) == "K-"
    pipeline.forget()
    assert kinds(pipeline, frames(2, begin=2)) == "K-"


def test_cameras_share_engines_but_no_key_frames(shared: Engines) -> None:
    front, rear = shared.pipeline(FIVE), shared.pipeline(FIVE)
    for number, frame in enumerate(frames(6)):
        assert front.process(frame).keyframe == (number % 5 == 0)
        if number >= 2:
            assert rear.process(frame).keyframe == (number == 2)


def test_correction_may_be_left_out_while_driving(
    segmenter: KeyframeSegmenter, correction: Watched
) -> None:
    segmenter.reconfigure(replace(FIVE, corrected=False))
    found = said_of(segmenter, frames(4))
    assert [one.keyframe for one in found] == [True, False, False, False]
    assert all(one.distortion is None for one in found)
    assert not correction.runs
    segmenter.reconfigure(FIVE)
    assert segmenter.segment(frames(5)[4], CLEAR).distortion is not None


def test_the_interval_may_be_changed_while_driving(shared: Engines) -> None:
    pipeline = shared.pipeline(replace(FIVE, keyframe_interval=1))
    assert kinds(pipeline, frames(3)) == "KKK"
    pipeline.reconfigure(replace(FIVE, keyframe_interval=3))
    assert kinds(pipeline, frames(5, begin=3)) == "K--K-"
    pipeline.reconfigure(replace(FIVE, propagated=("fog",)))
    assert kinds(pipeline, frames(2, begin=8)) == "KK"


def test_without_a_correction_engine_every_frame_is_a_key_frame(engines_path: Path) -> None:
    config = PipelineConfig(engines_folder=str(engines_path), condition="clear")
    loaded = Engines.load(config)
    assert loaded.correction is None
    assert kinds(loaded.pipeline(config), frames(3)) == "KKK"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_correction_engine_in_the_folder_is_used(
    correction_engines_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    folder = str(correction_engines_path)
    config = replace(FIVE, engines_folder=folder, condition="clear", backend=backend)
    pipeline = Engines.load(config).pipeline(config)
    found = [pipeline.process(frame) for frame in frames(6)]
    assert [one.keyframe for one in found] == [True, *[False] * 4, True]
    assert {one.engine for one in found} == {"clear"}
    assert not pipeline.errors
