"""Several cameras through shared engines, as fast as they go: by workers, threads and batch.

No ROS: cameras that always have a next picture take turns, as in the node. Whoever labels more
frames a second drops fewer; how old they are by then is what waiting and labelling take together.
The first moments are not counted: runtimes compile for some shapes only when they meet them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame, Weather
from adverse_perception.mailbox import Mailbox
from adverse_perception.report import table
from adverse_perception.scores import Latency
from benchmarks.asked import Asked, progress
from benchmarks.backends import backends
from benchmarks.street_pictures import CAMERA_SIZES, RATE_HZ, street

_CAMERAS = 4
_SIZE = CAMERA_SIZES[1]
_SHARING = ((1, 2, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 1, 1), (4, 1, 4))
"""Workers, threads and batch."""


@dataclass(frozen=True)
class Duration:
    """How long cameras drive in every setting, in seconds: first uncounted, then counted."""

    before_s: float = 2.0
    counted_s: float = 10.0


@dataclass(frozen=True)
class Setting:
    """How the cameras share the machine; batch as the parameter of that name."""

    backend: str
    workers: int
    threads: int
    batch: int
    keyframe_interval: int


def measure(asked: Asked) -> dict[str, Any]:
    """Drive four cameras in every setting."""
    duration = Duration(0.2, 1.0) if asked.quick else Duration()
    settings = _settings()[:2] if asked.quick else _settings()
    rows = [_driven(asked, one, duration) for one in progress(settings, "cameras", "setting")]
    return {"cameras": _CAMERAS, "size": "{}x{}".format(*_SIZE), "rows": rows}


def told(record: Mapping[str, Any]) -> str:
    """One line for each setting."""
    rows = [tuple(map(str, row.values())) for row in record["rows"]]
    return (
        f"{record['cameras']} cameras, {record['size']}\n{table(tuple(record['rows'][0]), rows)}"
    )


def _settings() -> list[Setting]:
    return [
        Setting(backend, workers, threads, batch, interval)
        for backend in backends()
        for interval in (1, 2)
        for workers, threads, batch in _SHARING
        if batch == 1 or backend != "openvino"  # it takes one picture at a time
    ]


def _driven(asked: Asked, setting: Setting, duration: Duration) -> dict[str, Any]:
    config = PipelineConfig(
        engines_folder=asked.engines,
        condition=Weather.CLEAR.value,
        backend_fallback=False,  # a row says what ran
        **asdict(setting),
    )
    times = _times(config, duration)
    summary = times.summary()
    return {
        **asdict(setting),
        "frames/s": round(len(times) / duration.counted_s, 1),
        "p50 ms": round(summary["p50"], 1),
        "p95 ms": round(summary["p95"], 1),
    }


def _times(config: PipelineConfig, duration: Duration) -> Latency:
    """What each frame took that came to an end within the time that counts, in milliseconds."""
    engines = Engines.load(config, cameras=_CAMERAS)
    names = [str(number) for number in range(_CAMERAS)]
    pipelines = {name: engines.pipeline(config) for name in names}
    pictures, box, times = street(_SIZE), Mailbox[int](), Latency()
    from_s = time.perf_counter() + duration.before_s
    until_s = from_s + duration.counted_s

    def work() -> None:
        while time.perf_counter() < until_s:
            with box.taken() as taken:
                assert taken is not None
                name, number = taken
                picture = pictures[number % len(pictures)]
                begun_s = time.perf_counter()
                pipelines[name].process(Frame(picture, round(number * 1e9 / RATE_HZ), name))
                ended_s = time.perf_counter()
                if from_s <= ended_s < until_s:
                    times.add((ended_s - begun_s) * 1e3)
                box.put(name, number + 1)

    for name in names:
        box.put(name, 0)
    workers = [threading.Thread(target=work) for _ in range(engines.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return times
