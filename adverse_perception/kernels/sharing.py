"""The one GPU of a process, shared by all engines and cameras."""

from __future__ import annotations

import weakref
from threading import Lock

from adverse_perception.kernels.device import Device, open_device
from adverse_perception.kernels.frame_gpu import FrameKernels
from adverse_perception.kernels.gpu import FlowWarp

_LOCK = Lock()


class Gpu:
    """A device and our kernels on it; closed when the last who holds it is gone, or at exit."""

    def __init__(self) -> None:
        """Open the device. Raises `DeviceError`."""
        self.device: Device = open_device()
        self._kernels: tuple[FlowWarp, FrameKernels] | None = None
        weakref.finalize(self, self.device.close)

    def kernels(self) -> tuple[FlowWarp, FrameKernels]:
        """Our kernels, compiled when first asked for; inside `with device:`.

        Raises:
            DeviceError: nothing here can compile them.
        """
        with _LOCK:
            if self._kernels is None:
                self._kernels = FlowWarp(self.device), FrameKernels(self.device)
            return self._kernels


_SHARED: weakref.WeakValueDictionary[str, Gpu] = weakref.WeakValueDictionary()


def shared_gpu() -> Gpu:
    """The GPU that all of this process use; hold it as long as anything lies on it.

    Raises:
        DeviceError: see `open_device`.
    """
    with _LOCK:
        gpu = _SHARED.get("gpu")
        if gpu is None:
            gpu = _SHARED["gpu"] = Gpu()
        return gpu
