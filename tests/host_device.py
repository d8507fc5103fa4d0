"""A stand-in for a GPU: its memory is this machine's, its kernels are ours as g++ compiles them.

Nothing happens before a stream is waited for, as on a GPU; while a stream is captured, what is put
into it is noted and not done.
"""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adverse_perception.kernels import frame_gpu, gpu
from adverse_perception.kernels.device import DeviceArray, check_copy
from adverse_perception.kernels.errors import DeviceError
from tests.flow_warps import host_compiler

STREAMS: dict[int, list[Callable[[], Any]]] = {}
"""What lies in every stream, by its number."""
CAPTURED: set[int] = set()
"""Numbers of the streams that are captured now."""
_NUMBERS = itertools.count(1)
_PASSED_AS = {"u": ctypes.c_void_p, "i": ctypes.c_int, "f": ctypes.c_float}
_FOLDER = tempfile.TemporaryDirectory()
CHECKS = "-fsanitize=alignment,bounds,shift,signed-integer-overflow,float-cast-overflow"
"""What a GPU would stumble over aborts."""


def put(stream: int, deed: Callable[[], Any]) -> None:
    """Put something into a stream."""
    STREAMS[stream].append(deed)


def memory(array: DeviceArray) -> np.ndarray:
    """What lies at an address."""
    content = (ctypes.c_uint8 * array.nbytes).from_address(array.address)
    return np.ctypeslib.as_array(content).view(array.dtype).reshape(array.shape)


@cache
def compiled(source: Path) -> ctypes.CDLL:
    """A CUDA source, compiled for the CPU."""
    library = Path(_FOLDER.name) / f"{source.stem}.so"
    subprocess.run(
        [
            *(host_compiler(), "-x", "c++", "-std=c++17", "-O1", "-ffp-contract=off", CHECKS),
            *("-fsanitize-undefined-trap-on-error", "-Wall", "-Wextra", "-Wno-unknown-pragmas"),
            *("-Werror", "-shared", "-fPIC", str(source), "-o", str(library)),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library))


def with_our_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load kernels as this device wants them: their source, to be compiled by g++."""
    for room in (gpu, frame_gpu):
        monkeypatch.setattr(room, "built", lambda source, *_: str(source).encode())


class HostDevice:
    """See `Device`.

    Attributes:
        taken: what `allocate` and `pinned` gave and nobody gave back, by its address.
        allocations: how often they were asked.
        attempts: how often a graph was wanted.
        captures: how many were made.
        replays: how many were replayed.
        capturable: whether graphs can be made.
    """

    name, architecture = "Stand-in", "sm_00"

    def __init__(self) -> None:
        self.closed = False
        self.taken: dict[int, np.ndarray] = {}
        self.allocations = self.attempts = self.captures = self.replays = 0
        self.graphs: dict[int, tuple[Callable[[], Any], ...]] = {}
        self.capturable = True
        self._of_thread = threading.local()

    @property
    def entered(self) -> int:
        """How often the context is pushed in this thread."""
        return getattr(self._of_thread, "entered", 0)

    def __enter__(self) -> HostDevice:
        self._of_thread.entered = self.entered + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._of_thread.entered = self.entered - 1

    def load(self, image: bytes, names: Sequence[str]) -> dict[str, Any]:
        library = compiled(Path(image.decode()))
        return {name: getattr(library, name) for name in names}

    def launch(
        self,
        kernel: Any,
        grid: tuple[int, int],
        threads: int,
        arguments: Sequence[np.generic],
        stream: int,
    ) -> None:
        assert min(grid) > 0
        given = [_PASSED_AS[one.dtype.kind](one.item()) for one in arguments]
        self._put(stream, lambda: kernel(*given))

    def stream(self) -> int:
        STREAMS[number := next(_NUMBERS)] = []
        return number

    def handle(self, stream: int) -> int:
        return stream

    def synchronise(self, stream: int) -> None:
        self._check()
        deeds, STREAMS[stream] = STREAMS[stream], []
        for deed in deeds:
            deed()

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = self.pinned(shape, dtype)
        return DeviceArray(array.ctypes.data, shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self._check()
        array = np.frombuffer(bytearray(b"\x4d" * (DeviceArray(0, shape, np.dtype(dtype)).nbytes)),
            dtype).reshape(shape)  # fmt: skip
        self.taken[array.ctypes.data] = array
        self.allocations += 1
        return array

    def free(self, *taken: Any) -> None:
        self._check()
        for one in taken:
            if isinstance(one, int):
                assert not STREAMS.pop(one)
            else:
                del self.taken[one.address if isinstance(one, DeviceArray) else one.ctypes.data]

    def upload(self, host: np.ndarray, array: DeviceArray, stream: int) -> None:
        check_copy(host, array)
        self._put(stream, lambda: memory(array).__setitem__(..., host))

    def download(self, array: DeviceArray, host: np.ndarray, stream: int) -> None:
        check_copy(host, array)
        self._put(stream, lambda: host.__setitem__(..., memory(array)))

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self.attempts += 1
        if not self.capturable:
            raise DeviceError("capture: expected success, found CUDA error 900")
        kept, STREAMS[stream] = STREAMS[stream], []
        self._of_thread.capturing = True
        CAPTURED.add(stream)
        try:
            work()
        finally:
            self._of_thread.capturing = False
            CAPTURED.remove(stream)
            noted, STREAMS[stream] = STREAMS[stream], kept
        self.captures += 1
        self.graphs[number := next(_NUMBERS)] = tuple(noted)
        return number

    def replay(self, graph: int, stream: int) -> None:
        self.replays += 1
        STREAMS[stream].extend(self.graphs[graph])

    def discard(self, graph: int) -> None:
        del self.graphs[graph]

    def close(self) -> None:
        self.closed = True

    def _put(self, stream: int, deed: Callable[[], Any]) -> None:
        assert self.entered and not self.closed
        put(stream, deed)

    def _check(self) -> None:
        """Whether memory may be taken and streams waited for."""
        assert self.entered and not self.closed
        if getattr(self._of_thread, "capturing", False):
            raise DeviceError("capture: expected work for a stream, found something else")
