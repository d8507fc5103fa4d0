"""Engines by ONNX Runtime: the one that runs everywhere. Imported when an engine is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference.engine import (
    INPUT,
    NO_MAPS,
    ROLE_OUTPUTS,
    RunsBatches,
    batch_of,
    output_sets,
)
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineMetadata
from adverse_perception.inference.pruning import pruned
from adverse_perception.inference.signature import check_results, check_signature

try:
    import onnxruntime
except ImportError as error:
    raise EngineError(
        f"backend onnxruntime: expected the package onnxruntime, found none ({error});"
        " install it with: pip install onnxruntime"
    ) from error

_QUIET = 3  # errors only


class OnnxRuntimeEngine(RunsBatches):
    """One network in ONNX Runtime sessions: a whole one, and a smaller one for its first output.

    Both are made at once: a listener who comes in mid-drive does not hold up a frame.
    """

    def __init__(
        self, content: bytes, metadata: EngineMetadata, path: Path, threads: int = 1
    ) -> None:
        self.metadata = metadata
        self.name = metadata.name
        self._outputs = ROLE_OUTPUTS[metadata.role]
        whole = _open(content, path, threads)
        check_signature(
            path,
            metadata,
            {i.name: (i.type, i.shape) for i in whole.get_inputs()},
            {o.name: (o.type, o.shape) for o in whole.get_outputs()},
        )
        self.batch = batch_of(whole.get_inputs()[0].shape)
        self._sessions = {self._outputs: whole}
        for outputs in output_sets(metadata.role)[1:]:
            self._sessions[outputs] = _open(pruned(content, outputs, path), path, threads)

    def run_batch(
        self,
        images: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `BatchEngine.run_batch`."""
        wanted = outputs or self._outputs
        session = self._sessions.get(wanted, self._sessions[self._outputs])
        given = {name: np.ascontiguousarray(array) for name, array in maps.items()}
        try:
            found = session.run(wanted, {INPUT: np.ascontiguousarray(images), **given})
        except Exception as error:
            raise EngineError(f"engine {self.name} failed on {images.shape}: {error}") from error
        results = dict(zip(wanted, found, strict=True))
        check_results(self.name, images, results)
        return results


def _open(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            content, _options(threads), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no common base class but this
        raise EngineError(
            f"{path}: expected a network ONNX Runtime {onnxruntime.__version__} can run,"
            f" found: {error}; export it again"
        ) from error


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
