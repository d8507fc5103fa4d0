"""What Linux knows of a running process: processor time, memory, threads, open files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat, counted after the name in brackets
TRANSPORT, EXECUTOR, LABELLING = "transport", "executor", "labelling"
"""Threads of the node: Fast DDS's own; the one that spins; the rest, engines' included."""


class ProcessError(RuntimeError):
    """A process that is gone, or a system without /proc."""


@dataclass(frozen=True)
class Figures:
    """How large a process is.

    Attributes:
        rss_mb: memory that it holds, megabytes.
        peak_mb: the most it has held.
        threads: number of its threads.
        files: number of its open files, sockets included.
    """

    rss_mb: float
    peak_mb: float
    threads: int
    files: int


def figures(pid: int) -> Figures:
    """Look at a process. Raises `ProcessError`."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 names are enough
    except OSError as error:
        raise ProcessError(f"process {pid}: expected it in /proc, found {error}") from None
    said = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    rss_mb, peak_mb = (int(said[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return Figures(round(rss_mb, 2), round(peak_mb, 2), int(said["Threads"]), files)


def cpu_s(pid: int) -> Mapping[str, float]:
    """Processor seconds (user and system) a process has used, by kind of thread.

    A thread that has ended is no longer in it. Raises `ProcessError`.
    """
    used = dict.fromkeys((TRANSPORT, EXECUTOR, LABELLING), 0.0)
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            name, _, rest = task.joinpath("stat").read_text().partition(")")
            fields = rest.split()
            kind = _kind(name.partition("(")[2], int(task.name) == pid)
            used[kind] += (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S
    except OSError as error:
        raise ProcessError(f"process {pid}: expected it in /proc, found {error}") from None
    return used


def machine_busy() -> tuple[float, float]:
    """Processor seconds of all cores since the start of the machine: at work, and in all."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) for field in fields]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S


def _kind(name: str, spins: bool) -> str:
    if spins:
        return EXECUTOR
    return TRANSPORT if name.startswith("dds.") else LABELLING
