"""What fails or shows nothing between key frames: the frame is done again in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception import propagation
from adverse_perception.camera import Camera
from adverse_perception.config import NodeConfig
from adverse_perception.diagnostics import Surroundings, Trouble
from adverse_perception.engines import Engines
from adverse_perception.frames import Float32Array, Frame, UInt8Array
from adverse_perception.inference import EngineError
from adverse_perception.keyframes import KeyframeSegmenter, try_out
from adverse_perception.pipeline import PipelineError
from adverse_perception.roads import FLOW
from adverse_perception.segmenters import EngineSegmenter
from tests.moving import (
    CLEAR,
    FIVE,
    PERIOD_NS,
    Watched,
    correcting,
    correction,
    frames,
    kinds,
    plain,
    said_of,
    segmenter,
    shared,
    whole,
)
from tests.test_messages import header, image

__all__ = ["correction", "segmenter", "shared", "whole"]


def test_a_correction_engine_that_fails_is_told_and_tried_again(
    segmenter: KeyframeSegmenter, correction: Watched, whole: Watched
) -> None:
    drive = frames(8)
    correction.error = RuntimeError("out of memory")
    failed = said_of(segmenter, drive[:3])
    assert [one.keyframe for one in failed] == [True, True, True]
    assert [dict(one.failures) for one in failed] == [
        {},
        *[{"correction": "RuntimeError: out of memory"}] * 2,
    ]
    expected = EngineSegmenter(whole).segment(drive[2], CLEAR)
    np.testing.assert_array_equal(failed[2].labels, expected.labels)
    correction.error = None
    assert kinds(segmenter, drive[3:]) == "----K"


def test_both_failures_are_told_when_the_whole_network_fails_too(
    segmenter: KeyframeSegmenter, correction: Watched, whole: Watched
) -> None:
    drive = frames(3)
    said_of(segmenter, drive[:2])
    correction.error, whole.error = RuntimeError("out of memory"), RuntimeError("gone")
    with pytest.raises(EngineError, match=r"gone; before that, correction: .*out of memory"):
        segmenter.segment(drive[2], CLEAR)


def test_a_correction_engine_for_other_evidence_is_refused_when_it_is_loaded(
    tmp_path: Path, correction: Watched
) -> None:
    correction.error = EngineError("expected 5 planes")
    with pytest.raises(EngineError, match="6 of evidence, found: expected 5 planes; export"):
        try_out(correction)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_correction_that_means_nothing_is_a_failure(
    whole: Watched, tmp_path: Path, value: float
) -> None:
    segmenter = KeyframeSegmenter(whole, correcting(tmp_path, distortion=value), FIVE)
    found = said_of(segmenter, frames(2))
    assert found[1].keyframe
    assert "expected finite distortion" in found[1].failures["correction"]


def test_a_correction_of_another_shape_is_a_failure(
    segmenter: KeyframeSegmenter, correction: Watched
) -> None:
    run = correction.run
    correction.run = (
        lambda *given: {  # type: ignore[method-assign]
            name: values[:, 1:] for name, values in run(*given).items()
        }
    )
    found = said_of(segmenter, frames(2))
    assert found[1].keyframe
    assert "correct_and_label: expected" in found[1].failures["correction"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_flow_that_is_no_number_makes_a_key_frame(
    segmenter: KeyframeSegmenter, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    def mad(seen: UInt8Array, before: UInt8Array) -> Float32Array:
        return np.full((*seen.shape, 2), value, np.float32)

    monkeypatch.setattr(propagation, "_flow_estimator", lambda *_: mad)
    found = said_of(segmenter, frames(3))
    assert [one.keyframe for one in found] == [True] * 3
    assert "finite optical flow" in found[1].failures[FLOW]


def test_flow_that_fails_makes_a_key_frame(
    segmenter: KeyframeSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(seen: UInt8Array, before: UInt8Array) -> Float32Array:
        raise cv2.error("no memory")

    monkeypatch.setattr(propagation, "_flow_estimator", lambda *_: broken)
    assert "no memory" in said_of(segmenter, frames(2))[1].failures[FLOW]


def test_nothing_is_carried_on_over_a_frame_that_failed(
    segmenter: KeyframeSegmenter, whole: Watched
) -> None:
    drive = frames(8)
    assert kinds(segmenter, drive[:5]) == "K----"
    whole.error = RuntimeError("no disk")
    with pytest.raises(RuntimeError, match="no disk"):
        segmenter.segment(drive[5], CLEAR)
    whole.error = None
    assert kinds(segmenter, drive[6:]) == "K-"


def test_a_failing_correction_is_complained_of_by_its_name(
    shared: Engines, correction: Watched
) -> None:
    complaints: list[tuple[str, str]] = []
    camera = Camera(
        "front",
        shared.pipeline(FIVE),
        lambda _, cause, reason: complaints.append((cause, reason)),
    )
    correction.error = RuntimeError("out of memory")
    for frame in frames(3):
        sec, nanosec = divmod(frame.stamp_ns, 10**9)
        message = image("rgb8", frame.image, header=header(sec, nanosec))
        labelled = camera.label(camera.receive(message), NodeConfig())
        assert labelled and labelled.segmentation.engine == "clear"
    assert [cause for cause, _ in complaints] == [Trouble.UNCORRECTED] * 2
    assert "correction failed on 2 frame(s): RuntimeError" in complaints[-1][1]
    status = camera.health.status(0.0, Surroundings(silent_after_s=1e9))
    assert "key frames stand in" in status.message
    assert camera.pipeline.errors["correction"].count == 2


def test_when_the_whole_network_fails_too_the_frame_is_given_up(
    shared: Engines, correction: Watched, whole: Watched
) -> None:
    pipeline = shared.pipeline(FIVE)
    pipeline.process(frames(1)[0])
    correction.error = whole.error = RuntimeError("no power")
    with pytest.raises(PipelineError, match="clear failed: no power"):
        pipeline.process(frames(1, begin=1)[0])


@pytest.mark.parametrize("value", [0, 255])
def test_a_black_or_saturated_frame_begins_anew_and_so_does_what_follows(
    segmenter: KeyframeSegmenter, value: int
) -> None:
    drive = frames(8)
    for number in (2, 3):
        drive[number] = replace(drive[number], image=plain(value))
    found = said_of(segmenter, drive)
    assert "".join("K" if one.keyframe else "-" for one in found) == "K-K-K---"
    assert not any(one.failures for one in found)


def test_a_camera_may_show_nothing_from_its_first_frame(segmenter: KeyframeSegmenter) -> None:
    drive = [Frame(plain(0), n * PERIOD_NS) for n in range(3)]
    assert kinds(segmenter, drive) == "K--"
