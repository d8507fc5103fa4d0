"""Engines that several threads share: pictures that wait together run as one batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference.engine import NO_MAPS, BatchEngine, output_sets
from adverse_perception.inference.errors import EngineError

WORTH_IT = 0.95
"""A batch is worth it when a picture in it takes at most this share of its time alone."""
_ROUNDS = 3


class BatchingEngine:
    """An engine that runs one batch at a time, of what has come in during the one before.

    Nobody waits for a batch to fill: a picture that finds the engine idle runs at once.
    """

    def __init__(self, engine: BatchEngine, most: int) -> None:
        """Share an engine; `most` pictures run at once, or as many as it takes."""
        self.metadata, self.name = engine.metadata, engine.name
        self.engine = engine
        self.most = min(most, engine.batch)
        self._waiting: list[_Job] = []
        self._busy = False
        self._changed = threading.Condition()

    def run(
        self,
        image: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `Engine.run`."""
        job = _Job(image, outputs, maps)
        with self._changed:
            self._waiting.append(job)
            while not job.over:
                self._changed.wait_for(lambda: job.over or not self._busy)
                if not job.over:
                    self._serve()
        return job.result()

    def _serve(self) -> None:
        """Run the oldest job and those that go with it; others may come in meanwhile."""
        kind = self._waiting[0].kind
        together = [job for job in self._waiting if job.kind == kind][: self.most]
        self._waiting = [job for job in self._waiting if job not in together]
        self._busy = True
        self._changed.release()
        try:
            self._run(together)
        finally:
            self._changed.acquire()
            self._busy = False
            self._changed.notify_all()

    def _run(self, jobs: Sequence[_Job]) -> None:
        try:
            images = np.stack([job.image for job in jobs])
            maps = {name: np.stack([job.maps[name] for job in jobs]) for name in jobs[0].maps}
            found = self.engine.run_batch(images, jobs[0].outputs, maps)
        except Exception as error:  # each of them is told, by its own thread
            for job in jobs:
                job.error = error
        else:
            for number, job in enumerate(jobs):
                job.found = {name: array[number] for name, array in found.items()}
        for job in jobs:
            job.over = True


class _Job:
    """A picture that waits, and what came of it."""

    def __init__(
        self, image: UInt8Array, outputs: tuple[str, ...], maps: Mapping[str, NDArray[Any]]
    ) -> None:
        self.image, self.outputs, self.maps = image, outputs, maps
        self.kind = image.shape, outputs, {name: array.shape for name, array in maps.items()}
        self.over = False
        self.found: Mapping[str, NDArray[Any]] = {}
        self.error: Exception | None = None

    def result(self) -> Mapping[str, NDArray[Any]]:
        if self.error is not None:
            raise type(self.error)(*self.error.args) from self.error
        return self.found


def worthwhile_batch(
    engine: BatchEngine,
    most: int,
    image: UInt8Array,
    maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Measure how many pictures at once an engine is the fastest for; 1 where that gains little.

    Args:
        engine: what is measured.
        most: as many as there can be at once.
        image: (H, W, 3) uint8, what it is measured with.
        maps: what the role reads beside it.
        clock: gives the time in seconds.
    """
    most, wanted = min(most, engine.batch), output_sets(engine.metadata.role)[-1]
    if most == 1:
        return 1
    sizes = [size for size in range(1, most + 1) if size == most or size.bit_count() == 1]
    batches = {size: _repeated(image, maps, size) for size in sizes}
    best_s = dict.fromkeys(sizes, float("inf"))
    for turn in range(1 + _ROUNDS):  # in turns, so that what else goes on slows them all alike
        for size, (images, planes) in batches.items():
            started = clock()
            try:
                engine.run_batch(images, wanted, planes)
            except EngineError:
                if size == 1:
                    raise
                return 1  # its file says that batches are no trouble, and is mistaken
            if turn:  # the first run of a size takes memory, or compiles
                best_s[size] = min(best_s[size], (clock() - started) / size)
    fastest = min(sizes, key=lambda size: best_s[size])
    return fastest if best_s[fastest] <= WORTH_IT * best_s[1] else 1


def _repeated(
    image: UInt8Array, maps: Mapping[str, NDArray[Any]], size: int
) -> tuple[UInt8Array, dict[str, NDArray[Any]]]:
    return np.stack([image] * size), {name: np.stack([one] * size) for name, one in maps.items()}
