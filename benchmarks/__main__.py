"""What the node costs on this machine: one command for every figure.

    python -m benchmarks                    every part, about twenty minutes
    python -m benchmarks node memory        only these
    python -m benchmarks --quick            small, shows that everything works: not to be quoted

Tables go to the terminal and everything to one JSON file, named after the machine; parts that
were not asked for keep what an earlier run has written there. How to read it: docs/benchmarks.md.
The machine should be idle otherwise; where every core was busy, the tables say so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from adverse_perception.files import FileError, write_json
from adverse_perception.inference import EngineError
from adverse_perception.report import describe, machine
from benchmarks.asked import Asked, Part

_RESULTS = Path(__file__).parent / "results"
_QUICK = Path("out") / "benchmarks-quick.json"
PARTS: Mapping[str, Part] = {
    "engines": Part(
        "latency of every engine by backend, precision, size and threads", "engine_latency"
    ),
    "stages": Part("a frame's road without ROS", "road_stages"),
    "node": Part(
        "the node over DDS: latency, drops, processor time by size, rate and cameras", "node_load"
    ),
    "cameras": Part("several cameras in one process by workers, threads and batch", "camera_load"),
    "startup": Part("from start to the first labels", "startup"),
    "memory": Part("the node's memory over time", "memory"),
    "gpu": Part("what a GPU makes of it, beside PyTorch", "gpu"),
}
"""Every part by name, in the order in which they run."""


def results_file(described: Mapping[str, Any]) -> Path:
    """Where a machine's figures are kept."""
    name = f"{described['cpu']} {described['cores']} cores"
    return _RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def main(words: list[str] | None = None) -> int:
    """Measure, print and write."""
    asked = _parser().parse_args(words)
    described = machine()
    target = asked.json or (_QUICK if asked.quick else results_file(described))
    records = _earlier(target)
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.parts or PARTS:
            part = PARTS[name]
            print(f"\n{name}: {part.about}\n", flush=True)
            own = Path(folder) / name
            own.mkdir()
            try:
                found = part.measure(Asked(own, asked.quick, asked.engines))
            except (EngineError, ImportError) as error:
                print(f"left out: {error}")
                continue
            made = datetime.now(timezone.utc).isoformat(timespec="seconds")
            records[name] = {**found, "made": made, "machine": described, "quick": asked.quick}
            print(part.told(found), flush=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_json(target, records)
    print(f"\n{describe(described)}\n{target}")
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "\n".join(f"  {name:8} {part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\nParts:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help="which; none = all")
    parser.add_argument("--quick", action="store_true", help="small; figures not to be quoted")
    parser.add_argument("--engines", default="", metavar="FOLDER", help="instead of the shipped")
    parser.add_argument("--json", type=Path, metavar="FILE", help="instead of benchmarks/results")
    return parser


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(PARTS)}, found {name!r}")
    return name


def _earlier(target: Path) -> dict[str, Any]:
    """What the file holds already; nothing where there is none or it is not readable."""
    try:
        kept = json.loads(target.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileError as error:
        sys.exit(str(error))
