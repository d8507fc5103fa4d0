"""What a GPU makes of the road of a frame, beside PyTorch: run where there is one.

Each step answers for itself: one that cannot be done says why, and the others go on.

- tests: those that want a GPU (`pytest -m gpu`), where kernels and road meet their CPU twins;
- engines: latency by precision and size, and per picture in batches;
- road: a frame from picture to labels by kind of frame, by the GPU and by the CPU's kernels, and
  how many pixels the two label differently;
- rivals: the same network in PyTorch, eager, compiled and as a CUDA graph;
- tensorrt_rtx: tried once, whatever its list of GPUs says; what it answers is written down.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception import shelf
from adverse_perception.config import PipelineConfig
from adverse_perception.engines import open_pipeline
from adverse_perception.frames import Frame, Segmentation, UInt8Array, Weather
from adverse_perception.inference import (
    BatchEngine,
    EngineError,
    PlanSettings,
    Wish,
    load_engine,
    read_metadata,
    write_metadata,
)
from adverse_perception.kernels.device import open_device
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.report import table
from adverse_perception.scores import Latency
from benchmarks.asked import Asked, progress
from benchmarks.street_pictures import RATE_HZ, street

SIZES = ((512, 1024), (1024, 2048))
"""(H, W) of the pictures and of the networks that see them."""
BATCHES = (1, 2, 4, 8)
_NETWORK = "clear"
_ROUNDS = 100
_WARM_UP = 20
_INTERVAL = 5
_KEPT = 2000
"""Characters from the end of what tests that fail have complained of."""

Step = Callable[[Asked], Any]


def measure(asked: Asked) -> dict[str, Any]:
    """Do every step. Raises `EngineError` where there is no GPU."""
    try:
        device = open_device()
    except DeviceError as error:
        raise EngineError(f"a GPU is needed, nothing was measured: {error}") from error
    record: dict[str, Any] = {"gpu": device.name, "architecture": device.architecture}
    device.close()
    for name, step in progress(list(_STEPS.items()), "gpu", "step"):
        try:
            record[name] = step(asked)
        except Exception as error:  # one that fails must not take the others' figures away
            record[name] = {"problem": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    return record


def told(record: Mapping[str, Any]) -> str:
    """A table for each step, or why there is none."""
    parts = [f"{record['gpu']} ({record['architecture']})"]
    for name in _STEPS:
        found = record[name]
        if isinstance(found, list) and found:
            parts.append(
                f"{name}\n{table(tuple(found[0]), [tuple(row.values()) for row in found])}"
            )
        else:
            parts.append(f"{name}: {found}")
    return "\n\n".join(parts)


def _tests(asked: Asked) -> dict[str, Any]:
    """What `pytest -m gpu` says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rA", "tests"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    kinds = ("PASSED", "SKIPPED", "FAILED", "ERROR")
    found = {
        "exit_code": done.returncode,
        "tests": [one for one in lines if one.startswith(kinds)],
    }
    return found | ({"stderr": done.stderr[-_KEPT:]} if done.returncode else {})


def _engines(asked: Asked) -> list[dict[str, Any]]:
    """TensorRT's engines, one picture at a time and in batches, each by a plan of its own."""
    return [
        _engine(asked, path, (height, width), batch)
        for height, width in SIZES
        for path in shelf.with_variants(sized_engines(asked, height, width) / f"{_NETWORK}.onnx")
        for batch in BATCHES
    ]


def _engine(asked: Asked, path: Path, size: tuple[int, int], batch: int) -> dict[str, Any]:
    plans = PlanSettings(asked.folder / "plans", batch=batch)
    engine = load_engine(path, backend="tensorrt", plans=plans)
    assert isinstance(engine, BatchEngine)
    pictures = np.stack([_picture(*size)] * batch)
    p50_ms = _clocked(lambda: engine.run_batch(pictures, ("logits",))).summary()["p50"]
    return {
        "engine": path.stem,
        "precision": engine.metadata.precision,
        "size": f"{size[1]}x{size[0]}",
        "batch": batch,
        "p50 ms": p50_ms,
        "ms per picture": p50_ms / batch,
    }


