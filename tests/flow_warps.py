"""Ways of doing the flow warp, all from numpy to numpy, so that one test can hold them all."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels import frame_gpu
from adverse_perception.kernels.device import Device
from adverse_perception.kernels.gpu import SOURCE, FlowWarp

_SOURCES = SOURCE, frame_gpu.SOURCE
_FAKE = Path(__file__).with_name("fake_cuda.cpp")
EXACT = 1e-5
"""Of the greatest magnitude: what rounding in another order may do."""

Labels = tuple[UInt8Array, UInt8Array]


def host_compiler() -> str:
    """Where g++ is, one that knows _Float16; the test is skipped where there is none."""
    found = shutil.which("g++")
    if found is None:
        pytest.skip("g++ is not installed")
    shown = subprocess.run([found, "-dumpversion"], capture_output=True, text=True, check=True)
    if int(shown.stdout.partition(".")[0]) < 12:
        pytest.skip(f"g++ {shown.stdout.strip()} does not know _Float16, 12 does")
    return found


def installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def build_fake_driver(folder: Path) -> None:
    """Build a libcuda.so.1 that runs our kernels on the CPU."""
    rest = folder / "rest.cpp"
    rest.write_text("".join(f'extern "C" int {name}() {{ return 801; }}\n' for name in _wanted()))
    subprocess.run(
        [
            *(host_compiler(), "-std=c++17", "-ffp-contract=off", "-Wno-unknown-pragmas"),
            *("-shared", "-fPIC", "-x", "c++", *map(str, (_FAKE, *_SOURCES, rest)), "-ldl"),
            *("-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")),
        ],
        check=True,
    )


def _wanted() -> list[str]:
    """What pycuda, which is linked with a driver, wants of one besides what ours can do."""
    if not installed("pycuda"):
        return []
    spec = importlib.util.find_spec("pycuda")
    assert spec is not None
    assert spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("_driver*.so")
    shown = subprocess.run(
        ["nm", "-D", "--undefined-only", str(library)], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"^CALL (\w+)", _FAKE.read_text(), re.MULTILINE))
    return sorted(set(re.findall(r"\b(cu[A-Z]\w+)", shown.stdout)) - known)


@dataclass(frozen=True)
class Implementation:
    """One way of doing it, from numpy to numpy; `rounding` is that of the warped planes."""

    warp: Callable[[Float32Array, Float32Array], Float32Array]
    correct_and_label: Callable[..., Labels]
    rounding: float = EXACT


def by_source(library: ctypes.CDLL, name: str, dtype: Any) -> Implementation:
    """The source as g++ compiled it; what it writes is fenced in, what it reads too."""

    def call(function: str, arrays: list[np.ndarray], *numbers: int) -> None:
        addresses = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        getattr(library, f"{function}_{name}")(*addresses, *map(ctypes.c_int, numbers))

    def warp(planes: Float32Array, flow: Float32Array) -> Float32Array:
        warped, fence = fenced(planes.shape, dtype)
        call("warp", [within_nan(planes, dtype), within_nan(flow), warped], *planes.shape)
        fence()
        return warped.astype(np.float32)

    def label(
        warped: Float32Array,
        correction: Float32Array,
        distortion: Float32Array,
        height: int,
        width: int,
    ) -> Labels:
        labels, label_fence = fenced((height, width), np.uint8)
        confidence, confidence_fence = fenced((height, width), np.uint8)
        inputs = [within_nan(one, dtype) for one in (warped, correction, distortion)]
        call("correct_and_label", [*inputs, labels, confidence], *warped.shape, height, width)
        label_fence()
        confidence_fence()
        return labels, confidence

    return Implementation(warp, label, EXACT + float(np.finfo(dtype).eps))


def within_nan(array: Float32Array, dtype: Any = np.float32) -> np.ndarray:
    """A copy with numbers on either side that would show if they were read."""
    large = np.full(array.size + 64, np.nan, dtype)
    large[32:-32] = array.ravel()
    return large[32:-32].reshape(array.shape)


def fenced(shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, Callable[[], None]]:
    """An array to be written, and a check that nothing beside it was."""
    large = np.full(np.prod(shape) + 64, 77, dtype)

    def check() -> None:
        assert (large[:32] == 77).all()
        assert (large[-32:] == 77).all()

    return large[32:-32].reshape(shape), check


def by_gpu(device: Device, dtype: Any) -> Implementation:
    """The source as nvcc compiled it, on a GPU."""
    with device:
        flow_warp, stream = FlowWarp(device), device.stream()

    def put(array: np.ndarray, dtype: Any) -> Any:
        host = device.pinned(array.shape, dtype)
        host[...] = array
        there = device.allocate(array.shape, dtype)
        device.upload(host, there, stream)
        return there

    def get(array: Any) -> np.ndarray:
        host = device.pinned(array.shape, array.dtype)
        device.download(array, host, stream)
        device.synchronise(stream)
        return host.copy()

    def warp(planes: Float32Array, flow: Float32Array) -> Float32Array:
        with device:
            warped = device.allocate(planes.shape, dtype)
            flow_warp.warp(put(planes, dtype), put(flow, np.float32), warped, stream)
            return get(warped).astype(np.float32)

    def label(
        warped: Float32Array,
        correction: Float32Array,
        distortion: Float32Array,
        height: int,
        width: int,
    ) -> Labels:
        with device:
            inputs = [put(one, dtype) for one in (warped, correction, distortion)]
            labels, confidence = (device.allocate((height, width), np.uint8) for _ in range(2))
            logits = (inputs[0], inputs[1])
            flow_warp.correct_and_label(logits, inputs[2], labels, confidence, stream)
            return get(labels), get(confidence)

    return Implementation(warp, label, EXACT + float(np.finfo(dtype).eps))
