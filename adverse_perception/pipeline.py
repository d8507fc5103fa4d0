"""One frame, start to end. Read this first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from adverse_perception import kernels
from adverse_perception.config import AUTO, PipelineConfig
from adverse_perception.frames import Condition, Frame, Segmentation, Weather
from adverse_perception.inference import (
    ON_GPU,
    BatchEngine,
    BatchingEngine,
    Engine,
    EngineError,
    Loaded,
    PlanSettings,
    Wish,
    engine_files,
    open_engine,
    silent,
    worthwhile_batch,
)
from adverse_perception.keyframes import KeyframeSegmenter, try_out
from adverse_perception.propagation import nothing_for
from adverse_perception.segmenters import SEGMENTERS, Segmenter
from adverse_perception.vote import Vote
from adverse_perception.weather import WeatherClassifier, certain


class PipelineError(RuntimeError):
    """A frame that no engine could label, or settings the loaded engines cannot serve."""


@dataclass(frozen=True)
class Failure:
    """An engine that failed while driving.

    Attributes:
        count: how many frames it failed on.
        message: what it said last.
        stamp_ns: stamp of the last frame it failed on.
    """

    count: int
    message: str
    stamp_ns: int


class Pipeline:
    """Everything remembered about one camera; several pipelines share the same engines."""

    def __init__(
        self,
        classifier: WeatherClassifier,
        segmenters: Mapping[Weather, Segmenter],
        vote: Vote | None = None,
    ) -> None:
        """Begin with an empty memory.

        Args:
            classifier: names the weather the camera sees.
            segmenters: the routes by weather; the clear one also serves where another fails.
            vote: that of the car's cameras; None = the camera has the car to itself.
        """
        self._classifier = classifier
        self._segmenters = segmenters
        self._vote = vote or Vote()
        self._voted: str | None = None
        self._active: Segmenter | None = None
        self._errors: dict[str, Failure] = {}

    @property
    def errors(self) -> Mapping[str, Failure]:
        """What has failed so far, by the engine's name ("weather" for the classifier)."""
        return dict(self._errors)

    def process(self, frame: Frame) -> Segmentation:
        """Label one frame. Frames of a camera are to be given in the order of their stamps.

        Raises:
            PipelineError: the clear-weather engine failed too.
        """
        started = perf_counter()
        condition = self._recognise(frame)
        classified_ms = (perf_counter() - started) * 1e3
        segmentation = self._segment(frame, condition)
        for name, message in segmentation.failures.items():
            self._note(name, message, frame)
        timing = {"classify": classified_ms, **segmentation.timing_ms}
        return replace(segmentation, timing_ms=timing)

    def forget(self) -> None:
        """Begin anew, as with another camera or another recording."""
        self._classifier.forget()
        self._active = None
        self._abstain()

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take over the settings that may change while driving."""
        self._classifier.settings = config
        for segmenter in self._segmenters.values():
            segmenter.reconfigure(config)

    def _recognise(self, frame: Frame) -> Condition:
        try:
            alone = self._classifier.observe(frame)
        except Exception as error:  # whatever a runtime throws: the car drives on
            self._note("weather", _told(error), frame)
            self._abstain()
            return certain(Weather.CLEAR)
        if alone.forced or not self._classifier.settings.weather_vote:
            self._abstain()
            return alone
        self._voted = frame.camera
        return self._vote.cast(frame.camera, alone, frame.stamp_ns)

    def _abstain(self) -> None:
        if self._voted is not None:
            self._vote.withdraw(self._voted)
            self._voted = None

    def _segment(self, frame: Frame, condition: Condition) -> Segmentation:
        chosen = self._segmenters[condition.weather]
        try:
            return self._activated(chosen).segment(frame, condition)
        except Exception as error:  # as above; the clear route takes over
            self._note(chosen.name, _told(error), frame)
            return self._rescue(chosen, frame, condition, error)

    def _rescue(
        self, failed: Segmenter, frame: Frame, condition: Condition, error: Exception
    ) -> Segmentation:
        clear = self._segmenters[Weather.CLEAR]
        if clear is failed:
            raise PipelineError(f"engine {failed.name} failed: {error}") from error
        try:
            return self._activated(clear).segment(frame, condition)
        except Exception as second:
            self._note(clear.name, _told(second), frame)
            raise PipelineError(
                f"engines {failed.name} and {clear.name} both failed: {error}; {second}"
            ) from second

    def _activated(self, segmenter: Segmenter) -> Segmenter:
        if segmenter is not self._active:
            segmenter.forget()  # what the last drive through this weather left behind is stale
            self._active = segmenter
        return segmenter

    def _note(self, name: str, message: str, frame: Frame) -> None:
        before = self._errors.get(name)
        count = before.count + 1 if before else 1
        self._errors[name] = Failure(count, message, frame.stamp_ns)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Engines:
    """Loaded engines, to be shared by the pipelines of all cameras.

    Attributes:
        weather: the classifier's engine; None = always clear.
        routes: the engine of every weather.
        correction: what corrects the frames between key frames; None = every frame is a key frame.
        stand_ins: where ONNX Runtime runs engines instead of what was wished for, and why.
        workers: pictures of different cameras that are to be labelled at the same time.
    """

    weather: Engine | None
    routes: Mapping[Weather, Engine]
    correction: Engine | None = None
    stand_ins: tuple[str, ...] = ()
    workers: int = 1

    @classmethod
    def load(
        cls, config: PipelineConfig, tell: Callable[[str], None] = silent, cameras: int = 1
    ) -> Engines:
        """Load the engines of a folder and give every weather the one made most for it.

        Args:
            config: where they are and what runs them.
            tell: is told, in lines for the user, what takes its time.
            cameras: how many will share them.

        Raises:
            EngineError: a file does not fit, or a weather has no engine.
        """
        files = engine_files(config.engines_folder)
        opened = _opened(files, config, tell, cameras)
        loaded = [one.engine for one in opened]
        kernels.warm_up()
        where = str(files[0].parent)
        weather, correction = (_first(role, loaded) for role in ("weather", "correction"))
        if weather is None and config.condition == AUTO:
            raise EngineError(
                f"{where}: expected an engine of role 'weather', found none;"
                " export it, or set condition to one weather"
            )
        if correction is not None:
            try_out(correction)
        routes = {one: _most_special(one, loaded, where) for one in Weather}
        workers = _workers(config, any(one.backend in ON_GPU for one in opened), cameras)
        engines = cls(weather, routes, correction, _stand_ins(opened), workers)
        return engines._batched(config.batch, tell) if workers > 1 else engines

    def pipeline(self, config: PipelineConfig, vote: Vote | None = None) -> Pipeline:
        """A fresh pipeline, for one camera; cameras of one car share a vote."""
        segmenters: dict[int, Segmenter] = {}
        for engine in self.routes.values():  # weathers of one engine share one route
            if id(engine) not in segmenters:
                segmenters[id(engine)] = self._segmenter(engine, config)
        routes = {weather: segmenters[id(engine)] for weather, engine in self.routes.items()}
        return Pipeline(WeatherClassifier(self.weather, config), routes, vote)

    def _batched(self, wanted: int, tell: Callable[[str], None]) -> Engines:
        """The same engines, which run together what several cameras put to them at once.

        Args:
            wanted: the most pictures in one run; 0 = as many as are measured to pay.
            tell: is told what was measured.
        """
        found: dict[int, Engine] = {}
        for engine in (self.weather, self.correction, *self.routes.values()):
            if engine is not None and id(engine) not in found:
                found[id(engine)] = _shared(engine, self.workers, wanted, tell)
        return replace(
            self,
            weather=self.weather and found[id(self.weather)],
            correction=self.correction and found[id(self.correction)],
            routes={weather: found[id(engine)] for weather, engine in self.routes.items()},
        )

    def _segmenter(self, engine: Engine, config: PipelineConfig) -> Segmenter:
        if self.correction is None or self.correction.metadata.classes != engine.metadata.classes:
            return SEGMENTERS[engine.metadata.role](engine)
        return KeyframeSegmenter(engine, self.correction, config)


def open_pipeline(config: PipelineConfig | None = None) -> Pipeline:
    """Load the engines and make one pipeline; for several cameras, share `Engines`.

    Raises:
        EngineError: an engine does not fit.
    """
    config = config or PipelineConfig()
    return Engines.load(config).pipeline(config)


def _opened(
    files: list[Path], config: PipelineConfig, tell: Callable[[str], None], cameras: int
) -> list[Loaded]:
    """The engines, as the configuration wishes for them or as near as it gets."""
    folder = Path(config.plans_folder).expanduser() if config.plans_folder else None
    workers = _workers(config, True, cameras)
    plans = PlanSettings(folder, min(workers, config.batch or workers), tell)
    wish = Wish(config.backend, config.threads, config.backend_fallback, plans)
    return [open_engine(path, wish) for path in files]


def _workers(config: PipelineConfig, on_gpu: bool, cameras: int) -> int:
    """How many cameras are to be labelled at the same time.

    The cores of a CPU are busy with one picture, and the others are the fresher for waiting.
    """
    return min(cameras, config.workers or (cameras if on_gpu else 1))


def _stand_ins(opened: list[Loaded]) -> tuple[str, ...]:
    """A line for each reason why another backend than the wished one runs some engines."""
    refused: dict[str, list[str]] = {}
    for one in opened:
        if one.refusal:
            refused.setdefault(one.refusal, []).append(one.engine.name)
    return tuple(
        f"onnxruntime runs {', '.join(names)}; {refusal}" for refusal, names in refused.items()
    )


def _shared(engine: Engine, workers: int, wanted: int, tell: Callable[[str], None]) -> Engine:
    """An engine that many threads use: with batches where they are wanted or pay."""
    assert isinstance(engine, BatchEngine)
    most = wanted or worthwhile_batch(engine, workers, *nothing_for(engine.metadata))
    if min(most, engine.batch) == 1:
        tell(f"engine {engine.name}: every picture by itself")
        return engine
    batching = BatchingEngine(engine, most)
    tell(f"engine {engine.name}: up to {batching.most} pictures in one run")
    return batching


def _first(role: str, engines: list[Engine]) -> Engine | None:
    return next((engine for engine in engines if engine.metadata.role == role), None)


def _most_special(weather: Weather, engines: list[Engine], where: str) -> Engine:
    """The engine of fewest conditions among those that know the weather."""
    able = [
        engine
        for engine in engines
        if engine.metadata.role in SEGMENTERS and weather.value in engine.metadata.conditions
    ]
    if not able:
        raise EngineError(
            f"{where}: expected an engine for {weather.value}, found none; export one,"
            f" or add {weather.value!r} to the conditions of another"
        )
    return min(able, key=lambda engine: len(engine.metadata.conditions))
