"""A GPU by pycuda. Imported when a GPU is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycuda import driver

from adverse_perception.kernels.device import DeviceArray, check_copy
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.graphs import DriverGraphs

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda has no name for


class PyCudaDevice(DriverGraphs):
    """See `Device`."""

    def __init__(self, number: int) -> None:
        with _explained(f"GPU {number}"):
            driver.init()
            device = driver.Device(number)
            self.name: str = device.name()
            major, minor = device.compute_capability()
            self.architecture = f"sm_{major}{minor}"
            self._context = device.retain_primary_context()
        self._kept: dict[int, Any] = {}  # memory by its address

    def __enter__(self) -> PyCudaDevice:
        with _explained("push the context"):
            self._context.push()
        return self

    def __exit__(self, *_: object) -> None:
        with _explained("pop the context"):
            driver.Context.pop()

    def load(self, image: bytes, names: Sequence[str]) -> dict[str, Any]:
        with _explained("load a module"):
            module = driver.module_from_buffer(image)
            return {name: module.get_function(name) for name in names}

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[np.generic],
        stream: Any,
    ) -> None:
        with _explained("launch a kernel"):
            kernel(*arguments, grid=grid, block=(threads, 1, 1), stream=stream)

    def stream(self) -> Any:
        with _explained("make a stream"):
            return driver.Stream(_NON_BLOCKING)

    def handle(self, stream: Any) -> int:
        return int(stream.handle)

    def synchronise(self, stream: Any) -> None:
        with _explained("wait for a stream"):
            stream.synchronize()

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = DeviceArray(0, shape, np.dtype(dtype))
        with _explained(f"allocate {array.nbytes} bytes"):
            memory = driver.mem_alloc(array.nbytes)
        self._kept[int(memory)] = memory
        return DeviceArray(int(memory), shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        with _explained(f"allocate {shape} of pinned memory"):
            array: NDArray[Any] = driver.pagelocked_empty(shape, dtype)
        return array

    def upload(self, host: NDArray[Any], array: DeviceArray, stream: Any) -> None:
        check_copy(host, array)
        with _explained("copy to the GPU"):
            driver.memcpy_htod_async(array.address, host, stream)

    def download(self, array: DeviceArray, host: NDArray[Any], stream: Any) -> None:
        check_copy(host, array)
        with _explained("copy from the GPU"):
            driver.memcpy_dtoh_async(host, array.address, stream)

    def copy(self, array: DeviceArray, to: DeviceArray, stream: Any) -> None:
        with _explained("copy within the GPU"):
            driver.memcpy_dtod_async(to.address, array.address, array.nbytes, stream)

    def free(self, *taken: Any) -> None:
        for one in taken:  # streams and pinned arrays are let go with the last who knows them
            if isinstance(one, DeviceArray):
                with _explained("free memory"):
                    self._kept.pop(one.address).free()

    def event(self) -> Any:
        with _explained("make an event"):
            return driver.Event()

    def record(self, event: Any, stream: Any) -> None:
        with _explained("record an event"):
            event.record(stream)

    def elapsed_ms(self, first: Any, last: Any) -> float:
        with _explained("read two events"):
            return float(last.time_since(first))

    def close(self) -> None:
        with self, _explained("free memory"):
            while self._kept:
                self._kept.popitem()[1].free()
        with _explained("let the context go"):
            self._context.detach()


def open_device(number: int) -> PyCudaDevice:
    """Open a GPU by its number. Raises `DeviceError`."""
    return PyCudaDevice(number)


@contextlib.contextmanager
def _explained(deed: str) -> Iterator[None]:
    """Turn what pycuda raises into a `DeviceError`."""
    try:
        yield
    except (driver.Error, TypeError, ValueError) as error:
        raise DeviceError(f"{deed}: expected success, found {error}") from error
