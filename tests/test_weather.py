from __future__ import annotations

import math
from dataclasses import replace
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.config import ConfigError, PipelineConfig, configured, knobs
from adverse_perception.frames import Frame, Weather
from adverse_perception.inference import Engine, load_engine
from adverse_perception.weather import WeatherClassifier, maximum_delay_s
from tests.conftest import WEATHER_BRIGHTNESS, grey

weathers = st.sampled_from(list(Weather))
margins = st.floats(0.05, 0.6)
RATE_HZ = 15
PICTURES = {weather: grey(value, 8, 8) for weather, value in WEATHER_BRIGHTNESS.items()}


@pytest.fixture(scope="module")
def engine(engines_path: Path) -> Engine:
    return load_engine(engines_path / "weather.onnx")


class Camera:
    """A camera in a world whose weather the test sets."""

    def __init__(self, engine: Engine | None, config: PipelineConfig) -> None:
        self.classifier = WeatherClassifier(engine, config)
        self.time_s = 100.0

    def see(self, weather: Weather, frames: int = 1, rate_hz: float = RATE_HZ) -> list[Weather]:
        """The routes taken while frames of that weather come in."""
        routes = []
        for _ in range(frames):
            self.time_s += 1 / rate_hz
            routes.append(self.look(weather))
        return routes

    def look(self, weather: Weather) -> Weather:
        frame = Frame(PICTURES[weather], round(self.time_s * 1e9))
        return self.classifier.observe(frame).weather


def changes(routes: list[Weather]) -> int:
    return sum(one is not other for one, other in pairwise(routes))


@pytest.mark.parametrize("weather", Weather)
def test_the_first_frame_decides_alone(engine: Engine, weather: Weather) -> None:
    assert Camera(engine, PipelineConfig()).see(weather) == [weather]


def test_the_engine_sees_the_picture_at_its_own_size(engine: Engine) -> None:
    picture = np.zeros((480, 641, 3), np.uint8)
    picture[::2] = 60  # half of the rows: on average night
    condition = WeatherClassifier(engine, PipelineConfig()).observe(Frame(picture))
    assert condition.weather is Weather.NIGHT
    assert sum(condition.scores.values()) == pytest.approx(1)
    assert list(condition.scores) == list(Weather)


@settings(max_examples=60, deadline=None)
@given(
    before=weathers,
    after=weathers,
    interval=st.integers(1, 12),
    smoothing_s=st.floats(0.0, 3.0),
    margin=margins,
    hold_s=st.floats(0.0, 2.0),
    rate_hz=st.floats(5, 60),
    stay=st.integers(1, 40),
)
def test_a_true_change_is_taken_within_the_documented_delay(
    engine: Engine,
    before: Weather,
    after: Weather,
    interval: int,
    smoothing_s: float,
    margin: float,
    hold_s: float,
    rate_hz: float,
    stay: int,
) -> None:
    config = PipelineConfig(
        classifier_interval=interval, smoothing_s=smoothing_s, switch_margin=margin, hold_s=hold_s
    )
    camera = Camera(engine, config)
    camera.see(before, stay, rate_hz)
    allowed = math.ceil(maximum_delay_s(config, rate_hz) * rate_hz) + 1
    routes = camera.see(after, allowed, rate_hz)
    assert routes[-1] is after
    assert changes(routes) <= 1


