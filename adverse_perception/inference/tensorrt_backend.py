"""Engines by TensorRT, on the vehicle's GPU. It is imported when one of them is loaded."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference import tensorrt_api as api
from adverse_perception.inference.engine import (
    INPUT,
    NO_MAPS,
    ROLE_MAPS,
    ROLE_OUTPUTS,
    RunsBatches,
    output_sets,
)
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineFile
from adverse_perception.inference.plans import USUAL_SETTINGS, Plan, PlanSettings
from adverse_perception.inference.signature import check_results
from adverse_perception.inference.tensorrt_building import Workshop
from adverse_perception.inference.tensorrt_execution import Context, Execution
from adverse_perception.inference.tensorrt_module import (
    TENSORRT,
    TENSORRT_RTX,
    check_driver,
    find_library,
)
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.sharing import Gpu, shared_gpu


def open_workshop(backend: str = TENSORRT, settings: PlanSettings = USUAL_SETTINGS) -> Workshop:
    """The place to build plans ahead of a drive, for the GPU that is here.

    TensorRT-RTX builds where there is none as well: that shows whether an engine can be built,
    and the plan is for no GPU in particular.

    Raises:
        EngineError: no TensorRT; or no driver, which all but TensorRT-RTX need to build.
    """
    library = find_library(backend)
    try:
        check_driver()
    except EngineError as error:
        if library.name != TENSORRT_RTX:
            raise EngineError(f"{error}; only tensorrt_rtx builds without") from error
        return Workshop(library, settings=settings)
    device = _opened(backend).device
    return Workshop(library, device.name, device.architecture, settings)


class TensorRtEngine(RunsBatches):
    """One network in TensorRT, with a plan for each of its sets of outputs."""

    def __init__(
        self,
        file: EngineFile,
        backend: str = TENSORRT,
        settings: PlanSettings = USUAL_SETTINGS,
    ) -> None:
        """Build the plans or take those that are kept, and run each of them once.

        Raises:
            EngineError: no driver, no TensorRT, or it cannot build or run the network.
        """
        check_driver()
        self.metadata = file.metadata
        self.name = file.metadata.name
        self._outputs = ROLE_OUTPUTS[file.metadata.role]
        self._lock = Lock()  # the buffers serve one frame at a time
        self._executions: dict[tuple[str, ...], Execution] = {}
        library = find_library(backend)
        self.gpu = _opened(backend)
        self._device = self.gpu.device
        weakref.finalize(self, _let_go, self.gpu, self._executions)
        workshop = Workshop(library, self._device.name, self._device.architecture, settings)
        with _named(workshop, file), self._device:
            self._runtime = library.module.Runtime(library.logger)
        for outputs in output_sets(file.metadata.role):
            self._executions[outputs] = self._load(workshop, file, outputs)

    @property
    def batch(self) -> int:
        """See `BatchEngine.batch`."""
        return self._executions[self._outputs].batch

    def run_batch(
        self,
        images: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `BatchEngine.run_batch`."""
        wanted = outputs or self._outputs
        execution = self._executions.get(wanted, self._executions[self._outputs])
        try:
            with self._lock, self._device:
                found = execution.run({INPUT: images, **maps})
        except Exception as error:
            raise EngineError(f"engine {self.name} failed on {images.shape}: {error}") from error
        results = {name: found[name] for name in wanted}
        check_results(self.name, images, results)
        return results

    def context(self, outputs: tuple[str, ...]) -> Context:
        """Another context of a plan, for arrays that lie on `gpu`; inside `with device:`.

        Args:
            outputs: one of the role's `output_sets`.

        Raises:
            EngineError: the GPU has too little memory.
        """
        with self._lock:
            return self._executions[outputs].context.another()

    def _load(self, workshop: Workshop, file: EngineFile, outputs: tuple[str, ...]) -> Execution:
        """A plan on the GPU, run once: whatever is loaded late is there at the first frame.

        What is kept cannot be asked whether it fits, so what is refused is built anew.
        """
        plan = workshop.plan(file, outputs)
        engine = self._deserialized(workshop, file, plan)
        if engine is None and plan.built_s == 0:
            plan = workshop.plan(file, outputs, plan.content)
            engine = self._deserialized(workshop, file, plan)
        inputs = (INPUT, *ROLE_MAPS.get(file.metadata.role, ()))
        library = workshop.library
        with _named(workshop, file), self._device:
            if engine is None:
                raise EngineError(library.said())
            execution = Execution(Context(library, engine, inputs, outputs), self._device)
            execution.run({name: np.zeros(shape) for name, shape in execution.usual.items()})
        return execution

    def _deserialized(
        self, workshop: Workshop, file: EngineFile, plan: Plan
    ) -> api.ICudaEngine | None:
        workshop.library.complaints.clear()
        with _named(workshop, file), self._device:
            return self._runtime.deserialize_cuda_engine(plan.content)


@contextmanager
def _named(workshop: Workshop, file: EngineFile) -> Iterator[None]:
    """Say of what goes wrong with which engine it did, and where."""
    try:
        yield
    except Exception as error:  # the GPU's, and whatever TensorRT's bindings raise
        raise EngineError(
            f"{file.path}: expected {workshop.library} to run it on {workshop.gpu}"
            f" ({workshop.architecture}), found: {error}; see docs/tensorrt.md for the GPUs it"
            " knows, or set backend to onnxruntime"
        ) from error


def _opened(backend: str) -> Gpu:
    try:
        return shared_gpu()
    except DeviceError as error:
        raise EngineError(f"backend {backend}: {error}") from error


def _let_go(gpu: Gpu, executions: dict[tuple[str, ...], Execution]) -> None:
    """Free what TensorRT has on the GPU, before the GPU itself is let go."""
    with gpu.device:
        while executions:
            executions.popitem()[1].close()
