"""A GPU by NVIDIA's cuda-bindings, and their compiler. Imported when one of them is asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver, nvrtc
from numpy.typing import NDArray

from adverse_perception.kernels.device import DeviceArray, check_copy
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.graphs import DriverGraphs


class CudaDevice(DriverGraphs):
    """See `Device`."""

    def __init__(self, number: int) -> None:
        _done("cuInit", driver.cuInit(0))
        self._device = _done("cuDeviceGet", driver.cuDeviceGet(number))
        kind = driver.CUdevice_attribute
        version = [
            _done("cuDeviceGetAttribute", driver.cuDeviceGetAttribute(part, self._device))
            for part in (
                kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        ]
        self.architecture = f"sm_{version[0]}{version[1]}"
        name = _done("cuDeviceGetName", driver.cuDeviceGetName(128, self._device))
        self.name = name.partition(b"\0")[0].decode()
        retained = driver.cuDevicePrimaryCtxRetain(self._device)
        self._context = _done("cuDevicePrimaryCtxRetain", retained)
        # by the address or handle of a thing: what lets go of it, and the thing
        self._taken: dict[int, tuple[str, Any]] = {}

    def __enter__(self) -> CudaDevice:
        _done("cuCtxPushCurrent", driver.cuCtxPushCurrent(self._context))
        return self

    def __exit__(self, *_: object) -> None:
        _done("cuCtxPopCurrent", driver.cuCtxPopCurrent())

    def load(self, image: bytes, names: Sequence[str]) -> dict[str, Any]:
        module = _done("cuModuleLoadData", driver.cuModuleLoadData(image))
        self._taken[int(module)] = "cuModuleUnload", module
        return {
            name: _done(f"cuModuleGetFunction {name}", driver.cuModuleGetFunction(module, found))
            for name, found in ((name, name.encode()) for name in names)
        }

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[np.generic],
        stream: Any,
    ) -> None:
        values = [np.asarray(value) for value in arguments]
        addresses = np.array([value.ctypes.data for value in values], np.uintp)
        started = driver.cuLaunchKernel(
            kernel, *grid, 1, threads, 1, 1, 0, stream, addresses.ctypes.data, 0
        )
        _done("cuLaunchKernel", started)

    def stream(self) -> Any:
        flags = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = _done("cuStreamCreate", driver.cuStreamCreate(flags))
        self._taken[int(stream)] = "cuStreamDestroy", stream
        return stream

    def handle(self, stream: Any) -> int:
        return int(stream)

    def synchronise(self, stream: Any) -> None:
        _done("cuStreamSynchronize", driver.cuStreamSynchronize(stream))

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = DeviceArray(0, shape, np.dtype(dtype))
        memory = _done("cuMemAlloc", driver.cuMemAlloc(array.nbytes))
        self._taken[int(memory)] = "cuMemFree", memory
        return DeviceArray(int(memory), shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        size = DeviceArray(0, shape, np.dtype(dtype)).nbytes
        address = int(_done("cuMemHostAlloc", driver.cuMemHostAlloc(size, 0)))
        self._taken[address] = "cuMemFreeHost", address
        memory = (ctypes.c_uint8 * size).from_address(address)
        array: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        return array

    def upload(self, host: NDArray[Any], array: DeviceArray, stream: Any) -> None:
        check_copy(host, array)
        copied = driver.cuMemcpyHtoDAsync(array.address, host.ctypes.data, array.nbytes, stream)
        _done("cuMemcpyHtoDAsync", copied)

    def download(self, array: DeviceArray, host: NDArray[Any], stream: Any) -> None:
        check_copy(host, array)
        copied = driver.cuMemcpyDtoHAsync(host.ctypes.data, array.address, array.nbytes, stream)
        _done("cuMemcpyDtoHAsync", copied)

    def copy(self, array: DeviceArray, to: DeviceArray, stream: Any) -> None:
        copied = driver.cuMemcpyDtoDAsync(to.address, array.address, array.nbytes, stream)
        _done("cuMemcpyDtoDAsync", copied)

    def free(self, *taken: Any) -> None:
        for one in taken:
            self._let_go(_key(one))

    def event(self) -> Any:
        event = _done("cuEventCreate", driver.cuEventCreate(0))
        self._taken[int(event)] = "cuEventDestroy", event
        return event

    def record(self, event: Any, stream: Any) -> None:
        _done("cuEventRecord", driver.cuEventRecord(event, stream))

    def elapsed_ms(self, first: Any, last: Any) -> float:
        return float(_done("cuEventElapsedTime", driver.cuEventElapsedTime(first, last)))

    def close(self) -> None:
        try:
            with self:
                for key in reversed(list(self._taken)):
                    self._let_go(key)
        finally:
            _done("cuDevicePrimaryCtxRelease", driver.cuDevicePrimaryCtxRelease(self._device))

    def _let_go(self, key: int) -> None:
        call, thing = self._taken.pop(key)
        _done(call, getattr(driver, call)(thing))


def _key(taken: Any) -> int:
    """Address or handle of what was taken."""
    if isinstance(taken, DeviceArray):
        return taken.address
    return int(taken.ctypes.data) if isinstance(taken, np.ndarray) else int(taken)


def open_device(number: int) -> CudaDevice:
    """Open a GPU by its number. Raises `DeviceError`."""
    return CudaDevice(number)


def compile_by_nvrtc(name: str, parts: Mapping[str, bytes], architecture: str) -> bytes:
    """Compile CUDA C++ to a cubin; needs no driver.

    Args:
        name: file to compile.
        parts: its content and that of all it includes, by name.
        architecture: such as sm_90.

    Raises:
        DeviceError: it does not compile, or the compiler's library is not installed.
    """
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
    headers = {part.encode(): text for part, text in parts.items() if part != name}
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:  # how cuda-bindings say that a library is missing
        raise DeviceError(
            f"{name}: expected NVRTC, found none ({error});"
            " install it with: pip install nvidia-cuda-nvrtc"
        ) from error
    created = nvrtc.nvrtcCreateProgram(
        parts[name], name.encode(), len(headers), list(headers.values()), list(headers)
    )
    program = _done("nvrtcCreateProgram", created)
    status, *_ = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = bytearray(_done("nvrtcGetProgramLogSize", nvrtc.nvrtcGetProgramLogSize(program)))
        _done("nvrtcGetProgramLog", nvrtc.nvrtcGetProgramLog(program, log))
        raise DeviceError(
            f"{name}: NVRTC cannot compile it for {architecture}: {status.name}"
            f" {log.decode().strip(chr(0)).strip()}"
        )
    cubin = bytearray(_done("nvrtcGetCUBINSize", nvrtc.nvrtcGetCUBINSize(program)))
    _done("nvrtcGetCUBIN", nvrtc.nvrtcGetCUBIN(program, cubin))
    _done("nvrtcDestroyProgram", nvrtc.nvrtcDestroyProgram(program))
    return bytes(cubin)


def _done(call: str, answer: tuple[Any, ...]) -> Any:
    """Give what a call gave, unless it failed."""
    status, *results = answer
    if int(status) != 0:
        raise DeviceError(f"{call}: expected success, found {status.name}")
    return results[0] if results else None
