"""One TensorRT plan at work: on arrays of the GPU, or from this machine to the GPU and back.

Everything here is called inside `with device:`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.inference import tensorrt_api as api
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.tensorrt_module import Library
from adverse_perception.kernels.device import Device, DeviceArray

_TYPES: dict[str, type[np.generic]] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "UINT8": np.uint8,
}
"""TensorRT's name of a type -> numpy's, of those that engines take and give."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape, batch axis included."""


class Context:
    """A plan with room to work in, for whoever has its tensors; not for two threads at once."""

    def __init__(
        self,
        library: Library,
        engine: api.ICudaEngine,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        """Take what the plan needs to work.

        Raises:
            EngineError: the plan has other tensors, or the GPU too little memory.
        """
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.types = _types(engine, (*inputs, *outputs))
        self.ranges = {
            name: tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
            for name in inputs
        }
        self._library, self._engine = library, engine
        context = engine.create_execution_context()
        if context is None:
            raise EngineError(f"expected memory for the plan, found too little: {library.said()}")
        self._context = context

    def another(self) -> Context:
        """One more for the same plan, which is there only once. Raises `EngineError`."""
        return Context(self._library, self._engine, self.inputs, self.outputs)

    def shaped(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Set the shapes of all inputs; gives those of the outputs too.

        Raises:
            EngineError: a shape is out of the plan's range, or an input is missing.
        """
        if set(shapes) != set(self.ranges):  # what is left out would be read from the last run
            raise EngineError(f"expected {sorted(self.ranges)}, found {sorted(shapes)}")
        for name, shape in shapes.items():
            _check_range(name, shape, self.ranges[name])
            if not self._context.set_input_shape(name, shape):
                raise EngineError(f"{name} of {shape}: {self._library.said()}")
        if missing := self._context.infer_shapes():
            raise EngineError(f"{missing}: {self._library.said()}")
        made = {name: tuple(self._context.get_tensor_shape(name)) for name in self.outputs}
        return {**shapes, **made}

    def bind(self, arrays: Mapping[str, DeviceArray]) -> None:
        """Say where tensors lie. Raises `EngineError` where one is of another type."""
        for name, array in arrays.items():
            if array.dtype != self.types[name]:
                raise EngineError(f"{name}: expected {self.types[name]}, found {array.dtype}")
            if not self._context.set_tensor_address(name, array.address):
                raise EngineError(f"{name}: {self._library.said()}")

    def enqueue(self, stream: int) -> None:
        """Put the plan into a stream, by its handle. Raises `EngineError`."""
        if not self._context.execute_async_v3(stream):
            raise EngineError(self._library.said())


class Execution:
    """A plan with a context, a stream and buffers of its own; not for two threads at once."""

    def __init__(self, context: Context, device: Device) -> None:
        """Take memory for the greatest pictures of the plan; nothing is taken later.

        Raises:
            DeviceError: the GPU has too little memory.
        """
        self.context, self._device = context, device
        self._stream = device.stream()
        most = context.shaped({name: shapes[-1] for name, shapes in context.ranges.items()})
        self._buffers = {
            name: _Buffer(device, _size(shape, context.types[name]))
            for name, shape in most.items()
        }

    def close(self) -> None:
        """Give the memory back."""
        for buffer in self._buffers.values():
            buffer.close()
        self._device.free(self._stream)

    @property
    def usual(self) -> Shapes:
        """Shapes of the inputs that the plan is the fastest for."""
        return {name: shapes[1] for name, shapes in self.context.ranges.items()}

    @property
    def batch(self) -> int:
        """The most pictures at once."""
        return min(shapes[-1][0] for shapes in self.context.ranges.values())

    def run(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute the outputs of a batch of pictures; arrays begin with the batch axis.

        Raises:
            EngineError: a shape is out of the plan's range, or TensorRT failed.
            DeviceError: the GPU failed.
        """
        context = self.context
        shapes = context.shaped({name: array.shape for name, array in given.items()})
        pairs = {
            name: self._buffers[name].at(shape, context.types[name])
            for name, shape in shapes.items()
        }
        try:
            context.bind({name: there for name, (_, there) in pairs.items()})
            for name, array in given.items():
                host, there = pairs[name]
                host[:] = array
                self._device.upload(host, there, self._stream)
            context.enqueue(self._device.handle(self._stream))
            for name in context.outputs:
                host, there = pairs[name]
                self._device.download(there, host, self._stream)
        finally:  # also after a failure: the next picture comes into the same memory
            self._device.synchronise(self._stream)
        return {name: _result(pairs[name][0]) for name in context.outputs}


class _Buffer:
    """The same bytes here and on the GPU, for tensors up to a size."""

    def __init__(self, device: Device, size: int) -> None:
        self._device = device
        self._here = device.pinned((size,), np.uint8)
        self._there = device.allocate((size,), np.uint8)

    def close(self) -> None:
        self._device.free(self._here, self._there)

    def at(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[NDArray[Any], DeviceArray]:
        """Both as arrays of a shape and a type."""
        here = self._here[: _size(shape, dtype)].view(dtype).reshape(shape)
        return here, DeviceArray(self._there.address, shape, dtype)


def _types(engine: api.ICudaEngine, names: Sequence[str]) -> dict[str, np.dtype[Any]]:
    """Types of a plan's tensors. Raises `EngineError` when it has not those names."""
    found = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    if set(found) != set(names):
        raise EngineError(f"expected a plan with tensors {sorted(names)}, found {sorted(found)}")
    return {name: np.dtype(_TYPES[engine.get_tensor_dtype(name).name]) for name in names}


def _check_range(name: str, shape: tuple[int, ...], limits: tuple[tuple[int, ...], ...]) -> None:
    least, most = limits[0], limits[-1]
    fits = len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )
    if not fits:
        raise EngineError(
            f"{name}: expected a shape from {least} to {most}, for which the plan was built, found"
            f" {shape}; crop the pictures, or set backend to onnxruntime"
        )


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _result(found: NDArray[Any]) -> NDArray[Any]:
    """A copy that outlives the buffer; half floats become the usual ones."""
    return np.array(found, np.float32 if found.dtype == np.float16 else found.dtype)
