from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines, open_pipeline
from adverse_perception.frames import Condition, Float32Array, Frame, UInt8Array, Weather
from adverse_perception.inference import Engine, EngineError, EngineMetadata, load_engine
from adverse_perception.kernels import definition
from adverse_perception.pipeline import Pipeline, PipelineError
from adverse_perception.segmenters import EngineSegmenter, to_working_size, working_size
from adverse_perception.weather import WeatherClassifier, certain
from tests.conftest import WEATHER_BRIGHTNESS, grey, write_segmentation_engine

CLEAR = certain(Weather.CLEAR)


def noise(height: int, width: int, mean: float = 128) -> UInt8Array:
    generator = np.random.default_rng(height * width)
    return generator.normal(mean, 20, (height, width, 3)).clip(0, 255).astype(np.uint8)


class Failing:
    """A real engine that fails, or goes mad, when told to."""

    def __init__(self, engine: Engine) -> None:
        self.metadata: EngineMetadata = engine.metadata
        self.name = engine.name
        self.error: Exception | None = None
        self.factor = 1.0
        self._engine = engine

    def run(self, image: UInt8Array, outputs: tuple[str, ...] = ()) -> Mapping[str, Float32Array]:
        if self.error:
            raise self.error
        results = self._engine.run(image, outputs)
        return {name: values * np.float32(self.factor) for name, values in results.items()}


@pytest.fixture
def failing(engines_path: Path) -> dict[str, Failing]:
    names = ("weather", "clear", "all_weather")
    return {name: Failing(load_engine(engines_path / f"{name}.onnx")) for name in names}


@pytest.fixture
def pipeline(failing: dict[str, Failing]) -> Pipeline:
    routes: dict[Weather, Engine] = dict.fromkeys(Weather, failing["all_weather"])
    routes[Weather.CLEAR] = failing["clear"]
    config = PipelineConfig(classifier_interval=1, smoothing_s=0.0, hold_s=0.0)
    return Engines(failing["weather"], routes).pipeline(config)


def frame_of(weather: Weather, time_s: float = 0.0) -> Frame:
    return Frame(noise(90, 120, WEATHER_BRIGHTNESS[weather]), round(time_s * 1e9))


@pytest.mark.parametrize("weather", Weather)
def test_a_frame_takes_the_route_of_its_weather(engines_path: Path, weather: Weather) -> None:
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(engines_path)))
    segmentation = pipeline.process(frame_of(weather))
    assert segmentation.condition.weather is weather
    assert segmentation.engine == ("clear" if weather is Weather.CLEAR else "all_weather")


def test_labels_are_the_engines_logits_labelled_in_the_frames_geometry(
    engines_path: Path,
) -> None:
    engine = load_engine(engines_path / "clear.onnx")
    image = noise(97, 131)
    segmentation = EngineSegmenter(engine).segment(Frame(image), CLEAR)
    logits = engine.run(to_working_size(image, engine.metadata))["logits"]
    labels, confidence = definition.label(logits, 97, 131)
    assert len(np.unique(labels)) > 2
    np.testing.assert_array_equal(segmentation.labels, labels)
    assert np.abs(segmentation.confidence.astype(int) - confidence).max() <= 1
    assert segmentation.labels.dtype == segmentation.confidence.dtype == np.uint8


def test_every_stage_is_timed(pipeline: Pipeline) -> None:
    timing = pipeline.process(frame_of(Weather.CLEAR)).timing_ms
    assert list(timing) == ["classify", "resize", "infer", "label"]
    assert all(duration > 0 for duration in timing.values())


def test_a_read_only_picture_is_labelled(pipeline: Pipeline) -> None:
    image = noise(90, 120)
    image.flags.writeable = False
    assert pipeline.process(Frame(image)).labels.shape == (90, 120)


def test_the_size_may_change_in_mid_stream(pipeline: Pipeline) -> None:
    for number, size in enumerate([(90, 120), (31, 77), (1, 1), (90, 120)]):
        frame = Frame(noise(*size), number * 66_000_000)
        assert pipeline.process(frame).labels.shape == size


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ((96, 128), (96, 128)),
        ((1080, 1440), (96, 128)),
        ((720, 1280), (80, 144)),
        ((9, 9000), (8, 3504)),
        ((360, 480), (96, 128)),
        ((80, 144), (80, 144)),
        ((160, 288), (80, 144)),
        ((240, 432), (80, 144)),
        ((161, 288), (80, 152)),
        ((84, 144), (88, 144)),
        ((80, 128), (88, 144)),
        ((96, 136), (96, 128)),
    ],
)
def test_the_working_size_keeps_the_shape_and_the_engines_area(
    engines_path: Path, camera: tuple[int, int], expected: tuple[int, int]
) -> None:
    metadata = load_engine(engines_path / "clear.onnx").metadata
    assert working_size(*camera, metadata) == expected


def test_a_picture_that_fits_is_not_copied(engines_path: Path) -> None:
    image = grey(10)
    assert to_working_size(image, load_engine(engines_path / "clear.onnx").metadata) is image


def test_a_failed_route_hands_its_frames_to_the_clear_one(
    pipeline: Pipeline, failing: dict[str, Failing]
) -> None:
    failing["all_weather"].error = RuntimeError("out of memory")
    for number in range(3):
        segmentation = pipeline.process(frame_of(Weather.FOG, number))
        assert segmentation.engine == "clear"
        assert segmentation.condition.weather is Weather.FOG
    failure = pipeline.errors["all_weather"]
    assert (failure.count, failure.stamp_ns) == (3, 2_000_000_000)
    assert "out of memory" in failure.message
    failing["all_weather"].error = None
    assert pipeline.process(frame_of(Weather.FOG, 3)).engine == "all_weather"


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_logits_that_mean_nothing_are_a_failure(
    pipeline: Pipeline, failing: dict[str, Failing], factor: float
) -> None:
    failing["all_weather"].factor = factor
    assert pipeline.process(frame_of(Weather.FOG)).engine == "clear"
    assert "finite" in pipeline.errors["all_weather"].message


