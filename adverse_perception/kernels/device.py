"""One GPU, through pycuda where it is installed, NVIDIA's cuda-bindings otherwise.

The primary context is used, which PyTorch and TensorRT use too: arrays and streams are theirs as
much as ours. Nothing here waits for the GPU but `synchronise`, and `close`, which frees.
"""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adverse_perception.kernels.errors import DeviceError

_DRIVER = "libcuda.so.1"
_WAYS = {"pycuda": "pycuda_device", "cuda-bindings": "cuda_device"}
"""Packages that reach a GPU and our module for each, the preferred first."""


@dataclass(frozen=True)
class DeviceArray:
    """An array in the memory of a GPU, C-contiguous; whoever allocated it keeps it alive.

    Attributes:
        address: of its first element: ours, a torch tensor's `data_ptr()`, a TensorRT binding's.
        shape: its sizes.
        dtype: type of its elements.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def part(self, first: int, last: int) -> DeviceArray:
        """What lies from one index of the first axis up to another, in the same memory."""
        begin = DeviceArray(0, (first, *self.shape[1:]), self.dtype).nbytes
        return DeviceArray(self.address + begin, (last - first, *self.shape[1:]), self.dtype)

    def shaped(self, shape: tuple[int, ...]) -> DeviceArray:
        """The same elements in another shape."""
        return DeviceArray(self.address, shape, self.dtype)


class Device(Protocol):
    """What a kernel needs of a GPU.

    Everything below `__enter__` is called inside `with device:`, which makes the context that of
    the calling thread, in every thread for itself. Streams, kernels and events are the package's
    own; `handle` gives the number that TensorRT and PyTorch want for a stream.

    Attributes:
        name: what its maker calls it.
        architecture: what to compile for, such as sm_90.
    """

    name: str
    architecture: str

    def __enter__(self) -> Device: ...
    def __exit__(self, *_: object) -> None: ...

    def load(self, image: bytes, names: Sequence[str]) -> dict[str, Any]:
        """Load a cubin or a fatbin and give its kernels by name."""

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[np.generic],
        stream: Any,
    ) -> None:
        """Start a kernel; `arguments` are of the very types it is declared with."""

    def stream(self) -> Any:
        """Make a stream that does not wait for the default stream."""

    def handle(self, stream: Any) -> int: ...
    def synchronise(self, stream: Any) -> None:
        """Wait until everything put into a stream is done."""

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Take memory, kept until `free` or `close`; at start, since this may wait for the GPU."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array of this machine that copies run to and from without waiting."""

    def upload(self, host: NDArray[Any], array: DeviceArray, stream: Any) -> None:
        """Copy a `pinned` array to the GPU; it is not to be touched before that is done."""

    def download(self, array: DeviceArray, host: NDArray[Any], stream: Any) -> None:
        """Copy to a `pinned` array; it is not to be read before that is done."""

    def copy(self, array: DeviceArray, to: DeviceArray, stream: Any) -> None:
        """Copy within the GPU."""

    def free(self, *taken: Any) -> None:
        """Give back what `allocate`, `pinned` or `stream` gave; nothing may be under way in it."""

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Note what `work` puts into a stream, without doing it, as a graph to be replayed.

        Raises:
            DeviceError: something in it cannot be noted.
        """

    def replay(self, graph: Any, stream: Any) -> None:
        """Put all of a graph into a stream, with the addresses it was captured with."""

    def discard(self, graph: Any) -> None:
        """Let a graph go that is not under way."""

    def event(self) -> Any:
        """Make an event, to be recorded."""

    def record(self, event: Any, stream: Any) -> None:
        """Note the time at which the stream gets here."""

    def elapsed_ms(self, first: Any, last: Any) -> float:
        """Time between two recorded events, both of them passed."""

    def close(self) -> None:
        """Free all memory and let the context go; the device is of no use afterwards."""


def open_device(number: int = 0) -> Device:
    """Open a GPU by its number.

    Raises:
        DeviceError: no driver, no such GPU, or neither pycuda nor cuda-bindings is installed.
    """
    check_driver()
    missing = []
    for package, module in _WAYS.items():
        try:
            way = importlib.import_module(f"adverse_perception.kernels.{module}")
        except ImportError as error:
            missing.append(f"{package} ({error})")
        else:
            device: Device = way.open_device(number)
            return device
    raise DeviceError(
        f"GPU {number}: expected pycuda or cuda-bindings, found neither: {', '.join(missing)};"
        " install one with: pip install 'adverse_perception[cuda]'"
    )


def check_copy(host: NDArray[Any], array: DeviceArray) -> None:
    """Refuse a copy between arrays that differ.

    Raises:
        DeviceError: shape, type or layout do not fit.
    """
    if (host.shape, host.dtype) != (array.shape, array.dtype) or not host.flags.c_contiguous:
        raise DeviceError(
            f"copy: expected a contiguous {array.shape} {array.dtype} array on either side, found"
            f" {host.shape} {host.dtype}"
        )


def driver() -> ctypes.CDLL:
    """NVIDIA's driver itself. Raises `OSError` where there is none."""
    return _opened(_DRIVER)


@cache
def _opened(library: str) -> ctypes.CDLL:
    return ctypes.CDLL(library)


def check_driver() -> None:
    """Look for a driver and a GPU, before a package that has none fails in its own words.

    Raises:
        DeviceError: there is none.
    """
    way_out = "install NVIDIA's driver, or run the engines on the CPU"
    try:
        status = driver().cuInit(0)
    except OSError as error:
        raise DeviceError(
            f"GPU: expected NVIDIA's driver, found none ({error}); {way_out}"
        ) from error
    if status != 0:
        raise DeviceError(f"GPU: expected one to start, found CUDA error {status}; {way_out}")
