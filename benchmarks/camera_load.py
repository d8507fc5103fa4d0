"""Several cameras through shared engines, as fast as they go: by workers, threads and batch.

No ROS: cameras that always have a next picture take turns, as in the node. Whoever labels more
frames a second drops fewer; how old they are by then is what waiting and labelling take together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame, Weather
from adverse_perception.inference.tensorrt_module import usable
from adverse_perception.mailbox import Mailbox
from adverse_perception.report import table
from adverse_perception.scores import Latency
from benchmarks.asked import Asked, progress
from benchmarks.street_pictures import RATE_HZ, street

_CAMERAS = 4
_SIZE = (1280, 720)


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
    duration_s = 1.0 if asked.quick else 10.0
    settings = _settings()[:2] if asked.quick else _settings()
    rows = [_driven(asked, one, duration_s) for one in progress(settings, "cameras", "setting")]
    return {"cameras": _CAMERAS, "size": "{}x{}".format(*_SIZE), "rows": rows}


def told(record: Mapping[str, Any]) -> str:
    """One line for each setting."""
    rows = [tuple(map(str, row.values())) for row in record["rows"]]
    return (
        f"{record['cameras']} cameras, {record['size']}\n{table(tuple(record['rows'][0]), rows)}"
    )


def _settings() -> list[Setting]:
    backends = ["onnxruntime"]
    backends += ["openvino"] if find_spec("openvino") else []
    backends += ["tensorrt"] if usable() else []
    return [
        Setting(backend, workers, threads, batch, interval)
        for backend in backends
        for interval in (1, 2)
        for workers, threads, batch in ((1, 2, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 1, 4))
    ]


def _driven(asked: Asked, setting: Setting, duration_s: float) -> dict[str, Any]:
    config = PipelineConfig(
        engines_folder=asked.engines, condition=Weather.CLEAR.value, **asdict(setting)
    )
    engines = Engines.load(config, cameras=_CAMERAS)
    names = [str(number) for number in range(_CAMERAS)]
    pipelines = {name: engines.pipeline(config) for name in names}
    pictures, box, times = street(_SIZE), Mailbox[int](), Latency()
    for name in names:  # whatever is compiled late
        pipelines[name].process(Frame(pictures[0], 0, name))
    end_s = time.perf_counter() + duration_s

    def work() -> None:
        while time.perf_counter() < end_s:
            with box.taken() as taken:
                assert taken is not None
                name, number = taken
                picture = pictures[number % len(pictures)]
                begun_s = time.perf_counter()
                pipelines[name].process(Frame(picture, round(number * 1e9 / RATE_HZ), name))
                times.add((time.perf_counter() - begun_s) * 1e3)
                box.put(name, number + 1)

    for name in names:
        box.put(name, 1)
    workers = [threading.Thread(target=work) for _ in range(engines.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    summary = times.summary()
    return {
        **asdict(setting),
        "frames/s": round(len(times) / duration_s, 1),
        "p50 ms": round(summary["p50"], 1),
        "p95 ms": round(summary["p95"], 1),
    }