def test_a_failed_classifier_means_clear(pipeline: Pipeline, failing: dict[str, Failing]) -> None:
    failing["weather"].error = EngineError("broken")
    segmentation = pipeline.process(frame_of(Weather.NIGHT))
    assert (segmentation.engine, segmentation.condition.weather) == ("clear", Weather.CLEAR)
    assert pipeline.errors["weather"].count == 1
    failing["weather"].error = None
    assert pipeline.process(frame_of(Weather.NIGHT)).engine == "all_weather"


def test_a_mad_classifier_means_clear(pipeline: Pipeline, failing: dict[str, Failing]) -> None:
    failing["weather"].factor = np.nan
    assert pipeline.process(frame_of(Weather.NIGHT)).engine == "clear"
    assert "finite" in pipeline.errors["weather"].message


def test_when_the_clear_route_fails_too_the_frame_is_given_up(
    pipeline: Pipeline, failing: dict[str, Failing]
) -> None:
    failing["clear"].error = RuntimeError("no disk")
    with pytest.raises(PipelineError, match=r"clear failed.*no disk"):
        pipeline.process(frame_of(Weather.CLEAR))
    failing["all_weather"].error = RuntimeError("no memory")
    with pytest.raises(PipelineError, match=r"all_weather and clear.*no memory; no disk"):
        pipeline.process(frame_of(Weather.FOG, 0.1))
    assert {name: one.count for name, one in pipeline.errors.items()} == {
        "clear": 2,
        "all_weather": 1,
    }


class Remembering:
    """A route that counts how often it was told to forget."""

    def __init__(self, segmenter: EngineSegmenter) -> None:
        self.name = segmenter.name
        self.forgotten = 0
        self.segment = segmenter.segment

    def forget(self) -> None:
        self.forgotten += 1

    def reconfigure(self, settings: PipelineConfig) -> None:
        pass


def test_a_route_forgets_the_last_drive_through_its_weather(engines_path: Path) -> None:
    clear = Remembering(EngineSegmenter(load_engine(engines_path / "clear.onnx")))
    other = Remembering(EngineSegmenter(load_engine(engines_path / "all_weather.onnx")))
    routes = dict.fromkeys(Weather, other) | {Weather.CLEAR: clear}
    pipeline = Pipeline(WeatherClassifier(None, PipelineConfig()), routes)
    for number, condition in enumerate(["clear", "clear", "rain", "rain", "fog", "clear"]):
        pipeline.reconfigure(PipelineConfig(condition=condition))
        pipeline.process(Frame(noise(32, 32), number))
    assert (clear.forgotten, other.forgotten) == (2, 1)


def test_a_forced_condition_is_taken_while_driving(pipeline: Pipeline) -> None:
    pipeline.process(frame_of(Weather.CLEAR))
    pipeline.reconfigure(PipelineConfig(condition="rain"))
    segmentation = pipeline.process(frame_of(Weather.CLEAR, 0.1))
    assert segmentation.engine == "all_weather"
    assert segmentation.condition == Condition(
        Weather.RAIN, {one: float(one is Weather.RAIN) for one in Weather}, forced=True
    )


def test_a_new_special_engine_is_picked_up_by_its_conditions(own_engines_path: Path) -> None:
    write_segmentation_engine(own_engines_path / "night.onnx", ["night"], seed=5)
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(own_engines_path)))
    assert pipeline.process(frame_of(Weather.NIGHT)).engine == "night"
    pipeline.forget()
    assert pipeline.process(frame_of(Weather.RAIN)).engine == "all_weather"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("weather", "role 'weather', found none; export it, or set condition"),
        ("all_weather", "an engine for rain, found none"),
    ],
)
def test_a_missing_engine_is_refused(own_engines_path: Path, missing: str, words: str) -> None:
    (own_engines_path / f"{missing}.onnx").unlink()
    with pytest.raises(EngineError, match=words):
        open_pipeline(PipelineConfig(engines_folder=str(own_engines_path)))


def test_a_forced_condition_needs_no_classifier(own_engines_path: Path) -> None:
    (own_engines_path / "weather.onnx").unlink()
    config = PipelineConfig(engines_folder=str(own_engines_path), condition="night")
    assert open_pipeline(config).process(frame_of(Weather.CLEAR)).engine == "all_weather"


def test_cameras_share_engines_but_not_their_memory(engines_path: Path) -> None:
    config = PipelineConfig(engines_folder=str(engines_path))
    engines = Engines.load(config)
    front, rear = engines.pipeline(config), engines.pipeline(config)
    assert front.process(frame_of(Weather.CLEAR)).condition.weather is Weather.CLEAR
    assert rear.process(frame_of(Weather.NIGHT)).condition.weather is Weather.NIGHT
    assert front.process(frame_of(Weather.CLEAR, 0.1)).condition.weather is Weather.CLEAR


def test_the_same_frames_give_the_same_labels(engines_path: Path) -> None:
    config = PipelineConfig(engines_folder=str(engines_path))
    drive = [frame_of(weather, 0.1 * n) for n, weather in enumerate([*Weather] * 5)]

    def labels() -> list[bytes]:
        pipeline = open_pipeline(config)
        return [pipeline.process(frame).labels.tobytes() for frame in drive]

    assert labels() == labels()
