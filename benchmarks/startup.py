"""How long a start takes: `python -m benchmarks.startup`.

`adverse-perception segment` for one picture: the whole command as a user types it, Python,
imports, engines, one picture, files written; beside it, in the same run, a Python that only
imports what no command can do without. And the node (`python -m benchmarks startup`): from the
start of its process to the first labels, with a camera that sends already.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adverse_perception.report import describe, machine, table
from benchmarks.asked import Asked, progress

_FLOOR = "import numpy, cv2, onnxruntime, numba"
_SIZE = (640, 360)
_RATE_HZ = 30.0


def wall_s(*arguments: str) -> float:
    """Wall time of one Python process, in seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def segment_s(rounds: Iterable[object], folder: Path) -> tuple[list[float], list[float]]:
    """Wall times of the imports alone and of `segment`, in turns."""
    picture = folder / "street.png"
    patches = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    cv2.imwrite(str(picture), cv2.resize(patches, (480, 360)))
    command = ["-m", "adverse_perception", "segment", str(picture), "--out", f"{folder}/out"]
    wall_s(*command)  # the first run may compile what later ones find on disk
    pairs = [(wall_s("-c", _FLOOR), wall_s(*command)) for _ in rounds]
    return [floor for floor, _ in pairs], [whole for _, whole in pairs]


def first_labels_s(asked: Asked) -> float:
    """From the start of the node's process to the first labels heard, in seconds."""
    from benchmarks.node_rig import parameters, running_node
    from benchmarks.wire import Image, Sender

    camera = Sender("camera", "camera_optical")
    camera.prepare(np.full((_SIZE[1], _SIZE[0], 3), 120, np.uint8))
    heard: list[Any] = []
    started = time.monotonic()
    values = parameters(str(asked.engine_paths()[0].parent), ["camera"])
    try:
        with running_node(asked.folder, values) as (_, observer):
            observer.listen(Image, "camera/labels", heard.append)

            def labels_have_come() -> bool:
                camera.send(time.time_ns())
                observer.receive_until(time.monotonic() + 1 / _RATE_HZ)
                return bool(heard)

            observer.wait(labels_have_come, "labels")
            return time.monotonic() - started
    finally:
        camera.close()


def measure(asked: Asked) -> dict[str, Any]:
    """Both starts, several times each."""
    from benchmarks.wire import isolate

    isolate(asked.folder)
    runs = range(1 if asked.quick else 7)
    floors, whole = segment_s(progress(runs, "segment", "run"), asked.folder)
    node = [first_labels_s(asked) for _ in progress(runs, "node", "run")]
    return {"imports_s": _kept(floors), "segment_s": _kept(whole), "node_s": _kept(node)}


def told(record: Mapping[str, Any]) -> str:
    """One line for each start."""
    names = {
        "imports_s": "imports alone (numpy, cv2, onnxruntime, numba)",
        "segment_s": "adverse-perception segment, one picture",
        "node_s": "the node, to its first labels heard",
    }
    rows = [(names[key], *record[key].values()) for key in names]
    return table(("start, s", "median", "least", "most", "runs"), rows)


def _kept(times_s: Sequence[float]) -> dict[str, Any]:
    middle = statistics.median(times_s)
    rounded = (round(value, 3) for value in (middle, min(times_s), max(times_s)))
    return {**dict(zip(("median", "least", "most"), rounded, strict=True)), "runs": len(times_s)}


def main() -> int:
    """Measure `segment` and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=7, help="how often each (default 7)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        floors, whole = segment_s(range(runs), Path(folder))
    ratio = statistics.median(b / a for a, b in zip(floors, whole, strict=True))
    print(f"imports alone   {statistics.median(floors):.2f} s  (numpy, cv2, onnxruntime, numba)")
    print(f"segment         {statistics.median(whole):.2f} s  ({ratio:.2f} times the imports)")
    print(describe(machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
