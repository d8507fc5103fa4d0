"""A stand-in for a GPU and for TensorRT's runtime, so that what is around them can be tried.

Plans are built by the real TensorRT-RTX; ONNX Runtime does what they would do, in memory that
stands in for the GPU's. Nothing happens before a stream is waited for, as on a GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from adverse_perception.inference import tensorrt_backend, tensorrt_building
from adverse_perception.inference.engine import ROLE_OUTPUTS
from adverse_perception.inference.metadata import EngineFile
from adverse_perception.inference.pruning import pruned
from adverse_perception.inference.tensorrt_module import Library, find_library
from adverse_perception.kernels import device
from adverse_perception.kernels.device import DeviceArray, check_copy

_STREAMS: dict[int, list[Callable[[], Any]]] = {}
_NUMBERS = itertools.count(1)
_TYPES = {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8", "tensor(float16)": "HALF"}


class HostDevice:
    """See `Device`; only what engines use of it."""

    name, architecture = "Stand-in", "sm_00"

    def __init__(self) -> None:
        self.entered = 0
        self.closed = False
        self.taken: list[np.ndarray] = []

    def __enter__(self) -> HostDevice:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.entered -= 1

    def stream(self) -> int:
        _STREAMS[number := next(_NUMBERS)] = []
        return number

    def handle(self, stream: int) -> int:
        return stream

    def synchronise(self, stream: int) -> None:
        for deed in _STREAMS[stream]:
            deed()
        _STREAMS[stream].clear()

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        array = self.pinned(shape, dtype)
        self.taken.append(array)
        return DeviceArray(array.ctypes.data, shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        assert self.entered and not self.closed
        return np.full(shape, 77, dtype)

    def upload(self, host: np.ndarray, array: DeviceArray, stream: int) -> None:
        check_copy(host, array)
        _STREAMS[stream].append(lambda: _memory(array)[:].__setitem__(..., host))

    def download(self, array: DeviceArray, host: np.ndarray, stream: int) -> None:
        check_copy(host, array)
        _STREAMS[stream].append(lambda: host.__setitem__(..., _memory(array)))

    def close(self) -> None:
        self.closed = True


def _memory(array: DeviceArray) -> np.ndarray:
    """What lies at an address."""
    content = (ctypes.c_uint8 * array.nbytes).from_address(array.address)
    return np.ctypeslib.as_array(content).view(array.dtype).reshape(array.shape)


class Runtime:
    """TensorRT's, as far as engines use it; knows the plans that were built in this process."""

    def __init__(self, complaints: deque[str]) -> None:
        self.known: dict[str, tuple[bytes, Sequence[tuple[int, ...]], EngineFile]] = {}
        self._complaints = complaints

    def deserialize_cuda_engine(self, plan: bytes) -> CudaEngine | None:
        found = self.known.get(hashlib.sha256(plan).hexdigest())
        if found is None:
            self._complaints.append("the plan is of another world")
            return None
        return CudaEngine(*found)


class CudaEngine:
    def __init__(self, content: bytes, sizes: Sequence[tuple[int, ...]], file: EngineFile) -> None:
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._sizes, self._stride = sizes, file.metadata.stride
        self.inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        self.outputs = {tensor.name: tensor for tensor in self.session.get_outputs()}
        self.num_io_tensors = len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.outputs, *self.inputs][index]

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=_TYPES[({**self.inputs, **self.outputs})[name].type])

    def get_tensor_profile_shape(self, name: str, number: int) -> list[tuple[int, ...]]:
        assert number == 0
        if name == "image":
            return [(*size, 3) for size in self._sizes]
        planes, stride = self.inputs[name].shape[1], self._stride
        return [(n, planes, -(-h // stride), -(-w // stride)) for n, h, w in self._sizes]

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: CudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.inputs if name not in self._shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        zeros = {
            given: np.zeros(shape, self._type(given)) for given, shape in self._shapes.items()
        }
        return tuple(self._engine.session.run([name], zeros)[0].shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert set(self._addresses) == {*self._engine.inputs, *self._engine.outputs}
        given = {name: self._at(name, self._shapes[name]) for name in self._engine.inputs}
        _STREAMS[stream_handle].append(lambda: self._compute(given))
        return True

    def _compute(self, given: dict[str, np.ndarray]) -> None:
        names = list(self._engine.outputs)
        for name, found in zip(names, self._engine.session.run(names, given), strict=True):
            self._at(name, found.shape)[...] = found

    def _at(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return _memory(DeviceArray(self._addresses[name], shape, np.dtype(self._type(name))))

    def _type(self, name: str) -> type[np.generic]:
        kinds: dict[str, type[np.generic]] = {
            "FLOAT": np.float32, "UINT8": np.uint8, "HALF": np.float16
        }  # fmt: skip
        return kinds[self._engine.get_tensor_dtype(name).name]


class StandIn:
    """What a test knows of the machine that stands in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = find_library("tensorrt_rtx")
        self.runtime = Runtime(real.complaints)
        self.devices: list[HostDevice] = []
        self.built: list[Path] = []
        module = SimpleNamespace(**{name: getattr(real.module, name) for name in
            ("Builder", "OnnxParser", "NetworkDefinitionCreationFlag")},
            Runtime=lambda _: self.runtime)  # fmt: skip
        self.library = Library(real.name, real.version, module, real.logger, real.complaints)
        self._build = tensorrt_building.build
        monkeypatch.setattr(device, "check_driver", lambda: None)
        monkeypatch.setattr(tensorrt_backend, "find_library", lambda _: self.library)
        monkeypatch.setattr(tensorrt_backend, "open_device", self._open)
        monkeypatch.setattr(tensorrt_building, "build", self._building)

    def _open(self) -> HostDevice:
        self.devices.append(HostDevice())
        return self.devices[-1]

    def _building(
        self,
        library: Library,
        file: EngineFile,
        outputs: tuple[str, ...],
        sizes: tuple[tuple[int, int, int], ...],
    ) -> bytes:
        plan = self._build(library, file, outputs, sizes)
        whole = outputs == ROLE_OUTPUTS[file.metadata.role]
        content = file.content if whole else pruned(file.content, outputs, file.path)
        self.runtime.known[hashlib.sha256(plan).hexdigest()] = (content, sizes, file)
        self.built.append(file.path)
        return plan
