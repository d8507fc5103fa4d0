"""A minute of a hard drive on the real node, and that what checks it can find something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import open_pipeline
from adverse_perception.frames import Frame, Weather
from adverse_perception.pipeline import Pipeline, PipelineError
from benchmarks import marked_pictures
from benchmarks.growth import growth
from benchmarks.ledger import STUCK_S, Ledger, Picture, Result
from benchmarks.reliability import CAMERAS, SIZES, draw, survive, told
from benchmarks.trial_engines import MARKED_CLASSES, write_marked
from benchmarks.trouble import KINDS, plan

SEED = 1128
"""Of a plan that brings every engine, and every way in which they fail, within a minute."""
COUNTS = {"received": 1, "labelled": 1, "failed": 0, "lost_in_transport": 0}
PICTURE = Picture(10**9, "front_optical", (128, 96), 7)
LABELS = Result("front", "labels", 10**9, "front_optical", (128, 96), 7)


@pytest.mark.timeout(240)
def test_the_node_lives_through_a_minute_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))
    record = survive(tmp_path, 60.0, SEED)
    print(told(record))
    assert record["faults"] == []
    assert all(record["happened"][kind] >= 2 for kind in (*KINDS, "come"))
    for cause in ("labelled", "failed", "unusable", "out_of_order"):
        assert record["pictures"][cause] > 0, cause
    assert set(record["engines"]) == {"clear", "joint", "all_weather"}
    for kind in ("key", "between", "uncorrected"):
        assert record["frames"][kind] > 0, kind
    assert {"labels", "condition", "confidence", "overlay"} <= set(record["results"])
    draw(record, tmp_path / "course.png")
    assert (tmp_path / "course.png").stat().st_size > 1000


def test_a_plan_is_the_same_for_the_same_seed_and_ends_in_peace() -> None:
    events = plan(3, 60.0, CAMERAS, SIZES)
    assert events == plan(3, 60.0, CAMERAS, SIZES) != plan(4, 60.0, CAMERAS, SIZES)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    here: set[str] = set()
    for event in events:
        if event.kind == "come":
            assert event.camera not in here
            here.add(event.camera)
        elif event.camera:
            assert event.camera in here  # only who is there can be befallen
        here -= {event.camera} if event.kind == "leave" else set()
    assert here == set(CAMERAS)


# Engines that fail when a picture asks for it


@pytest.fixture(scope="module")
def marked_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marked(tmp_path_factory.mktemp("marked"))


def opened(engines: Path, **more: Any) -> Pipeline:
    return open_pipeline(PipelineConfig(engines_folder=str(engines), **more))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weather", Weather)
def test_labels_say_which_picture_they_are_of(
    marked_engines: Path, weather: Weather, size: tuple[int, int]
) -> None:
    pipeline = opened(marked_engines)
    for number in (0, 1, 682, 1023):
        pipeline.forget()
        said = pipeline.process(Frame(marked_pictures.draw(number, weather, size)))
        assert said.condition.weather is weather
        assert marked_pictures.read(said.labels).number == number


@pytest.mark.parametrize("size", SIZES)
def test_labels_between_key_frames_are_of_their_own_picture(
    marked_engines: Path, size: tuple[int, int]
) -> None:
    pipeline = opened(marked_engines, keyframe_interval=5)
    for step, number in enumerate((512, 1, 341, 682, 1)):
        picture = marked_pictures.draw(number, Weather.CLEAR, size)
        said = pipeline.process(Frame(picture, step * 10**8))
        read = marked_pictures.read(said.labels)
        assert said.keyframe is (step == 0)
        assert read.number == number
        assert read.classes == MARKED_CLASSES["correction" if step else "clear"]


def test_a_correction_that_fails_makes_a_key_frame(marked_engines: Path) -> None:
    pipeline, size = opened(marked_engines), SIZES[0]
    pipeline.process(Frame(marked_pictures.draw(1, Weather.CLEAR, size)))
    picture = marked_pictures.draw(2, Weather.CLEAR, size, (1,))
    said = pipeline.process(Frame(picture, 10**8))
    assert said.keyframe
    assert set(said.failures) == {"correction"}
    assert marked_pictures.read(said.labels).number == 2


def test_engines_fail_on_the_pictures_that_ask_for_it(marked_engines: Path) -> None:
    pipeline, size = opened(marked_engines), SIZES[0]

    def engine_of(*fails: int) -> str:
        pipeline.forget()
        picture = marked_pictures.draw(5, Weather.RAIN, size, fails)
        return pipeline.process(Frame(picture)).engine

    assert (engine_of(), set(pipeline.errors)) == ("joint", set())
    assert (engine_of(0), set(pipeline.errors)) == ("joint", set())
    assert (engine_of(1), set(pipeline.errors)) == ("clear", {"joint"})
    assert (engine_of(2), set(pipeline.errors)) == ("clear", {"joint", "weather"})
    with pytest.raises(PipelineError, match="joint and clear both failed"):
        engine_of(0, 1)


# What checks it


def book(*results: Result) -> Ledger:
    ledger = Ledger()
    ledger.connected("front", 0.0)
    ledger.sent("front", PICTURE)
    ledger.sent("front", replace(PICTURE, stamp_ns=2 * 10**9, number=8))
    for result in results:
        ledger.came(result, 1.0)
    return ledger


def test_results_of_their_pictures_in_order_are_no_fault() -> None:
    assert book(LABELS, replace(LABELS, stamp_ns=2 * 10**9, number=8)).faults == []


@pytest.mark.parametrize(
    ("results", "fault"),
    [
        ([replace(LABELS, stamp_ns=77)], "no picture sent"),
        ([replace(LABELS, camera="rear")], "no picture sent"),
        ([replace(LABELS, frame_id="rear_optical")], "found rear_optical"),
        ([replace(LABELS, size=(160, 120))], "found (160, 120)"),
        ([replace(LABELS, number=8)], "has number 7, found 8"),
        ([LABELS, LABELS], "came twice"),
        ([replace(LABELS, stamp_ns=2 * 10**9, number=8), LABELS], "after a newer one"),
    ],
)
def test_a_result_that_is_not_its_picture_s_is_a_fault(results: list[Result], fault: str) -> None:
    ledger = book(*results)
    assert len(ledger.faults) == 1
    assert fault in ledger.faults[0]


def test_a_camera_without_labels_for_long_is_a_fault() -> None:
    ledger = book(LABELS)
    ledger.gone("front", 1.0 + STUCK_S)
    assert ledger.faults == []
    ledger = book(LABELS)
    ledger.gone("front", 1.1 + STUCK_S)
    assert "no labels for 5.1 s" in ledger.faults[0]


def test_a_picture_that_nobody_counted_is_a_fault_but_in_the_first_moments() -> None:
    ledger = book(LABELS)
    ledger.close({"front": COUNTS})
    assert "1 of 2 pictures were neither received" in ledger.faults[0]
    for excuse in ({"lost_in_transport": 1}, {"received": 2, "failed": 1}):
        ledger = book(LABELS)
        ledger.close({"front": COUNTS | excuse})
        assert ledger.faults == []
    ledger = book(LABELS)
    ledger.sent("front", replace(PICTURE, stamp_ns=2 * 10**9, settled=False))
    assert ledger.close({"front": COUNTS})["unnoticed"] == 1
    assert ledger.faults == []


def test_a_picture_that_came_in_and_never_to_an_end_is_a_fault() -> None:
    ledger = book(LABELS)
    ledger.close({"front": COUNTS | {"received": 2}})
    assert "received 2 pictures, 1 came to an end" in ledger.faults[0]


def test_growth_beyond_noise_is_found_and_noise_is_none() -> None:
    times, noise = np.arange(120) / 2, np.random.default_rng(0).normal(0, 1, 120)
    steady = growth(times, 300 + noise, least=2.0)
    assert not steady.grows
    assert abs(steady.slope_per_min) < steady.slope_error + 1
    leaking = growth(times, 300 + noise + times, least=2.0)
    assert leaking.grows
    assert leaking.slope_per_min == pytest.approx(60, abs=5)
    warming = growth(times, 300 + noise - 200 * (times < 15), least=2.0)
    assert not warming.grows
