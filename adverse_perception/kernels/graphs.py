"""CUDA graphs, by the driver itself: one way for every package that reaches a GPU."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from adverse_perception.kernels.device import Device, driver
from adverse_perception.kernels.errors import DeviceError

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may take memory meanwhile


class DriverGraphs(ABC):
    """The part of a `Device` that deals with graphs; they are the driver's handles."""

    @abstractmethod
    def handle(self, stream: Any) -> int: ...

    def capture(self, stream: Any, work: Callable[[], None]) -> int:
        """See `Device.capture`."""
        place = ctypes.c_void_p(self.handle(stream))
        recorded, graph = ctypes.c_void_p(), ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", place, _THREAD_LOCAL)
        try:
            work()
        except BaseException:
            driver().cuStreamEndCapture(place, ctypes.byref(recorded))
            if recorded.value:
                driver().cuGraphDestroy(recorded)
            raise
        _call("cuStreamEndCapture", place, ctypes.byref(recorded))
        try:
            none = ctypes.c_ulonglong(0)
            _call("cuGraphInstantiateWithFlags", ctypes.byref(graph), recorded, none)
        finally:
            _call("cuGraphDestroy", recorded)
        return graph.value or 0

    def replay(self, graph: int, stream: Any) -> None:
        """See `Device.replay`."""
        _call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(self.handle(stream)))

    def discard(self, graph: int) -> None:
        """See `Device.discard`."""
        _call("cuGraphExecDestroy", ctypes.c_void_p(graph))


class Recorded:
    """Work for a stream that is the same every time: done, then captured, then replayed.

    The first time it is done as it is, since libraries take memory then and refuse to be captured.

    Attributes:
        refusal: why it cannot be captured, and so is always done as it is; empty where it can.
    """

    def __init__(self, device: Device, stream: Any, work: Callable[[], None]) -> None:
        """Take work that uses the same memory every time; all else is inside `with device:`."""
        self.refusal = ""
        self._device, self._stream, self._work = device, stream, work
        self._graph: Any = None
        self._done = False

    def __call__(self) -> None:
        """Put the work into the stream."""
        refusal = "" if self._graph is not None or not self._done else self._captured()
        if self._graph is not None:
            self._device.replay(self._graph, self._stream)
            return
        self._work()
        self._done = True
        self.refusal = refusal  # not when the work fails anyway

    def close(self) -> None:
        """Let the graph and the work go; nothing of it may be under way."""
        if self._graph is not None:
            self._device.discard(self._graph)
        self._graph, self._work = None, _nothing

    def _captured(self) -> str:
        """Try to capture the work, unless that was refused before; gives the refusal."""
        if self.refusal:
            return self.refusal
        try:
            self._graph = self._device.capture(self._stream, self._work)
        except Exception as error:  # the driver's, and of whatever library is called in it
            return f"{type(error).__name__}: {error}"
        return ""


def _nothing() -> None:
    """What is left to do after `Recorded.close`."""


def _call(name: str, *arguments: Any) -> None:
    try:
        call = getattr(driver(), name)
    except AttributeError as error:
        raise DeviceError(
            f"{name}: expected a driver that has it, found an older one; CUDA 11.4 has"
        ) from error
    status = call(*arguments)
    if status != 0:
        raise DeviceError(f"{name}: expected success, found CUDA error {status}")
