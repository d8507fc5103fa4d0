"""Does the node live through a hard drive? `python -m benchmarks.reliability --minutes 10`

Three cameras at 15 Hz come and go and come back with another size, the weather changes, engines
fail on some pictures, others are cut off or too late, parameters are changed, listeners join and
leave: a plan drawn from a seed. Checked all along: every result has the stamp, the frame and the
content of a picture that was sent, none comes twice, late or for nothing; no camera is without
labels for long; every picture is labelled or counted as dropped for a cause; memory, threads and
open files do not grow; the node ends cleanly. The exit code is 1 where something is wrong. What is
done and checked, and what came of it: docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.files import write_json
from adverse_perception.report import describe, machine, table
from benchmarks import wire
from benchmarks.growth import growth
from benchmarks.ledger import STUCK_S
from benchmarks.node_rig import parameters, running_node
from benchmarks.plot import Panel, write_plot
from benchmarks.reliability_run import RATE_HZ, Course, ReliabilityRun, Sample
from benchmarks.trial_engines import write_marked
from benchmarks.trouble import plan
from benchmarks.wire import WireError
from demo.footage import DemoError

CAMERAS = ("front", "left", "rear")
SIZES = ((128, 96), (160, 120), (192, 108), (256, 144))
SHIPPED_SIZES = ((384, 288), (480, 360), (640, 360))
_LEAST = {"rss_mb": 8.0, "threads": 2.0, "files": 4.0}
"""Growth below this is none: a heap grows in steps, a camera that comes has threads and files."""


def survive(folder: Path, duration_s: float, seed: int = 1, engines: str = "") -> dict[str, Any]:
    """Run the node through a plan of troubles; the record says what came of it.

    Args:
        folder: where engines and logs may lie meanwhile.
        duration_s: of the plan; 30 s or more.
        seed: of the plan.
        engines: folder of engine files, on which nothing fails and whose labels are not read;
            empty = engines made for this, which fail when a picture asks for it.
    """
    wire.isolate(folder)
    used = engines or str(write_marked(folder / "engines"))
    sizes = SHIPPED_SIZES if engines else SIZES
    events = plan(seed, duration_s, CAMERAS, sizes)
    course, ending = Course(), ""
    try:
        with running_node(folder, parameters(used, CAMERAS, threads=1)) as (pid, observer):
            run = ReliabilityRun(pid, observer, CAMERAS, marked=not engines)
            course = run.course
            observer.counts(CAMERAS[0])  # it is up: at the very first start it compiles for long
            run.play(events, duration_s)
    except (DemoError, WireError) as error:
        ending = str(error)
    return _record(course, ending, duration_s, seed)


def _record(course: Course, ending: str, duration_s: float, seed: int) -> dict[str, Any]:
    ledger, samples = course.ledger, course.samples
    sums = ledger.close(course.counts) if course.counts else {}
    grown = _growths(samples)
    growing = [f"{name} grows: {found}" for name, found in grown.items() if found["grows"]]
    faults = [*ledger.faults, *growing, *([ending] if ending else [])]
    latency_ms = [value for sample in samples for value in sample.latency_ms]
    waited_s = {"discovered": course.discovered_s, "labelled": ledger.back_after_s}
    return {
        "seconds": duration_s,
        "seed": seed,
        "rate_hz": RATE_HZ,
        "sent_hz": round(sums.get("sent", 0) / max(course.cameras_s, 1.0), 2),
        "cameras": len(CAMERAS),
        "happened": dict(course.happened),
        "pictures": sums,
        "results": dict(ledger.results),
        "engines": dict(course.engines),
        "weathers": dict(course.weathers),
        "frames": dict(course.frames),
        "longest_silence_s": round(ledger.longest_silence_s, 2),
        "allowed_silence_s": STUCK_S,
        "coming_s": {
            what: {"p50": _point(times, 50), "most": _point(times, 100)}
            for what, times in waited_s.items()
        },
        "latency_ms": {f"p{share}": _point(latency_ms, share) for share in (50, 95, 99)},
        "growth": grown,
        "ended_cleanly": not ending,
        "faults": faults,
        "samples": {
            "at_s": [round(sample.at_s, 2) for sample in samples],
            "rss_mb": [sample.figures.rss_mb for sample in samples],
            "threads": [sample.figures.threads for sample in samples],
            "files": [sample.figures.files for sample in samples],
            "latency_p50_ms": [_point(sample.latency_ms, 50) for sample in samples],
            "latency_p95_ms": [_point(sample.latency_ms, 95) for sample in samples],
        },
        "machine": machine(),
    }


def _growths(samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    if len(samples) < 24:
        return {}
    times = [sample.at_s for sample in samples]
    values = {name: [getattr(one.figures, name) for one in samples] for name in _LEAST}
    return {name: growth(times, values[name], least).record() for name, least in _LEAST.items()}


def _point(values: Sequence[float], share: float) -> float:
    return round(float(np.percentile(values, share)), 2) if values else 0.0


def told(record: Mapping[str, Any]) -> str:
    """What came of it, for the terminal."""
    rows = [
        (name, one["middle"], one["last"], one["bound"], _slope(one), one["peak"])
        for name, one in record["growth"].items()
    ]
    header = ("", "middle third", "last third", "bound", "per minute", "peak")
    parts = [
        f"{record['seconds'] / 60:.1f} minutes, {record['cameras']} cameras at"
        f" {record['rate_hz']:.0f} Hz ({record['sent_hz']} in the mean), seed {record['seed']}",
        _counted("happened", record["happened"]),
        _counted("pictures", record["pictures"]),
        _counted("results", record["results"]),
        _counted("engines", record["engines"]),
        _counted("weathers", record["weathers"]),
        _counted("frames", record["frames"]),
        f"longest silence {record['longest_silence_s']} s (allowed {record['allowed_silence_s']})",
        f"a camera that comes: listened to after {_waited(record, 'discovered')}, its labels"
        f" {_waited(record, 'labelled')} later",
        f"latency, ms: {_counted('', record['latency_ms']).strip(': ')}",
        table(header, rows),
        "ended cleanly" if record["ended_cleanly"] else "did NOT end cleanly",
        *([f"WRONG: {fault}" for fault in record["faults"]] or ["nothing wrong"]),
        describe(record["machine"]),
    ]
    return "\n".join(parts)


def _waited(record: Mapping[str, Any], what: str) -> str:
    times = record["coming_s"][what]
    return f"{times['p50']} s (median; most {times['most']} s)"


def _slope(growth_record: Mapping[str, Any]) -> str:
    return f"{growth_record['slope_per_min']:+.2f} +- {growth_record['slope_error']:.2f}"


def _counted(what: str, counts: Mapping[str, Any]) -> str:
    return f"{what}: " + ", ".join(f"{value} {name}" for name, value in counts.items())


def draw(record: Mapping[str, Any], path: Path) -> None:
    """Write a picture of memory and latency over time."""
    samples = record["samples"]
    times = samples["at_s"]
    memory = Panel("memory of the node, MB", times, [samples["rss_mb"]])
    lines = [samples["latency_p50_ms"], samples["latency_p95_ms"]]
    latency = Panel("latency in each half second, ms: median (blue), p95 (red)", times, lines)
    counts = [samples["threads"], samples["files"]]
    kept = Panel("threads (blue) and open files (red) of the node", times, counts)
    write_plot(path, [memory, latency, kept])


def main() -> int:
    """Run, print, write; 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan (default 1)")
    parser.add_argument("--engines", default="", help="folder of engines; nothing fails then")
    parser.add_argument("--json", type=Path, help="write everything here too")
    parser.add_argument("--plot", type=Path, help="draw memory and latency over time here (PNG)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = survive(Path(folder), asked.minutes * 60, asked.seed, asked.engines)
    print(told(record))
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(asked.json, record)
    if asked.plot:
        draw(record, asked.plot)
    return 1 if record["faults"] else 0


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    sys.exit(main())
