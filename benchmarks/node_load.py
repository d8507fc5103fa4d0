"""The node end to end: real pictures over real DDS, by size, rate and number of cameras.

The node runs in a process of its own, so that what sending costs is not counted. Every load is
driven twice: with the engines, and with twins that cost next to nothing (`trial_engines.hollow`).
What the node spends then is what is not inference: receiving, decoding, resizing, labelling,
publishing labels and confidence. Every frame is a key frame there, the dearest case for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adverse_perception.report import table
from benchmarks import process_figures
from benchmarks.asked import Asked, progress
from benchmarks.node_rig import Load, Rig, parameters, running_node
from benchmarks.street_pictures import CAMERA_SIZES
from benchmarks.trial_engines import hollow
from benchmarks.wire import isolate

BUDGET_MS = 8.0
"""What is not inference may cost at 1280x720, in milliseconds of one core per frame."""
ENGINES, TWINS = "engines", "twins"


@dataclass(frozen=True)
class Plan:
    """One node and the loads it is given; all of them have the same number of cameras."""

    engines: str
    loads: tuple[Load, ...]
    settings: Mapping[str, object] = field(default_factory=dict)


def measure(asked: Asked) -> dict[str, Any]:
    """Drive every load with the engines and with their twins; see the module."""
    isolate(asked.folder)
    plans = _quick_plans() if asked.quick else _plans()
    twins = hollow(asked.folder / "hollow", asked.engine_paths())
    folders = {ENGINES: str(asked.engine_paths()[0].parent), TWINS: str(twins)}
    duration_s = 2.0 if asked.quick else 8.0
    records, idle = [], 0.0
    bar = progress([(plan, load) for plan in plans for load in plan.loads], "node", "load")
    steps = iter(bar)
    for plan in plans:
        names = plan.loads[0].names
        settings = parameters(folders[plan.engines], names, threads=1, **plan.settings)
        with running_node(asked.folder, settings) as (pid, observer):
            rig = Rig(pid, observer, names)
            try:
                idle = idle or rig.idle(duration_s / 2)
                for load in plan.loads:
                    next(steps)
                    found = rig.drive(load, duration_s)
                    records.append({"engines": plan.engines, **found})
            finally:
                rig.close()
    next(steps, None)
    return {"loads": records, "idle_share": round(idle, 4), "overhead": _overhead(records)}


def _plans() -> list[Plan]:
    every_frame = {"keyframe_interval": 1}
    rates = tuple(Load(size, rate) for size in CAMERA_SIZES for rate in (15.0, 30.0))
    return [
        Plan(TWINS, tuple(Load(size) for size in CAMERA_SIZES), every_frame),
        Plan(ENGINES, tuple(Load(size) for size in CAMERA_SIZES), every_frame),
        Plan(ENGINES, rates),
        *(Plan(ENGINES, tuple(Load(s, cameras=n) for s in CAMERA_SIZES[:2])) for n in (2, 4)),
    ]


def _quick_plans() -> list[Plan]:
    every_frame = {"keyframe_interval": 1}
    return [Plan(kind, (Load(CAMERA_SIZES[0]),), every_frame) for kind in (TWINS, ENGINES)]


def _overhead(records: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What is not inference at 1280x720, with the twins; None where that was not driven."""
    for record in records:
        if record["engines"] == TWINS and record["size"] == "1280x720":
            found = record["rest_ms_per_frame"]
            return {"ms_per_frame": found, "budget_ms": BUDGET_MS, "kept": found <= BUDGET_MS}
    return None


_COLUMNS = (
    "engines",
    "size",
    "Hz",
    "cameras",
    "sent",
    "labelled",
    "dropped",
    "latency p50, ms",
    "p95",
    "cores",
    "ms/frame",
    "inference",
    "rest",
    "transport",
    "executor",
    "machine",
)


def told(record: Mapping[str, Any]) -> str:
    """The loads as a table, and the budget."""
    lines = [table(_COLUMNS, [_row(load) for load in record["loads"]])]
    lines.append(f"idle: {record['idle_share']:.1%} of a core")
    if found := record["overhead"]:
        verdict = "kept" if found["kept"] else "NOT kept"
        lines.append(
            f"not inference at 1280x720: {found['ms_per_frame']:.1f} ms of one core per frame"
            f" (budget {found['budget_ms']:.0f} ms: {verdict})"
        )
    if any(load["saturated"] for load in record["loads"]):
        lines.append("SATURATED: every core was busy; latency and drops say what is left then")
    return "\n".join(lines)


def _row(load: Mapping[str, Any]) -> tuple[object, ...]:
    spent, latency = load["cpu_ms_per_frame"], load["latency_ms"] or {"p50": None, "p95": None}
    dropped = ", ".join(f"{count} {cause}" for cause, count in load["dropped"].items())
    return (
        load["engines"],
        load["size"],
        f"{load['rate_hz']:.0f}",
        load["cameras"],
        load["sent"],
        load["labelled"],
        dropped or "none",
        latency["p50"],
        latency["p95"],
        f"{load['cpu_share']:.2f}",
        spent["all"],
        load["inference_ms_per_frame"],
        load["rest_ms_per_frame"],
        spent[process_figures.TRANSPORT],
        spent[process_figures.EXECUTOR],
        f"{load['machine_busy']:.0%}" + (" SATURATED" if load["saturated"] else ""),
    )
