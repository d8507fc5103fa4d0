"""Results as a person reads them (Markdown) and as a program does (JSON), side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adverse_perception.files import write_aside, write_json
from adverse_perception.report import describe, machine

Row = Mapping[str, float | str | None]


def table(rows: Sequence[Row], digits: Mapping[str, int] | None = None) -> str:
    """Rows of one shape as Markdown; a figure that does not exist is a dash.

    Args:
        rows: column -> value, at least one row.
        digits: decimals of a column's figures (default 3).
    """
    columns = list(rows[0])
    lines = [_line(columns), _line(["---"] * len(columns))]
    for row in rows:
        lines.append(
            _line([_cell(row.get(name), (digits or {}).get(name, 3)) for name in columns])
        )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | str | None, digits: int) -> str:
    if value is None or value != value:
        return "-"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def write_results(path: Path, title: str, text: str, figures: Mapping[str, Any]) -> None:
    """Write `path` (.md) and the same figures beside it (.json), with the machine's description.

    Raises:
        FileError: the folder cannot be written to.
    """
    found = machine()
    with write_aside(path) as aside:
        aside.write_text(f"# {title}\n\n{text}\n\nMachine: {describe(found)}.\n", encoding="utf-8")
    write_json(path.with_suffix(".json"), {**_plain(figures), "machine": found})


def _plain(value: Any) -> Any:
    """JSON knows no nan: a figure that does not exist is null."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if value != value else value
