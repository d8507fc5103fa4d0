"""The engines at hand: what they are, whether they are whole, how fast they are here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adverse_perception import kernels
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.inference import (
    FULL,
    PRECISIONS,
    Engine,
    EngineError,
    EngineMetadata,
    Wish,
    engine_files,
    open_engine,
    output_sets,
    read_metadata,
    read_variant,
    variant_path,
)
from adverse_perception.inference.tensorrt_building import Workshop
from adverse_perception.propagation import map_shapes
from adverse_perception.report import machine
from adverse_perception.scores import Latency

_WARM_UP_FRAMES = 3


@dataclass(frozen=True)
class Inspection:
    """What is known of one engine file.

    Attributes:
        path: the file.
        metadata: what it says about itself; None when it is refused.
        problem: why it is refused; empty when it is good.
        remark: what its user should know although it is good.
    """

    path: Path
    metadata: EngineMetadata | None
    problem: str = ""
    remark: str = ""

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        said = asdict(self.metadata) if self.metadata else {}
        return {"file": str(self.path), "bytes": _size(self.path), "problem": self.problem, **said}

    def row(self) -> tuple[object, ...]:
        """The same for a table with the columns of `COLUMNS`."""
        size = f"{_size(self.path) / 1e6:.1f} MB"
        if self.metadata is None:
            return (short_name(self.path), "refused", "-", "-", size, "-", "-")
        told = self.metadata
        return (
            short_name(self.path),
            told.role,
            "/".join(told.conditions),
            len(told.classes),
            size,
            ", ".join(data.get("name", "?") for data in told.training_data) or "-",
            _scores(told),
        )


COLUMNS = ("engine", "role", "weather", "classes", "size", "learnt from", "scores")


def chosen_files(folder: str, names: list[str]) -> list[Path]:
    """Engine files of a folder (empty = the shipped ones), all or those of some names.

    Raises:
        EngineError: no such folder, or no such engine in it.
    """
    files = engine_files(folder)
    by_name = {file.stem: file for file in files}
    if missing := [name for name in names if Path(name).stem not in by_name]:
        raise EngineError(
            f"{files[0].parent} has no engine {missing[0]}: expected one of {', '.join(by_name)}"
        )
    return [by_name[Path(name).stem] for name in names] or files


def with_variants(path: Path) -> list[Path]:
    """An engine file and those of its variants that are there."""
    places = (variant_path(path, precision) for precision in PRECISIONS)
    return [path, *(place for place in places if place.exists())]


def short_name(path: Path) -> str:
    """What a table calls an engine file: a variant by its folder too."""
    variant = path.parent.name in PRECISIONS
    return f"{path.parent.name}/{path.name}" if variant else path.name


def read(path: Path) -> Inspection:
    """Read what an engine says about itself, checksum included, without running it."""
    try:
        return Inspection(path, read_metadata(path))
    except EngineError as error:
        return Inspection(path, None, str(error))


def check(path: Path, wish: Wish) -> Inspection:
    """Load an engine and run one frame through it."""
    try:
        loaded = open_engine(path, wish)
        engine = loaded.engine
        picture = _picture(engine.metadata)
        for name, values in engine.run(picture, maps=_maps(engine.metadata, picture)).items():
            if not np.isfinite(values).all():
                raise EngineError(f"{path}: {name} is not finite; export the engine again")
    except EngineError as error:
        return Inspection(path, None, str(error))
    return Inspection(loaded.path, engine.metadata, remark=loaded.remark)


PLAN_COLUMNS = ("engine", "outputs", "plan", "size", "built in")


def build(path: Path, workshop: Workshop, precision: str) -> list[dict[str, Any]]:
    """Build the TensorRT plans of an engine in some precision, or find those that are kept.

    Returns:
        A record for JSON for each plan: engine, outputs, plan, bytes, built_s, problem, remark;
        when the engine is refused, one with the reason as its problem.
    """
    try:
        variant = read_variant(path, precision, workshop.library.name)
        made = workshop.plans(variant.file)
    except EngineError as error:
        return [{"engine": str(path), "outputs": [], "plan": "", "problem": str(error)}]
    return [
        {
            "engine": str(variant.file.path),
            "outputs": list(outputs),
            "plan": str(plan.path or ""),
            "bytes": len(plan.content),
            "built_s": round(plan.built_s, 2),
            "problem": plan.problem,
            "remark": variant.remark,
        }
        for outputs, plan in made.items()
    ]


def plan_row(record: dict[str, Any]) -> tuple[object, ...]:
    """A record of `build` for a table with the columns of `PLAN_COLUMNS`."""
    name = short_name(Path(record["engine"]))
    if "bytes" not in record:
        return (name, "-", "refused", "-", "-")
    time_s = f"{record['built_s']:.1f} s" if record["built_s"] else "was there"
    size = f"{record['bytes'] / 1e6:.1f} MB"
    plan = Path(record["plan"]).name or "not kept"
    return (name, ", ".join(record["outputs"]), plan, size, time_s)


def bench(
    paths: Sequence[Path], wish: Wish, rounds: Iterable[object], size: str = ""
) -> list[dict[str, Any]]:
    """Time engines, and the labelling of their logits, on this machine.

    They take turns, so that whatever else the machine does slows them all alike.

    Args:
        paths: engine files.
        wish: how they are to be run.
        rounds: in each of them every engine is timed once; one or more.
        size: `WIDTHxHEIGHT` in pixels; empty = each engine's own.

    Returns:
        Records for JSON: engine, backend, size, frames, `latency_ms` by stage, machine, remark.

    Raises:
        EngineError: an engine is refused or fails; or the size is none.
    """
    trials = [_Trial(path, wish, size) for path in paths]
    for _ in rounds:
        for trial in trials:
            trial.run()
    return [
        {
            **trial.record(),
            "backend": wish.backend,
            "threads": wish.threads,
            "machine": machine(),
        }
        for trial in trials
    ]


class _Trial:
    """One engine, the picture it is timed with, and its times so far."""

    def __init__(self, path: Path, wish: Wish, size: str) -> None:
        self._loaded = open_engine(path, wish)
        self._engine = self._loaded.engine
        self._picture = _picture(self._engine.metadata, size)
        self._stages: dict[str, Latency] = {}
        for _ in range(_WARM_UP_FRAMES):
            _timed_run(self._engine, self._picture)

    def run(self) -> None:
        for stage, duration_ms in _timed_run(self._engine, self._picture).items():
            self._stages.setdefault(stage, Latency()).add(duration_ms)

    def record(self) -> dict[str, Any]:
        height, width = self._picture.shape[:2]
        return {
            "engine": str(self._loaded.path),
            "precision": self._engine.metadata.precision,
            "weights_sha256": self._engine.metadata.weights_sha256,
            "size": f"{width}x{height}",
            "frames": len(self._stages["infer"]),
            "latency_ms": {name: _rounded(kept.summary()) for name, kept in self._stages.items()},
            "remark": self._loaded.remark,
        }


def _timed_run(engine: Engine, picture: UInt8Array) -> dict[str, float]:
    times: dict[str, float] = {}
    maps = _maps(engine.metadata, picture)
    *more, usual = output_sets(engine.metadata.role)
    for wanted in (usual, *more):
        start = time.perf_counter()
        outputs = engine.run(picture, wanted, maps)
        stage = "infer" if wanted == usual else " + ".join(("infer", *wanted[1:]))
        times[stage] = (time.perf_counter() - start) * 1e3
    if "logits" in outputs:
        start = time.perf_counter()
        kernels.label(outputs["logits"], *picture.shape[:2])
        times["label"] = (time.perf_counter() - start) * 1e3
    return times


def _picture(metadata: EngineMetadata, size: str = "") -> UInt8Array:
    width, height = _pixels(size) if size else (metadata.input_width, metadata.input_height)
    # smooth content: noise would make the labelling look slower than any street does
    column, row = np.arange(width), np.arange(height)[:, None]
    planes = (column * 255 // width + 0 * row, row * 255 // height + 0 * column, column ^ row)
    return np.stack(planes, axis=-1).astype(np.uint8)


def _maps(metadata: EngineMetadata, picture: UInt8Array) -> dict[str, Float32Array]:
    """What an engine reads beside a picture, of the picture's content."""
    maps = {}
    for name, (planes, height, width) in map_shapes(metadata, *picture.shape[:2]).items():
        smooth = cv2.resize(picture[..., 0], (width, height)).astype(np.float32) / 255
        number = np.arange(planes, dtype=np.float32)[:, None, None]
        maps[name] = np.asarray(np.cos(number + 6 * smooth) ** 2, np.float32)
    return maps


def _pixels(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 16 and int(height) >= 16):
        raise EngineError(f"size: expected WIDTHxHEIGHT, both 16 or more, found {size!r}")
    return int(width) // 8 * 8, int(height) // 8 * 8  # as the segmenters round


def _scores(told: EngineMetadata) -> str:
    scores = ", ".join(f"{name} {score:.3f}" for name, score in told.scores.items()) or "-"
    if told.precision == FULL or math.isinf(told.loss):
        return scores
    return f"{scores} (at most {100 * max(0, told.loss):.2f} points below {FULL})"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _rounded(times: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in times.items()}
