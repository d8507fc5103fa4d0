"""How long `adverse-perception segment` takes for one picture: `python -m benchmarks.startup`.

The whole command as a user types it: Python, imports, engines, one picture, files written. Beside
it, in the same run, a Python that only imports what no command can do without.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.report import describe, machine

_FLOOR = "import numpy, cv2, onnxruntime, numba"


def wall_s(*arguments: str) -> float:
    """Wall time of one Python process, in seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=7, help="how often each (default 7)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "street.png"
        patches = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
        cv2.imwrite(str(picture), cv2.resize(patches, (480, 360)))
        command = ["-m", "adverse_perception", "segment", str(picture), "--out", f"{folder}/out"]
        wall_s(*command)  # the first run may compile what later ones find on disk
        pairs = [(wall_s("-c", _FLOOR), wall_s(*command)) for _ in range(runs)]
    floors, whole = zip(*pairs, strict=True)
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"imports alone   {statistics.median(floors):.2f} s  (numpy, cv2, onnxruntime, numba)")
    print(f"segment         {statistics.median(whole):.2f} s  ({ratio:.2f} times the imports)")
    print(describe(machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
