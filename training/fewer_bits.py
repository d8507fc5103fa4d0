"""An engine's graph in fewer bits, made by ONNX Runtime's tools."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from adverse_perception.frames import UInt8Array
from adverse_perception.inference import EngineMetadata, output_sets, read_engine
from adverse_perception.inference.engine import INPUT
from adverse_perception.inference.pruning import pruned
from adverse_perception.segmenters import to_working_size
from training.datasets import Pack, open_pack
from training.recipes import NOTICEABLE
from training.synthesis import degrade

CALIBRATION_FRAMES = 64
CALIBRATION_SEED = 30_000_001
"""Beginning of the seeds of the weather that int8 is calibrated on: neither training's nor a
test's."""
PERCENTILE = 99.99
"""Share of an activation's values that int8 does not clip: on CamVid's val better than all of
them, 99.999 % of them, and than the threshold by entropy."""
EXACT_CONVOLUTIONS = 2
"""The first ones stay in fp32: what a dark picture shows lies within few grey levels."""


def write_fp16(path: Path, out: Path, data: Path | None = None) -> dict[str, str]:
    """All weights and activations in 16 bits; inputs and outputs keep their types.

    Args:
        path: the engine file, in fp32.
        out: the file to write, without a description.
        data: not needed.

    Returns:
        How it was made, in words by name.
    """
    with _quiet():  # of weights too small for 16 bits: they become the smallest there is
        halved = convert_float_to_float16(onnx.load(str(path)), keep_io_types=True)
    onnx.save(halved, str(out))
    return {}


def write_rounded(path: Path, out: Path) -> None:
    """An fp32 file that calculates as the fp16 variant does on a GPU, to be scored on a CPU.

    ONNX Runtime has no 16 bit convolutions for x86: it would calculate the variant in fp32 and
    round nothing but the weights. Here every weight and every activation is rounded to 16 bits;
    what is added up within a layer stays in fp32, as a GPU's multipliers have it.

    Args:
        path: the engine file, in fp32.
        out: the file to write, without a description.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            halved = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(halved.astype(np.float32), weight.name))
    values = (*graph.input, *graph.value_info, *graph.output)
    floats = {one.name for one in values if one.type.tensor_type.elem_type == TensorProto.FLOAT}
    read = {one.name: f"{one.name}_rounded" for one in graph.input if one.name in floats}
    nodes = [cast for name, rounded in read.items() for cast in _rounding(name, rounded)]
    for node in graph.node:
        node.input[:] = [read.get(name, name) for name in node.input]
        exact = {name: f"{name}_exact" for name in node.output if name in floats}
        node.output[:] = [exact.get(name, name) for name in node.output]
        nodes += [node, *(cast for name in exact for cast in _rounding(exact[name], name))]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(out))


def _rounding(exact: str, rounded: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    between = f"{exact}_fp16"
    return (
        helper.make_node("Cast", [exact], [between], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [between], [rounded], to=TensorProto.FLOAT),
    )


def write_int8(path: Path, out: Path, data: Path) -> dict[str, str]:
    """Convolutions on the way to what every frame needs in 8 bits, as TensorRT reads it.

    That is: symmetric, weights by channel, biases in fp32, Q/DQ before every convolution and none
    behind, where it would keep the ReLU apart. What only the restored picture needs stays in fp32.

    Args:
        path: the engine file, in fp32.
        out: the file to write, without a description.
        data: labelled folder whose training split it is calibrated on.

    Returns:
        How it was made, in words by name.

    Raises:
        DatasetError: the folder has no such split.
    """
    pack = open_pack(data, "train")
    frames = _Frames(list(calibration_frames(read_engine(path).metadata, pack)))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        copied = Path(folder) / path.name  # quantize_static writes beside what it reads
        copied.write_bytes(path.read_bytes())
        quantize_static(
            copied,
            out,
            frames,
            QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_coarse(path),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
                "CalibPercentile": PERCENTILE,
                "CalibStridedMinMax": 1,  # frame by frame: all activations of all fill the RAM
            },
        )
    return {"calibration": f"{len(frames)} frames of {pack.name} train, {PERCENTILE} %"}


class _Frames(CalibrationDataReader):  # type: ignore[misc]
    """Pictures as `quantize_static` takes them."""

    def __init__(self, frames: Sequence[UInt8Array]) -> None:
        self._frames = frames
        self.set_range(0, len(frames))

    def __len__(self) -> int:
        return len(self._frames)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self._waiting = iter(self._frames[start_index:end_index])

    def get_next(self) -> dict[str, UInt8Array] | None:
        """The next one by the name of the input, None after the last."""
        frame = next(self._waiting, None)
        return None if frame is None else {INPUT: frame[np.newaxis]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's tools print, log and warn of what is meant to be."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _coarse(path: Path) -> list[str]:
    """Names of the convolutions that int8 calculates in 8 bits."""
    file = read_engine(path)
    needed = pruned(file.content, output_sets(file.metadata.role)[-1], path)
    nodes = onnx.load_from_string(needed).graph.node
    return [node.name for node in nodes if node.op_type == "Conv"][EXACT_CONVOLUTIONS:]


def calibration_frames(
    metadata: EngineMetadata, pack: Pack, count: int = CALIBRATION_FRAMES
) -> Iterator[UInt8Array]:
    """Frames of a training split in the engine's weathers by turns, as it would see them.

    Args:
        metadata: the engine's.
        pack: clear frames.
        count: how many, evenly spread; fewer where the pack has fewer.

    Yields:
        (h, w, 3) uint8 RGB at the engine's working size.
    """
    numbers = np.unique(np.linspace(0, len(pack.pairs) - 1, count).astype(int)).tolist()
    for turn, number in enumerate(numbers):
        rng = np.random.default_rng((CALIBRATION_SEED, number))
        weather = metadata.conditions[turn % len(metadata.conditions)]
        image = degrade(pack.load(number)[0], weather, rng, strength=NOTICEABLE)
        yield to_working_size(image, metadata)
