"""What a run of the benchmarks was asked for; every part reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from adverse_perception.inference import engine_files

Item = TypeVar("Item")


@dataclass(frozen=True)
class Asked:
    """The same for all parts.

    Attributes:
        folder: where a part may leave what it needs for the while: engines, logs.
        quick: a small run that shows that everything works, not figures to quote.
        engines: folder of the engine files; empty = the shipped ones.
    """

    folder: Path
    quick: bool = False
    engines: str = ""

    def engine_paths(self) -> list[Path]:
        """The engine files asked for. Raises `EngineError`."""
        return engine_files(self.engines)


@dataclass(frozen=True)
class Part:
    """One part of the benchmarks.

    Attributes:
        about: what it measures, in a line.
        module: where it is; imported when it runs, since not every machine has what it needs.
    """

    about: str
    module: str

    def measure(self, asked: Asked) -> dict[str, Any]:
        """Do it; gives a record for JSON.

        Raises:
            EngineError: it cannot be done here.
            ImportError: it needs what is not installed.
        """
        found: dict[str, Any] = self._loaded().measure(asked)
        return found

    def told(self, record: dict[str, Any]) -> str:
        """The record as tables."""
        return str(self._loaded().told(record))

    def _loaded(self) -> Any:
        return import_module(f"benchmarks.{self.module}")


def progress(items: Iterable[Item], what: str, unit: str = "it") -> Iterable[Item]:
    """The items, with a bar on the terminal."""
    bar: Iterable[Item] = tqdm(items, what, unit=unit, leave=False, disable=None)
    return bar
