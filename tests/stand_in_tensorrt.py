"""A stand-in for a GPU and for TensorRT's runtime, so that what is around them can be tried.

Plans are built by the real TensorRT-RTX; ONNX Runtime does what they would do, in memory that
stands in for the GPU's. Nothing happens before a stream is waited for, as on a GPU.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from adverse_perception.inference import tensorrt_backend, tensorrt_building
from adverse_perception.inference.engine import ROLE_OUTPUTS
from adverse_perception.inference.metadata import EngineFile
from adverse_perception.inference.pruning import pruned
from adverse_perception.inference.tensorrt_module import Library, find_library
from adverse_perception.kernels import device, sharing
from adverse_perception.kernels.device import DeviceArray
from tests import host_device
from tests.host_device import CAPTURED, HostDevice, memory, with_our_kernels

_TYPES = {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8", "tensor(float16)": "HALF"}


class Runtime:
    """TensorRT's, as far as engines use it; knows the plans that were built in this process."""

    def __init__(self, complaints: deque[str]) -> None:
        self.known: dict[str, tuple[bytes, Sequence[tuple[int, ...]], EngineFile]] = {}
        self.engines: list[CudaEngine] = []
        self._complaints = complaints

    def deserialize_cuda_engine(self, plan: bytes) -> CudaEngine | None:
        found = self.known.get(hashlib.sha256(plan).hexdigest())
        if found is None:
            self._complaints.append("the plan is of another world")
            return None
        self.engines.append(CudaEngine(*found))
        return self.engines[-1]


class CudaEngine:
    def __init__(self, content: bytes, sizes: Sequence[tuple[int, ...]], file: EngineFile) -> None:
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.sizes, self._stride = sizes, file.metadata.stride
        self.name, self.broken, self.contexts = file.metadata.name, False, 0
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
            return [(*size, 3) for size in self.sizes]
        planes, stride = self.inputs[name].shape[1], self._stride
        return [(n, planes, -(-h // stride), -(-w // stride)) for n, h, w in self.sizes]

    def create_execution_context(self) -> Context:
        self.contexts += 1
        return Context(self)


class Context:
    def __init__(self, engine: CudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._worked_on: dict[str, tuple[int, ...]] = {}

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
        """False, too, for new shapes in a stream that is captured: memory is taken for them."""
        if self._engine.broken or (stream_handle in CAPTURED and self._worked_on != self._shapes):
            return False
        self._worked_on = dict(self._shapes)
        assert set(self._addresses) == {*self._engine.inputs, *self._engine.outputs}
        given = {name: self._at(name, self._shapes[name]) for name in self._engine.inputs}
        host_device.put(stream_handle, lambda: self._compute(given))
        return True

    def _compute(self, given: dict[str, np.ndarray]) -> None:
        names = list(self._engine.outputs)
        for name, found in zip(names, self._engine.session.run(names, given), strict=True):
            self._at(name, found.shape)[...] = found

    def _at(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return memory(DeviceArray(self._addresses[name], shape, np.dtype(self._type(name))))

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
        with_our_kernels(monkeypatch)
        monkeypatch.setattr(device, "check_driver", lambda: None)
        monkeypatch.setattr(tensorrt_backend, "find_library", lambda _: self.library)
        monkeypatch.setattr(sharing, "open_device", self._open)
        monkeypatch.setattr(sharing, "_SHARED", weakref.WeakValueDictionary())
        monkeypatch.setattr(tensorrt_building, "build", self._building)

    def break_(self, name: str, broken: bool = True) -> None:
        """Let an engine fail from now on, or work again."""
        found = [engine for engine in self.runtime.engines if engine.name == name]
        assert found
        for engine in found:
            engine.broken = broken

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
