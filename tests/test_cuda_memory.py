"""What a road takes on a GPU, what it replays there, and what it gives back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adverse_perception.cuda_road import open_road
from adverse_perception.inference import EngineError
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.keyframes import KeyframeSegmenter
from tests.moving import CLEAR, FIVE, SIZE, frames, kinds, said_of

pytest.importorskip("tensorrt_rtx")

from tests.cuda_roads import (
    EXACT,
    NEARLY,
    Load,
    check_agreement,
    device,
    folder,
    host,
    load,
    road_of,
    seen_at,
    segmenter_of,
    stand_in,
)
from tests.host_device import HostDevice
from tests.stand_in_tensorrt import StandIn

__all__ = ["device", "folder", "load", "stand_in"]


def test_after_the_first_frames_of_each_kind_nothing_is_taken_and_all_is_replayed(
    load: Load, device: HostDevice
) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    said_of(segmenter, frames(7))  # two key frames and five between
    said_of(segmenter, frames(1, begin=7))
    before = device.allocations
    assert device.captures == 3  # look, whole, corrected
    replays = device.replays
    segmenter.reconfigure(replace(FIVE, corrected=False))
    said_of(segmenter, frames(10, begin=8))
    assert device.captures == 4  # carried
    assert device.replays == replays + 20 - 1  # two a frame, but the first that is carried
    assert device.allocations == before


def test_another_shape_is_captured_anew_and_the_old_memory_given_back(
    load: Load, folder: Path, device: HostDevice
) -> None:
    sizes = [SIZE] * 4 + [(72, 96)] * 4 + [SIZE] * 4
    drive = [seen_at([frame], size)[0] for frame, size in zip(frames(12), sizes, strict=True)]
    segmenter = segmenter_of(load("clear"), load("correction"))
    taken = len(device.taken)
    found = [segmenter.segment(frame, CLEAR) for frame in drive[:4]]
    held, captures = len(device.taken), device.captures
    found += [segmenter.segment(frame, CLEAR) for frame in drive[4:]]
    assert taken < len(device.taken) <= held + 1
    assert (captures, device.captures, len(device.graphs)) == (2, 6, 2)
    other = KeyframeSegmenter(host(folder, "clear"), host(folder, "correction"), FIVE)
    check_agreement(found, said_of(other, drive), NEARLY)


def test_a_road_gives_back_all_it_took(load: Load, device: HostDevice) -> None:
    engine, correction = load("clear"), load("correction")
    before = len(device.taken)
    segmenter = segmenter_of(engine, correction)
    said_of(segmenter, frames(6))
    assert len(device.taken) > before
    del segmenter
    assert len(device.taken) == before
    assert device.graphs == {}


@pytest.mark.parametrize("room", [0, 1, 7, 20])
def test_too_little_memory_is_an_error_that_takes_none_of_it(
    load: Load, device: HostDevice, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    before, allocations = len(device.taken), device.allocations
    really = device.pinned

    def scarcely(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if device.allocations - allocations >= room:
            raise DeviceError("allocate: out of memory")
        return really(shape, dtype)

    monkeypatch.setattr(device, "pinned", scarcely)
    with pytest.raises(EngineError, match=r"engine clear failed on .*out of memory"):
        segmenter.segment(frames(1)[0], CLEAR)
    assert len(device.taken) == before
    monkeypatch.setattr(device, "pinned", really)
    assert kinds(segmenter, frames(3)) == "K--"


def test_engines_of_a_process_share_one_gpu_and_their_weights(
    stand_in: StandIn, load: Load
) -> None:
    engine, correction = load("clear"), load("correction")
    roads = [road_of(engine, correction) for _ in range(3)]
    assert len(stand_in.devices) == 1
    assert [one.name for one in stand_in.runtime.engines] == ["clear", "correction"]
    assert [one.contexts for one in stand_in.runtime.engines] == [1 + len(roads)] * 2
    del engine, correction, roads  # nothing waits for the garbage collector
    assert stand_in.devices[0].closed


def test_labels_outlive_the_next_frame(load: Load) -> None:
    segmenter = segmenter_of(load("clear"), load("correction"))
    drive = frames(7)
    kept = [segmenter.segment(frame, CLEAR) for frame in drive]
    copies = [(one.labels.copy(), one.confidence.copy()) for one in kept]
    said_of(segmenter, frames(4, begin=30))
    for one, (labels, confidence) in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(one.labels, labels)
        np.testing.assert_array_equal(one.confidence, confidence)


def test_what_cannot_be_captured_is_done_piece_by_piece_and_that_is_said_once(
    load: Load, folder: Path, device: HostDevice
) -> None:
    device.capturable = False
    engine, correction = load("clear"), load("correction")
    told: list[str] = []
    road = open_road(engine, correction, told.append)
    assert road is not None
    segmenter = KeyframeSegmenter(engine, correction, FIVE, road)
    found = said_of(segmenter, frames(8))
    (line,) = told
    assert re.search("no CUDA graph can be made.*error 900", line)
    assert "error 900" in road.without_graphs
    assert device.attempts == 3  # each piece of work once
    other = KeyframeSegmenter(host(folder, "clear"), host(folder, "correction"), FIVE)
    check_agreement(found, said_of(other, frames(8)), EXACT)
