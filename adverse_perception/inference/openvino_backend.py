"""Engines by OpenVINO: 3 to 5 times faster on x86 with bf16. Imported when an engine is loaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference.engine import (
    INPUT,
    NO_MAPS,
    ROLE_MAPS,
    ROLE_OUTPUTS,
    RunsBatches,
    output_sets,
)
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineMetadata
from adverse_perception.inference.pruning import pruned
from adverse_perception.inference.signature import check_results, check_signature

try:
    import openvino
except ImportError as error:
    raise EngineError(
        f"backend openvino: expected the package openvino, found none ({error});"
        " install it with: pip install openvino, or set backend to onnxruntime"
    ) from error

_KEPT = 8
"""Compiled networks kept, one for each input size and set of outputs."""


class OpenVinoEngine(RunsBatches):
    """One network, compiled for every picture size and set of outputs it is asked for.

    Attributes:
        batch: one: another number of pictures would be compiled in mid-drive.
    """

    batch = 1

    def __init__(
        self,
        content: bytes,
        metadata: EngineMetadata,
        path: Path,
        threads: int = 1,
        precision: str | None = None,
    ) -> None:
        """Read the network; `precision` is "bf16" or "f32", None = what the CPU is fast at."""
        self.metadata = metadata
        self.name = metadata.name
        self._outputs = ROLE_OUTPUTS[metadata.role]
        self._core = _core()
        self._settings = self._pinned(threads, precision)
        self._requests: OrderedDict[tuple[Any, ...], openvino.InferRequest] = OrderedDict()
        self._lock = Lock()  # an infer request is one buffer: one frame at a time
        self._contents = {self._outputs: content}
        try:
            model = self._core.read_model(content)
        except Exception as error:  # its exceptions have no common base class but this
            raise EngineError(
                f"{path}: expected a network OpenVINO {openvino.__version__} can run,"
                f" found: {error}; export it again"
            ) from error
        check_signature(path, metadata, _tensors(model.inputs), _tensors(model.outputs))
        for outputs in output_sets(metadata.role)[1:]:
            self._contents[outputs] = pruned(content, outputs, path)
        # Compiled now rather than at the first frame, for what most cameras end up at.
        self._request(output_sets(metadata.role)[-1], _usual_shapes(model, metadata))

    def run_batch(
        self,
        images: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `BatchEngine.run_batch`."""
        wanted = outputs or self._outputs
        given = {INPUT: images, **maps}
        batch = {name: np.ascontiguousarray(array) for name, array in given.items()}
        try:
            with self._lock:
                shapes = {name: array.shape for name, array in batch.items()}
                found = self._request(wanted, shapes).infer(batch)
                results = {name: np.array(found[name]) for name in wanted}
        except Exception as error:
            raise EngineError(f"engine {self.name} failed on {images.shape}: {error}") from error
        check_results(self.name, images, results)
        return results

    def _request(
        self, outputs: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
    ) -> openvino.InferRequest:
        """The network for some outputs and one size; compiling it takes a second.

        Static shapes are faster.
        """
        key = (outputs, *shapes.items())
        if key not in self._requests:
            model = self._core.read_model(
                self._contents.get(outputs, self._contents[self._outputs])
            )
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            compiled = self._core.compile_model(model, "CPU", self._settings)
            self._requests[key] = compiled.create_infer_request()
            if len(self._requests) > _KEPT:
                self._requests.popitem(last=False)
        self._requests.move_to_end(key)
        return self._requests[key]

    def _pinned(self, threads: int, precision: str | None) -> dict[str, str | int | bool]:
        """Settings that OpenVINO would otherwise guess, and differently on every machine."""
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return {
            "INFERENCE_PRECISION_HINT": precision or ("bf16" if "BF16" in able else "f32"),
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # pinned threads starve beside other processes
        }


def _usual_shapes(model: openvino.Model, metadata: EngineMetadata) -> dict[str, tuple[int, ...]]:
    """Shapes of all inputs at the engine's own size, batch axis included."""
    height, width = metadata.input_height, metadata.input_width
    grid = -(-height // metadata.stride), -(-width // metadata.stride)
    shapes: dict[str, tuple[int, ...]] = {INPUT: (1, height, width, 3)}
    for name in ROLE_MAPS.get(metadata.role, ()):
        shapes[name] = (1, model.input(name).partial_shape[1].get_length(), *grid)
    return shapes


@cache
def _core() -> openvino.Core:
    """The one core of the process, never let go.

    On a CPU with AMX each core puts an alternate signal stack beneath the process, and cores that
    go in another order than they came leave one that is unmapped: the next signal is the last.
    """
    return openvino.Core()


def _tensors(ports: list[openvino.Output]) -> dict[str, tuple[str, list[int | str]]]:
    """Type and shape of every port by name, as `check_signature` wants them."""
    return {
        port.any_name: (
            {"u8": "uint8"}.get(found := port.element_type.get_type_name(), found),
            [size.get_length() if size.is_static else "?" for size in port.partial_shape],
        )
        for port in ports
    }
