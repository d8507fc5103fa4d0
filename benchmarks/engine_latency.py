"""How long engines take here: by backend, precision, size and threads.

Engines of the same setting take turns in the same rounds, so that whatever else the machine does
slows them all alike. Every engine is timed in each precision that it is there in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adverse_perception import shelf
from adverse_perception.inference import Wish, read_metadata
from adverse_perception.report import table
from benchmarks.asked import Asked, progress
from benchmarks.backends import backends

_SIZES = ("", "1024x512")
"""Empty is each engine's own; engines of a fixed size are timed at that only."""
_COLUMNS = ("engine", "precision", "backend", "threads", "size", "stage, ms", "p50", "p95")


@dataclass(frozen=True)
class Setting:
    """How a group of engines is run."""

    backend: str
    threads: int
    size: str


def measure(asked: Asked) -> dict[str, Any]:
    """Time every engine in every setting; what is refused is said and left out."""
    files = _files(asked)
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for setting in progress(list(_settings(asked)), "engines", "setting"):
        wish = Wish(setting.backend, setting.threads)
        able = []
        for path in files:
            if setting.size and read_metadata(path).role == "weather":
                continue
            if problem := shelf.check(path, wish).problem:
                refused[f"{shelf.short_name(path)} on {setting.backend}"] = problem
            else:
                able.append(path)
        if able:
            rounds = range(5 if asked.quick else 40)
            rows += map(_kept, shelf.bench(able, wish, rounds, setting.size))
    return {"rows": rows, "refused": refused}


def told(record: Mapping[str, Any]) -> str:
    """One line for each engine, setting and stage."""
    rows = [
        (
            Path(row["engine"]).stem,
            row["precision"],
            row["backend"],
            row["threads"],
            row["size"],
            stage,
            times["p50"],
            times["p95"],
        )
        for row in record["rows"]
        for stage, times in row["latency_ms"].items()
    ]
    left_out = [f"left out: {what}: {why}" for what, why in record["refused"].items()]
    return "\n".join([table(_COLUMNS, rows), *left_out])


def _files(asked: Asked) -> list[Path]:
    return [one for path in asked.engine_paths() for one in shelf.with_variants(path)]


def _settings(asked: Asked) -> Iterator[Setting]:
    for backend in backends():
        on_cpu = backend != "tensorrt"
        for threads in (1, 2) if on_cpu and not asked.quick else (1,):
            for size in _SIZES[:1] if asked.quick else _SIZES:
                yield Setting(backend, threads, size)


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "machine"}
