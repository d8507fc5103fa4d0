"""Memory of one stream and the work that is done in it, given back together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.kernels.device import Device, DeviceArray
from adverse_perception.kernels.graphs import Recorded


@dataclass(frozen=True)
class Mirrored:
    """An array of this machine, pinned, and one of the same shape on the GPU."""

    here: NDArray[Any]
    there: DeviceArray


class Arena:
    """Takes memory of a device. Everything here is called inside `with device:`."""

    def __init__(self, device: Device, stream: Any) -> None:
        """Take nothing yet; the stream is the device's and is not given back."""
        self._device, self._stream = device, stream
        self._taken = ExitStack()

    def there(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Take memory on the GPU. Raises `DeviceError`."""
        array = self._device.allocate(shape, dtype)
        self._taken.callback(self._device.free, array)
        return array

    def mirrored(self, shape: tuple[int, ...], dtype: Any) -> Mirrored:
        """Take memory on either side. Raises `DeviceError`."""
        here = self._device.pinned(shape, dtype)
        self._taken.callback(self._device.free, here)
        return Mirrored(here, self.there(shape, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Take memory on the GPU that is all nought. Raises `DeviceError`."""
        zeros = self.mirrored(shape, dtype)
        zeros.here[...] = np.zeros((), dtype)
        self.upload(zeros)
        self._device.synchronise(self._stream)
        return zeros.there

    def upload(self, array: Mirrored) -> None:
        """Put a copy to the GPU into the stream."""
        self._device.upload(array.here, array.there, self._stream)

    def download(self, array: Mirrored) -> None:
        """Put a copy from the GPU into the stream."""
        self._device.download(array.there, array.here, self._stream)

    def recorded(self, work: Callable[[], None]) -> Recorded:
        """Work for the stream, in memory of this arena."""
        recorded = Recorded(self._device, self._stream, work)
        self._taken.callback(recorded.close)
        return recorded

    def close(self) -> None:
        """Give everything back, the last first; nothing may be under way."""
        self._taken.close()
