"""Engines that several cameras share: what waits together runs together."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from adverse_perception import engines as engines_room
from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Weather
from adverse_perception.inference import (
    BatchEngine,
    BatchingEngine,
    EngineError,
    Loaded,
    Wish,
    checksum,
    load_engine,
    open_engine,
    read_metadata,
    worthwhile_batch,
    write_metadata,
)
from adverse_perception.inference.engine import NO_MAPS
from tests.conftest import write_correction_engine, write_engines, write_joint_engine

RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 256, (6, 96, 128, 3)).astype(np.uint8)


def with_free_batch(path: Path) -> Path:
    """The same engine file, with a batch axis that is free."""
    metadata, model = read_metadata(path), onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    write_metadata(path, metadata)
    assert read_metadata(path).weights_sha256 == checksum(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines of every segmenting role that take any number of pictures."""
    path = write_engines(tmp_path_factory.mktemp("batches"))
    write_joint_engine(path / "joint.onnx")
    write_correction_engine(path / "correction.onnx")
    for name in ("clear", "all_weather", "joint"):
        with_free_batch(path / f"{name}.onnx")
    return path


class Slow:
    """An engine that keeps whoever runs it until the test says so, and counts its batches."""

    def __init__(self, engine: BatchEngine) -> None:
        self._engine = engine
        self.metadata, self.name, self.batch = engine.metadata, engine.name, engine.batch
        self.batches: list[int] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, *given: Any) -> Mapping[str, NDArray[Any]]:
        return self._engine.run(*given)

    def run_batch(
        self,
        images: NDArray[Any],
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        self.batches.append(len(images))
        self.begun.release()
        assert self.go_on.acquire(timeout=10)
        return self._engine.run_batch(images, outputs, maps)


class Crowd:
    """Threads that each put a picture to an engine, one after another."""

    def __init__(self, engine: BatchingEngine, slow: Slow) -> None:
        self.engine, self.slow = engine, slow
        self.found: dict[int, Any] = {}
        self.threads: list[threading.Thread] = []

    def put(self, number: int, picture: np.ndarray, outputs: tuple[str, ...] = ()) -> None:
        def work() -> None:
            try:
                self.found[number] = self.engine.run(picture, outputs)
            except EngineError as error:
                self.found[number] = str(error)

        before = len(self.engine._waiting)
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        if len(self.threads) == 1:
            assert self.slow.begun.acquire(timeout=10)  # the first finds the engine idle
        else:
            end_s = time.monotonic() + 10
            while len(self.engine._waiting) == before:
                assert time.monotonic() < end_s
                time.sleep(0.001)

    def finish(self) -> None:
        for _ in self.threads:
            self.slow.go_on.release()
        for thread in self.threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self.threads)


def crowd(path: Path, most: int = 4) -> Crowd:
    engine = load_engine(path)
    assert isinstance(engine, BatchEngine)
    slow = Slow(engine)
    return Crowd(BatchingEngine(slow, most), slow)


def test_what_comes_in_during_a_run_is_the_next_batch(folder: Path) -> None:
    at_work = crowd(folder / "clear.onnx")
    for number, picture in enumerate(PICTURES):
        at_work.put(number, picture)
    at_work.finish()
    assert at_work.slow.batches == [1, 4, 1]
    alone = load_engine(folder / "clear.onnx")
    for number, picture in enumerate(PICTURES):
        np.testing.assert_array_equal(
            at_work.found[number]["logits"], alone.run(picture)["logits"]
        )


def test_only_what_is_alike_runs_together_and_the_oldest_is_first(folder: Path) -> None:
    at_work = crowd(folder / "joint.onnx")
    at_work.put(0, PICTURES[0])
    at_work.put(1, PICTURES[1][:48], ("logits",))
    at_work.put(2, PICTURES[2], ("logits",))
    at_work.put(3, PICTURES[3], ("logits", "restored"))
    at_work.put(4, PICTURES[4], ("logits",))
    at_work.finish()
    assert at_work.slow.batches == [1, 1, 2, 1]
    assert [set(at_work.found[number]) for number in (1, 3)] == [
        {"logits"},
        {"logits", "restored"},
    ]
    assert at_work.found[1]["logits"].shape == (11, 12, 32)


def test_everybody_in_a_batch_that_fails_is_told_and_the_next_runs(folder: Path) -> None:
    at_work = crowd(folder / "clear.onnx")
    at_work.put(0, PICTURES[0])
    for number in (1, 2):
        at_work.put(number, PICTURES[number][..., :2])  # two colours
    at_work.put(3, PICTURES[3])
    at_work.finish()
    for number in (1, 2):
        assert "engine clear failed on (2, 96, 128, 2)" in at_work.found[number]
    assert at_work.found[3]["logits"].shape == (11, 24, 32)


