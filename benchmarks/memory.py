"""Memory of the node over time while it works: level, slope with its error, peak."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from adverse_perception.report import table
from benchmarks import process_figures
from benchmarks.asked import Asked, progress
from benchmarks.growth import growth
from benchmarks.node_rig import Load, Rig, parameters, running_node
from benchmarks.street_pictures import street
from benchmarks.wire import isolate

_LEAST_MB = 4.0
_SLICE_S = 1.0


def measure(asked: Asked) -> dict[str, Any]:
    """Two minutes of 1280x720 at 15 Hz; memory is looked at once a second."""
    isolate(asked.folder)
    load = Load((640, 360) if asked.quick else (1280, 720))
    pictures = street(load.size)
    samples: list[tuple[float, process_figures.Figures]] = []
    engines = str(asked.engine_paths()[0].parent)
    slices, slice_s = (26, 0.1) if asked.quick else (120, _SLICE_S)
    with running_node(asked.folder, parameters(engines, load.names, threads=1)) as found:
        pid, observer = found
        rig = Rig(pid, observer, load.names)
        try:
            started = time.monotonic()
            for _ in progress(range(slices), "memory", "slice"):
                rig.send(load, pictures, slice_s)
                at_s = time.monotonic() - started
                samples.append((at_s, process_figures.figures(pid)))
        finally:
            rig.close()
    times = [at_s for at_s, _ in samples]
    judged = growth(times, [one.rss_mb for _, one in samples], _LEAST_MB)
    return {
        "size": f"{load.size[0]}x{load.size[1]}",
        "rate_hz": load.rate_hz,
        "seconds": round(times[-1], 1),
        "rss_mb": judged.record(),
        "peak_mb": samples[-1][1].peak_mb,
        "threads": [samples[0][1].threads, samples[-1][1].threads],
        "files": [samples[0][1].files, samples[-1][1].files],
        "samples_mb": [one.rss_mb for _, one in samples],
    }


def told(record: Mapping[str, Any]) -> str:
    """In a table."""
    rss = record["rss_mb"]
    slope = f"{rss['slope_per_min']:+.2f} +- {rss['slope_error']:.2f}"
    header = ("size", "s", "MB, middle third", "last third", "bound", "MB/min", "peak MB", "grows")
    row = (record["size"], record["seconds"], rss["middle"], rss["last"], rss["bound"], slope)
    return table(header, [(*row, record["peak_mb"], "YES" if rss["grows"] else "no")])