def _road(asked: Asked) -> list[dict[str, Any]]:
    """The whole road by kind of frame, on the GPU and on the CPU, and where they differ."""
    rows = []
    for height, width in SIZES:
        folder = str(sized_engines(asked, height, width))
        pictures = street((width, height))
        runs = {
            backend: list(_driven(folder, backend, pictures, asked.folder / "plans"))
            for backend in ("tensorrt", "onnxruntime")
        }
        for backend, run in runs.items():
            for keyframe in (True, False):
                times, differ = Latency(), []
                for (said, time_ms), (other, _) in zip(run, runs["onnxruntime"], strict=True):
                    if said.keyframe is keyframe:
                        times.add(time_ms)
                        differ.append(float((said.labels != other.labels).mean()))
                rows.append(
                    {
                        "backend": backend,
                        "size": f"{width}x{height}",
                        "frame": "key" if keyframe else "between",
                        **times.summary(),
                        "labels that differ": float(np.mean(differ)) if differ else 0.0,
                    }
                )
    return rows


def _driven(
    folder: str, backend: str, pictures: list[UInt8Array], plans: Path
) -> Iterator[tuple[Segmentation, float]]:
    """What a pipeline says of a drive, and the milliseconds that each frame took."""
    config = PipelineConfig(
        engines_folder=folder,
        backend=backend,
        backend_fallback=False,
        plans_folder=str(plans),
        condition=Weather.CLEAR.value,
        keyframe_interval=_INTERVAL,
    )
    pipeline = open_pipeline(config)
    for number in range(_WARM_UP + _ROUNDS):
        frame = Frame(pictures[number % len(pictures)], round(number * 1e9 / RATE_HZ))
        started = time.perf_counter()
        said = pipeline.process(frame)
        if number >= _WARM_UP:
            yield said, (time.perf_counter() - started) * 1e3


def _rivals(asked: Asked) -> list[dict[str, Any]]:
    """The whole road in PyTorch, each way at each size."""
    from benchmarks.torch_rival import WAYS, TorchRoad

    weights = Path(__file__).parents[1] / "training" / "weights" / f"{_NETWORK}.pt"
    rows = []
    for height, width in SIZES:
        picture = _picture(height, width)
        for way in WAYS:
            road = TorchRoad(weights, (height, width), way, "cuda")
            times = _clocked(lambda r=road, p=picture: r.run(p))
            rows.append({"way": f"torch {way}", "size": f"{width}x{height}", **times.summary()})
    return rows


def _rtx(asked: Asked) -> dict[str, Any]:
    """TensorRT-RTX's answer, whatever it is."""
    path = sized_engines(asked, *SIZES[0]) / f"{_NETWORK}.onnx"
    wish = Wish("tensorrt_rtx", plans=PlanSettings(asked.folder / "rtx"))
    return {"answer": shelf.check(path, wish).problem or "it runs"}


def sized_engines(asked: Asked, height: int, width: int) -> Path:
    """A folder with every engine in every precision, told that pictures have that size.

    The classifier has a size of its own. Raises `EngineError` where a file is no engine.
    """
    folder = asked.folder / f"{width}x{height}"
    for path in asked.engine_paths():
        role = read_metadata(path).role
        size = {"weather": None, "correction": (height // 2, width // 2)}.get(
            role, (height, width)
        )
        for one in shelf.with_variants(path):
            _copy(one, folder / one.relative_to(path.parent), size)
    return folder


def _copy(path: Path, copy: Path, size: tuple[int, int] | None) -> None:
    """An engine told that pictures have another (H, W)."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
    if size is not None:
        told = replace(read_metadata(path), input_height=size[0], input_width=size[1])
        write_metadata(copy, told)


def _picture(height: int, width: int) -> UInt8Array:
    return street((width, height))[0]


def _clocked(work: Callable[[], object]) -> Latency:
    """Times of one thing by itself, in milliseconds."""
    times = Latency()
    for number in range(_WARM_UP + _ROUNDS):
        started = time.perf_counter()
        work()
        if number >= _WARM_UP:
            times.add((time.perf_counter() - started) * 1e3)
    return times


_STEPS: dict[str, Step] = {
    "tests": _tests,
    "engines": _engines,
    "road": _road,
    "rivals": _rivals,
    "tensorrt_rtx": _rtx,
}
