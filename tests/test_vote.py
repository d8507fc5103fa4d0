"""The weather of a car with several cameras."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Condition, Frame, Weather
from adverse_perception.pipeline import Pipeline
from adverse_perception.vote import SHARED, Vote
from adverse_perception.weather import certain
from tests.conftest import WEATHER_BRIGHTNESS, grey
from tests.test_pipeline import Failing

CLEAR, RAIN, FOG, NIGHT = Weather
S = 10**9
weathers = st.sampled_from(list(Weather))


def said(vote: Vote, *weathers: Weather, at_s: float = 100.0) -> list[Weather]:
    """What the car makes of it when its cameras say so, one after another."""
    return [
        vote.cast(f"camera {number}", certain(weather), round(at_s * S)).weather
        for number, weather in enumerate(weathers)
    ]


@given(st.lists(weathers, min_size=1, max_size=30))
def test_one_camera_is_its_own_majority(seen: list[Weather]) -> None:
    vote = Vote()
    for number, weather in enumerate(seen):
        condition = certain(weather)
        assert vote.cast("front", condition, number * S) == condition


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("other", [CLEAR, RAIN])
def test_a_covered_camera_does_not_change_the_weather_of_the_car(
    shared: Weather, other: Weather
) -> None:
    vote = Vote()
    said(vote, other, other, other)
    assert said(vote, shared, other, other) == [CLEAR, other, other]
    said(vote, shared, shared, shared)
    assert said(vote, CLEAR, shared, shared) == [shared, shared, shared]


def test_an_outvoted_camera_says_what_it_would_have_said() -> None:
    vote = Vote()
    said(vote, NIGHT, NIGHT, NIGHT)
    condition = vote.cast("camera 0", certain(CLEAR), 100 * S)
    assert (condition.weather, condition.alone, condition.scores[CLEAR]) == (NIGHT, CLEAR, 1.0)
    assert vote.cast("camera 1", certain(NIGHT), 100 * S).alone is None


def test_rain_is_each_cameras_own() -> None:
    assert said(Vote(), RAIN, CLEAR, RAIN, RAIN) == [RAIN, CLEAR, RAIN, RAIN]
    vote = Vote()
    said(vote, NIGHT, NIGHT, NIGHT)
    assert said(vote, RAIN, NIGHT, NIGHT) == [RAIN, NIGHT, NIGHT]


def test_a_camera_whose_night_is_outvoted_goes_by_the_best_of_its_own_weathers() -> None:
    vote = Vote()
    said(vote, CLEAR, CLEAR, CLEAR)
    wet = Condition(NIGHT, {CLEAR: 0.1, RAIN: 0.2, FOG: 0.1, NIGHT: 0.6})
    assert vote.cast("camera 0", wet, 100 * S).weather is RAIN


def test_a_tie_changes_nothing() -> None:
    vote = Vote()
    assert said(vote, CLEAR, NIGHT) == [CLEAR, CLEAR]
    assert said(vote, NIGHT, NIGHT)[-1] is NIGHT
    assert said(vote, CLEAR, NIGHT) == [NIGHT, NIGHT]
    assert said(vote, CLEAR, CLEAR)[-1] is CLEAR


@given(
    cameras=st.integers(1, 6),
    casts=st.lists(st.tuples(st.integers(0, 5), weathers), min_size=1, max_size=60),
)
def test_the_car_is_in_one_shared_weather_at_a_time_and_by_a_majority(
    cameras: int, casts: list[tuple[int, Weather]]
) -> None:
    vote, opinions = Vote(), {}
    for camera, weather in casts:
        opinions[camera % cameras] = weather
        held = vote.cast(f"{camera % cameras}", certain(weather), 0).weather
        if held in SHARED:  # there was a majority, and there is at least a tie
            assert 2 * list(opinions.values()).count(held) >= len(opinions)
        for shared in SHARED:
            if 2 * list(opinions.values()).count(shared) > len(opinions):
                assert held is (RAIN if weather is RAIN else shared)


def test_what_a_camera_said_long_ago_does_not_count() -> None:
    vote = Vote()
    said(vote, CLEAR, CLEAR, NIGHT)
    assert vote.cast("camera 2", certain(NIGHT), 106 * S).weather is NIGHT


def test_what_a_camera_said_is_taken_back_with_it() -> None:
    vote = Vote()
    said(vote, NIGHT, NIGHT, CLEAR)
    for camera in ("camera 0", "camera 1"):
        vote.withdraw(camera)
    vote.withdraw("who?")
    assert vote.cast("camera 2", certain(CLEAR), 100 * S).weather is CLEAR


class Car:
    """Pipelines of one car over real tiny engines."""

    def __init__(self, folder: Path, **config: object) -> None:
        self.config = PipelineConfig(engines_folder=str(folder), classifier_interval=1, **config)  # type: ignore[arg-type]
        self.engines = Engines.load(self.config)
        vote = Vote()
        self.cameras = {
            name: self.engines.pipeline(self.config, vote) for name in ("front", "left", "right")
        }
        self.time_ns = 100 * S

    def see(self, *weathers: Weather) -> list[Weather]:
        self.time_ns += S // 15
        return [
            self.label(pipeline, name, weather)
            for (name, pipeline), weather in zip(self.cameras.items(), weathers, strict=True)
        ]

    def label(self, pipeline: Pipeline, name: str, weather: Weather) -> Weather:
        frame = Frame(grey(WEATHER_BRIGHTNESS[weather]), self.time_ns, name)
        return pipeline.process(frame).condition.weather


def test_a_dark_camera_takes_the_route_of_the_car(engines_path: Path) -> None:
    car = Car(engines_path)
    car.see(CLEAR, CLEAR, CLEAR)
    for _ in range(60):
        found = car.see(NIGHT, CLEAR, RAIN)
    assert found == [CLEAR, CLEAR, RAIN]
    for _ in range(60):
        found = car.see(NIGHT, NIGHT, RAIN)
    assert found == [NIGHT, NIGHT, RAIN]


def test_without_a_vote_every_camera_goes_its_own_way(engines_path: Path) -> None:
    car = Car(engines_path, weather_vote=False)
    assert car.see(NIGHT, CLEAR, FOG) == [NIGHT, CLEAR, FOG]


def test_a_camera_that_begins_a_new_drive_has_no_say_until_it_has_looked(
    engines_path: Path,
) -> None:
    car = Car(engines_path)
    car.see(NIGHT, NIGHT, CLEAR)
    for name in ("front", "left"):
        car.cameras[name].forget()
    assert car.label(car.cameras["right"], "right", CLEAR) is CLEAR


def test_a_camera_whose_classifier_fails_has_no_say(engines_path: Path) -> None:
    car = Car(engines_path)
    assert car.engines.weather is not None
    broken = Failing(car.engines.weather)
    broken.error = RuntimeError("out of memory")
    vote = Vote()
    engines = Engines(broken, car.engines.routes)
    blind = engines.pipeline(car.config, vote)
    dark = car.engines.pipeline(car.config, vote)
    car.label(blind, "left", CLEAR)
    assert car.label(dark, "front", NIGHT) is NIGHT
