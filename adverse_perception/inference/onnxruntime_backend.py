"""Engines by ONNX Runtime: the one that runs everywhere. Imported when an engine is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.inference.engine import INPUT, ROLE_OUTPUTS
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineMetadata
from adverse_perception.inference.signature import check_signature

try:
    import onnxruntime
except ImportError as error:
    raise EngineError(
        f"backend onnxruntime: expected the package onnxruntime, found none ({error});"
        " install it with: pip install onnxruntime"
    ) from error

_QUIET = 3  # errors only


class OnnxRuntimeEngine:
    """One network in one ONNX Runtime session."""

    def __init__(
        self, content: bytes, metadata: EngineMetadata, path: Path, threads: int = 1
    ) -> None:
        self.metadata = metadata
        self.name = metadata.name
        self._outputs = ROLE_OUTPUTS[metadata.role]
        try:
            self._session = onnxruntime.InferenceSession(
                content, _options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base class but this
            raise EngineError(
                f"{path}: expected a network ONNX Runtime {onnxruntime.__version__} can run,"
                f" found: {error}; export it again"
            ) from error
        check_signature(
            path,
            metadata,
            {i.name: (i.type, i.shape) for i in self._session.get_inputs()},
            {o.name: (o.type, o.shape) for o in self._session.get_outputs()},
        )

    def run(self, image: UInt8Array) -> Mapping[str, Float32Array]:
        """See `Engine.run`."""
        batch = np.ascontiguousarray(image)[np.newaxis]
        try:
            results = self._session.run(self._outputs, {INPUT: batch})
        except Exception as error:
            raise EngineError(f"engine {self.name} failed on {image.shape}: {error}") from error
        return {name: out[0] for name, out in zip(self._outputs, results, strict=True)}


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Spinning workers take the core the rest of the node needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Not session.set_denormal_as_zero: it changes the arithmetic of whatever thread happens to
    # make the first session, and of no other. Export flushes subnormal weights instead.
    return options