@settings(max_examples=40, deadline=None)
@given(
    first=weathers,
    second=weathers,
    interval=st.integers(1, 4),
    rate_hz=st.floats(11, 60),
    frames=st.integers(1, 90),
)
def test_evidence_that_alternates_from_look_to_look_does_not_move_the_route(
    engine: Engine,
    first: Weather,
    second: Weather,
    interval: int,
    rate_hz: float,
    frames: int,
) -> None:
    camera = Camera(engine, PipelineConfig(classifier_interval=interval))
    camera.see(first, round(5 * rate_hz), rate_hz)
    routes = []
    for number in range(frames):
        seen = (second, first)[number // interval % 2]
        routes += camera.see(seen, 1, rate_hz)
    assert set(routes) == {first}


@settings(max_examples=30, deadline=None)
@given(evidence=st.lists(weathers, min_size=2, max_size=120), hold_s=st.floats(0.2, 3))
def test_two_changes_are_never_closer_than_the_hold(
    engine: Engine, evidence: list[Weather], hold_s: float
) -> None:
    config = PipelineConfig(
        classifier_interval=1, smoothing_s=0.0, switch_margin=0.05, hold_s=hold_s
    )
    camera = Camera(engine, config)
    routes = [camera.see(weather)[0] for weather in evidence]
    changed = [n for n in range(1, len(routes)) if routes[n] is not routes[n - 1]]
    gaps = np.diff(changed) / RATE_HZ
    assert (gaps > hold_s - 1e-6).all()


def test_one_odd_frame_does_not_move_the_route(engine: Engine) -> None:
    camera = Camera(engine, PipelineConfig(classifier_interval=1))
    camera.see(Weather.RAIN, 30)
    routes = camera.see(Weather.FOG) + camera.see(Weather.RAIN, 30)
    assert set(routes) == {Weather.RAIN}


def test_time_counts_not_frames(engine: Engine) -> None:
    def delay_s(rate_hz: float) -> float:
        camera = Camera(engine, PipelineConfig(classifier_interval=1, hold_s=0.0))
        camera.see(Weather.CLEAR, 30, rate_hz)
        routes = camera.see(Weather.NIGHT, round(3 * rate_hz), rate_hz)
        return routes.index(Weather.NIGHT) / rate_hz

    assert delay_s(60) == pytest.approx(delay_s(10), abs=0.11)


def test_only_every_nth_frame_is_looked_at(engine: Engine) -> None:
    camera = Camera(engine, PipelineConfig(classifier_interval=5, smoothing_s=0.0, hold_s=0.0))
    camera.see(Weather.CLEAR)
    routes = camera.see(Weather.FOG, 5)
    assert routes == [Weather.CLEAR] * 4 + [Weather.FOG]


def test_a_shorter_interval_holds_from_the_next_frame_on(engine: Engine) -> None:
    seldom = PipelineConfig(classifier_interval=1000, smoothing_s=0.0, hold_s=0.0)
    camera = Camera(engine, seldom)
    camera.see(Weather.CLEAR, 3)
    camera.classifier.settings = replace(seldom, classifier_interval=1)
    assert camera.see(Weather.FOG) == [Weather.FOG]


def test_settings_may_be_replaced_in_the_middle_of_a_frame(engine: Engine) -> None:
    each_time_another = cycle([PipelineConfig(condition="rain"), PipelineConfig()])

    class Restless(WeatherClassifier):
        settings = property(lambda self: next(each_time_another), lambda self, given: None)

    classifier = Restless(engine, PipelineConfig())
    seen = [classifier.observe(Frame(PICTURES[Weather.FOG])).weather for _ in range(4)]
    assert seen == [Weather.RAIN, Weather.FOG] * 2


@pytest.mark.parametrize("jump_s", [-1.5, -1e6, 5.5, 1e6])
def test_a_jump_of_the_stamps_begins_anew(engine: Engine, jump_s: float) -> None:
    camera = Camera(engine, PipelineConfig(classifier_interval=7))
    camera.see(Weather.CLEAR, 30)
    camera.time_s += jump_s
    assert camera.look(Weather.NIGHT) is Weather.NIGHT


@pytest.mark.parametrize("step_s", [-0.2, 0.0, 2.0])
def test_a_late_frame_or_a_short_gap_keeps_the_memory(engine: Engine, step_s: float) -> None:
    camera = Camera(engine, PipelineConfig(classifier_interval=1, smoothing_s=4.0))
    camera.see(Weather.CLEAR, 30)
    camera.time_s += step_s
    assert camera.look(Weather.NIGHT) is Weather.CLEAR


def test_stamps_that_stand_still_do_not_hold_the_route_for_ever(engine: Engine) -> None:
    camera = Camera(engine, PipelineConfig())
    routes = [camera.look(Weather.CLEAR) for _ in range(10)]
    routes += [camera.look(Weather.FOG) for _ in range(90)]
    assert (routes[0], routes[-1], changes(routes)) == (Weather.CLEAR, Weather.FOG, 1)


def test_a_forced_condition_is_taken_at_once_and_left_at_once(engine: Engine) -> None:
    camera = Camera(engine, PipelineConfig())
    camera.see(Weather.CLEAR, 10)
    camera.classifier.settings = PipelineConfig(condition="fog")
    condition = camera.classifier.observe(Frame(PICTURES[Weather.NIGHT]))
    assert (condition.weather, condition.forced) == (Weather.FOG, True)
    assert condition.scores[Weather.FOG] == 1
    camera.classifier.settings = PipelineConfig()
    assert camera.see(Weather.NIGHT) == [Weather.NIGHT]


def test_without_an_engine_it_is_always_clear() -> None:
    camera = Camera(None, PipelineConfig())
    assert set(camera.see(Weather.NIGHT, 20)) == {Weather.CLEAR}


def test_the_delay_is_endless_when_the_margin_cannot_be_reached() -> None:
    config = PipelineConfig(switch_margin=0.6)
    assert math.isinf(maximum_delay_s(config, RATE_HZ, decisive=0.5))
    assert maximum_delay_s(PipelineConfig(), RATE_HZ) < 1.6


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("threads", 0, "threads: expected int from 1 to 64, found 0"),
        ("threads", 1.5, "expected int"),
        ("threads", True, "expected int"),
        ("smoothing_s", math.nan, "smoothing_s: expected float from 0.0 to 60.0, found nan"),
        ("condition", "hail", "condition: expected one of auto, clear, rain, fog, night"),
        ("backend", 3, "backend: expected one of"),
        ("engines_folder", 3, "engines_folder: expected str, found 3"),
        ("brightness", 1, "brightness: no such setting; expected one of engines_folder"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(name: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        configured(PipelineConfig, {name: value})


def test_every_knob_is_described_and_its_default_is_allowed() -> None:
    config = configured(PipelineConfig)
    for declared in knobs(PipelineConfig):
        assert declared.metadata["description"]
        replace(config, **{declared.name: declared.default})
    assert configured(PipelineConfig, {"hold_s": 2}) == PipelineConfig(hold_s=2.0)