def test_an_engine_for_one_picture_runs_them_one_by_one(engines_path: Path) -> None:
    at_work = crowd(engines_path / "clear.onnx")
    for number in range(3):
        at_work.put(number, PICTURES[number])
    at_work.finish()
    assert at_work.slow.batches == [1, 1, 1]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["clear", "joint"])
def test_a_picture_comes_out_of_a_batch_as_it_does_alone(
    folder: Path, backend: str, name: str
) -> None:
    pytest.importorskip(backend)
    engine = load_engine(folder / f"{name}.onnx", backend=backend)
    assert isinstance(engine, BatchEngine)
    assert engine.batch == 1 if backend == "openvino" else engine.batch > 100
    found = engine.run_batch(PICTURES)
    for number, picture in enumerate(PICTURES):
        for output, values in engine.run(picture).items():
            np.testing.assert_allclose(found[output][number], values, rtol=0.02, atol=0.3)


class Clocked:
    """Time by the size of the batches that an engine runs."""

    def __init__(self, engine: BatchEngine, costs: Mapping[int, float]) -> None:
        self.metadata, self.name, self.batch = engine.metadata, engine.name, engine.batch
        self.time_s = 0.0
        self._costs = costs

    def run(self, *given: Any) -> Mapping[str, NDArray[Any]]:
        raise NotImplementedError

    def run_batch(self, images: NDArray[Any], *given: Any) -> Mapping[str, NDArray[Any]]:
        self.time_s += self._costs[len(images)]
        return {}


@pytest.mark.parametrize(
    ("costs", "most", "expected"),
    [
        ({1: 1.0, 2: 1.2, 3: 1.4}, 3, 3),
        ({1: 1.0, 2: 1.2, 4: 4.0}, 4, 2),
        ({1: 1.0, 2: 1.96, 3: 2.9}, 3, 1),
        ({1: 1.0}, 1, 1),
    ],
)
def test_a_batch_is_worth_it_where_it_is_measured_to_be_faster(
    folder: Path, costs: Mapping[int, float], most: int, expected: int
) -> None:
    engine = load_engine(folder / "clear.onnx")
    assert isinstance(engine, BatchEngine)
    clocked = Clocked(engine, costs)
    found = worthwhile_batch(clocked, most, PICTURES[0], clock=lambda: clocked.time_s)
    assert found == expected


def test_engines_take_batches_as_told_and_say_so(folder: Path) -> None:
    lines: list[str] = []
    config = PipelineConfig(engines_folder=str(folder), workers=8, batch=2)
    engines = Engines.load(config, lines.append, cameras=3)
    assert engines.workers == 3
    clear = engines.routes[Weather.CLEAR]
    assert isinstance(clear, BatchingEngine)
    assert clear.most == 2
    assert "engine clear: up to 2 pictures in one run" in lines
    assert "engine weather: every picture by itself" in lines  # its file is for one
    assert engines.routes[Weather.RAIN] is engines.routes[Weather.FOG]


def test_one_camera_or_one_worker_shares_nothing(folder: Path) -> None:
    for config, cameras in (
        (PipelineConfig(engines_folder=str(folder), workers=4), 1),
        (PipelineConfig(engines_folder=str(folder)), 4),
    ):
        engines = Engines.load(config, cameras=cameras)
        assert engines.workers == 1
        assert not isinstance(engines.routes[Weather.CLEAR], BatchingEngine)


def test_an_engine_whose_batches_fail_runs_every_picture_by_itself(folder: Path) -> None:
    engine = load_engine(folder / "clear.onnx")
    assert isinstance(engine, BatchEngine)

    class Mistaken(Clocked):
        def run_batch(self, images: NDArray[Any], *given: Any) -> Mapping[str, NDArray[Any]]:
            if len(images) > 1:
                raise EngineError("cannot reshape")
            return super().run_batch(images, *given)

    assert worthwhile_batch(Mistaken(engine, {1: 1.0}), 4, PICTURES[0]) == 1


def test_plans_are_built_for_the_batch_that_was_asked_for_whatever_the_cameras(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[Wish] = []

    def open_and_note(path: Path, wish: Wish) -> Loaded:
        wishes.append(wish)
        return open_engine(path, wish)

    monkeypatch.setattr(engines_room, "open_engine", open_and_note)
    for cameras in (2, 5):
        config = PipelineConfig(engines_folder=str(folder), workers=8, batch=3)
        engines = Engines.load(config, cameras=cameras)
        clear = engines.routes[Weather.CLEAR]
        assert isinstance(clear, BatchingEngine)
        assert clear.most == min(cameras, 3)
    assert {wish.plans.batch for wish in wishes} == {3}
