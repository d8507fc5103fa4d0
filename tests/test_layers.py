from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import adverse_perception

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = (
    "rclpy", "onnxruntime", "openvino", "rosbags", "torch", "numba", "pycuda", "cuda",
    "tensorrt", "tensorrt_rtx", "training", "demo",
)  # fmt: skip
ITS_OWN_IMPORT = {
    "adverse_perception.node",
    "adverse_perception.inference.onnxruntime_backend",
    "adverse_perception.inference.openvino_backend",
    "adverse_perception.kernels.compiling",
    "adverse_perception.kernels.cuda_device",
    "adverse_perception.kernels.area",
    "adverse_perception.kernels.gather",
    "adverse_perception.kernels.pycuda_device",
    "adverse_perception.kernels.sparse",
    "adverse_perception.bags",
}
"""The files that may import an optional package, one each."""

SHOW_WHAT_CAME_ALONG = """
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
    came = [optional for optional in {optional!r} if optional in sys.modules]
    if came:
        sys.exit(name + " imports " + ", ".join(came))
"""


def modules() -> list[str]:
    found = pkgutil.walk_packages(adverse_perception.__path__, "adverse_perception.")
    names = ["adverse_perception", *(module.name for module in found)]
    return [name for name in names if not name.endswith("__main__")]


def test_importing_the_package_imports_nothing_optional() -> None:
    names = [name for name in modules() if name not in ITS_OWN_IMPORT]
    assert len(names) > 15
    script = SHOW_WHAT_CAME_ALONG.format(modules=names, optional=OPTIONAL)
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_every_file_that_may_import_something_optional_is_there() -> None:
    assert set(modules()) >= ITS_OWN_IMPORT


def test_imports_go_down_only() -> None:
    pytest.importorskip("importlinter")
    shown = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout[-3000:] + shown.stderr
