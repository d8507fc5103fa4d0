"""The engines of a car, loaded once: who serves which weather, and pipelines that share them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from adverse_perception import kernels
from adverse_perception.config import AUTO, PipelineConfig
from adverse_perception.cuda_road import open_road, road_problem
from adverse_perception.frames import Weather
from adverse_perception.inference import (
    ON_GPU,
    BatchEngine,
    BatchingEngine,
    Engine,
    EngineError,
    EngineMetadata,
    Loaded,
    PlanSettings,
    Wish,
    engine_files,
    open_engine,
    read_metadata,
    silent,
    worthwhile_batch,
)
from adverse_perception.keyframes import KeyframeSegmenter, try_out
from adverse_perception.pipeline import Pipeline
from adverse_perception.propagation import nothing_for
from adverse_perception.roads import RoadSegmenter
from adverse_perception.segmenters import SEGMENTERS, Segmenter
from adverse_perception.vote import Vote
from adverse_perception.weather import WeatherClassifier


@dataclass(frozen=True)
class Engines:
    """Loaded engines, to be shared by the pipelines of all cameras.

    Attributes:
        weather: the classifier's engine; None = always clear.
        routes: the engine of every weather.
        correction: what corrects the frames between key frames; None = every frame is a key frame.
        stand_ins: lines that say where ONNX Runtime or another precision runs engines instead of
            what was wished for, and why; what the wish costs; why frames do not stay on the GPU.
            More may come while driving.
        workers: pictures of different cameras that are to be labelled at the same time.
        tell: is told, in lines for the user, what takes its time.
    """

    weather: Engine | None
    routes: Mapping[Weather, Engine]
    correction: Engine | None = None
    stand_ins: list[str] = field(default_factory=list)
    workers: int = 1
    tell: Callable[[str], None] = silent

    @classmethod
    def load(
        cls, config: PipelineConfig, tell: Callable[[str], None] = silent, cameras: int = 1
    ) -> Engines:
        """Load the engines of a folder and give every weather the one made most for it.

        Args:
            config: where they are and what runs them.
            tell: see `Engines.tell`.
            cameras: how many will share them.

        Raises:
            EngineError: a file does not fit, or a weather has no engine.
        """
        chosen = _Chosen.among(engine_files(config.engines_folder))
        if chosen.weather is None and config.condition == AUTO:
            raise EngineError(
                f"{chosen.folder}: expected an engine of role 'weather', found none;"
                " export it, or set condition to one weather"
            )
        opened = _opened(chosen.files, config, tell, cameras)
        kernels.warm_up()
        engines = cls(
            opened[chosen.weather].engine if chosen.weather else None,
            {weather: opened[path].engine for weather, path in chosen.routes.items()},
            opened[chosen.correction].engine if chosen.correction else None,
            _stand_ins(opened.values()),
            _workers(config, any(one.backend in ON_GPU for one in opened.values()), cameras),
            tell,
        )
        return engines._tried_out(config.batch)

    def pipeline(self, config: PipelineConfig, vote: Vote | None = None) -> Pipeline:
        """A fresh pipeline, for one camera; cameras of one car share a vote."""
        segmenters: dict[int, Segmenter] = {}
        for engine in self.routes.values():  # weathers of one engine share one route
            if id(engine) not in segmenters:
                segmenters[id(engine)] = self._segmenter(engine, config)
        routes = {weather: segmenters[id(engine)] for weather, engine in self.routes.items()}
        return Pipeline(WeatherClassifier(self.weather, config), routes, vote)

    def _tried_out(self, batch: int) -> Engines:
        """The same engines once they are known to go together; `batch` as the parameter."""
        if self.correction is not None:
            try_out(self.correction)
        self.stand_ins.extend(road_problem(self.routes.values()))
        return self._batched(batch) if self.workers > 1 else self

    def _batched(self, wanted: int) -> Engines:
        """The same engines, which run together what several cameras put to them at once.

        Args:
            wanted: the most pictures in one run; 0 = as many as are measured to pay.
        """
        found: dict[int, Engine] = {}
        for engine in (self.weather, self.correction, *self.routes.values()):
            if engine is not None and id(engine) not in found:
                found[id(engine)] = _shared(engine, self.workers, wanted, self.tell)
        return replace(
            self,
            weather=self.weather and found[id(self.weather)],
            correction=self.correction and found[id(self.correction)],
            routes={weather: found[id(engine)] for weather, engine in self.routes.items()},
        )

    def _segmenter(self, engine: Engine, config: PipelineConfig) -> Segmenter:
        classes = engine.metadata.classes
        known = self.correction is not None and self.correction.metadata.classes == classes
        correction = self.correction if known else None
        road = open_road(engine, correction, self.stand_ins.append)
        if correction is not None:
            return KeyframeSegmenter(engine, correction, config, road)
        if road is not None:
            return RoadSegmenter(engine.name, road)
        return SEGMENTERS[engine.metadata.role](engine)


def open_pipeline(config: PipelineConfig | None = None) -> Pipeline:
    """Load the engines and make one pipeline; for several cameras, share `Engines`.

    Raises:
        EngineError: an engine does not fit.
    """
    config = config or PipelineConfig()
    return Engines.load(config).pipeline(config)


@dataclass(frozen=True)
class _Chosen:
    """Which files of a folder serve, by what they say of themselves; the others are not loaded."""

    folder: Path
    weather: Path | None
    correction: Path | None
    routes: Mapping[Weather, Path]

    @classmethod
    def among(cls, files: Sequence[Path]) -> _Chosen:
        """Raises `EngineError` where a file does not fit, or a weather has no engine."""
        known = {path: read_metadata(path) for path in files}
        weather, correction = (
            next((path for path, told in known.items() if told.role == role), None)
            for role in ("weather", "correction")
        )
        routes = {one: _most_special(one, known) for one in Weather}
        return cls(files[0].parent, weather, correction, routes)

    @property
    def files(self) -> list[Path]:
        """All of them, each once, in order of name."""
        own = {path for path in (self.weather, self.correction) if path is not None}
        return sorted(own.union(self.routes.values()))


def _opened(
    files: Sequence[Path], config: PipelineConfig, tell: Callable[[str], None], cameras: int
) -> dict[Path, Loaded]:
    """The engines, as the configuration wishes for them or as near as it gets."""
    folder = Path(config.plans_folder).expanduser() if config.plans_folder else None
    plans = PlanSettings(folder, max(1, config.batch), tell)
    wish = Wish(config.backend, config.threads, config.backend_fallback, plans, config.precision)
    return {path: open_engine(path, wish) for path in files}


def _workers(config: PipelineConfig, on_gpu: bool, cameras: int) -> int:
    """How many cameras are to be labelled at the same time.

    The cores of a CPU are busy with one picture, and the others are the fresher for waiting.
    """
    return min(cameras, config.workers or (cameras if on_gpu else 1))


def _stand_ins(opened: Collection[Loaded]) -> list[str]:
    """A line for each reason why engines do not run as wished for, or at what cost they do."""
    refused: dict[str, list[str]] = {}
    for one in opened:
        if one.refusal:
            refused.setdefault(one.refusal, []).append(one.engine.name)
    lines = [
        f"onnxruntime runs {', '.join(names)}; {refusal}" for refusal, names in refused.items()
    ]
    return [*lines, *(one.remark for one in opened if one.remark)]


def _shared(engine: Engine, workers: int, wanted: int, tell: Callable[[str], None]) -> Engine:
    """An engine that many threads use: with batches where they are wanted or pay."""
    assert isinstance(engine, BatchEngine)
    most = wanted or worthwhile_batch(engine, workers, *nothing_for(engine.metadata))
    most = min(most, workers)
    if min(most, engine.batch) == 1:
        tell(f"engine {engine.name}: every picture by itself")
        return engine
    batching = BatchingEngine(engine, most)
    tell(f"engine {engine.name}: up to {batching.most} pictures in one run")
    return batching


def _most_special(weather: Weather, known: Mapping[Path, EngineMetadata]) -> Path:
    """The engine of fewest conditions among those that know the weather."""
    able = {
        path: len(told.conditions)
        for path, told in known.items()
        if told.role in SEGMENTERS and weather.value in told.conditions
    }
    if not able:
        raise EngineError(
            f"{next(iter(known)).parent}: expected an engine for {weather.value}, found none;"
            f" export one, or add {weather.value!r} to the conditions of another"
        )
    return min(able, key=lambda path: able[path])
