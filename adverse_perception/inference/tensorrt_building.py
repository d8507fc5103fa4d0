"""From an engine file to a plan: read by TensorRT's parser, checked, and built for a range of
picture sizes.

Networks are strongly typed: what precision a layer has is said by the file and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from adverse_perception.inference import tensorrt_api as api
from adverse_perception.inference.engine import INPUT, ROLE_OUTPUTS, output_sets
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import AREA_TOLERANCE, EngineFile, EngineMetadata
from adverse_perception.inference.plans import (
    NO_GPU,
    USUAL_SETTINGS,
    Plan,
    PlanCache,
    PlanSettings,
    Request,
    cache_folder,
)
from adverse_perception.inference.pruning import pruned
from adverse_perception.inference.signature import check_signature
from adverse_perception.inference.tensorrt_module import Library

_TALLEST, _WIDEST = 9 / 16, 3.0
"""Width by height of the camera pictures a plan takes: from a portrait to a panorama."""
_MULTIPLE = 8
"""The range ends at multiples of this, as the sides of working pictures are."""

Sizes = tuple[tuple[int, int, int], ...]
"""Batch, height and width of pictures: the least, the usual and the greatest."""


@dataclass(frozen=True)
class Workshop:
    """Makes plans for one GPU, or takes those that are kept.

    Attributes:
        library: the TensorRT that builds and runs them.
        gpu: name of the GPU; `NO_GPU` without one.
        architecture: of the GPU, such as sm_87.
        settings: how plans are built and kept.
    """

    library: Library
    gpu: str = NO_GPU
    architecture: str = NO_GPU
    settings: PlanSettings = USUAL_SETTINGS

    def __str__(self) -> str:
        where = f"by {self.library}, kept in {self.settings.folder or cache_folder()}"
        if self.gpu == NO_GPU:
            return (
                f"built for no GPU, {where}: there is none here. So the engines can be built;"
                " a drive builds plans for its own GPU"
            )
        return f"built for {self.gpu} ({self.architecture}), {where}"

    def plan(self, file: EngineFile, outputs: tuple[str, ...], refused: bytes = b"") -> Plan:
        """The plan of an engine for some of its outputs.

        Args:
            file: the engine.
            outputs: one of its `output_sets`.
            refused: a plan that seemed to fit and that the GPU has refused.

        Raises:
            EngineError: TensorRT cannot build it.
        """
        sizes = picture_sizes(file.metadata, self.settings.batch)
        request = Request(
            engine=file.metadata.name,
            weights_sha256=file.metadata.weights_sha256,
            outputs=outputs,
            module=self.library.name,
            version=self.library.version,
            gpu=self.gpu,
            architecture=self.architecture,
            sizes=sizes,
        )
        cache = PlanCache(self.settings.folder, self.settings.tell)
        return cache.get(request, partial(build, self.library, file, outputs, sizes), refused)

    def plans(self, file: EngineFile) -> dict[tuple[str, ...], Plan]:
        """All plans that driving with an engine takes, by their outputs. Raises `EngineError`."""
        return {outputs: self.plan(file, outputs) for outputs in output_sets(file.metadata.role)}


def picture_sizes(metadata: EngineMetadata, batch: int = 1) -> Sizes:
    """The range a plan is built for.

    Working pictures have the camera's shape and about the engine's area, so the range holds all
    shapes that cameras have. The weather is looked at in one size.

    Args:
        metadata: the engine's.
        batch: the most pictures at once.

    Returns:
        Batch, height and width: the least, the usual (for which the plan is the fastest) and the
        greatest.
    """
    height, width = metadata.input_height, metadata.input_width
    if metadata.role == "weather":
        return (1, height, width), (batch, height, width), (batch, height, width)
    area = height * width
    smallest = area * (1 - AREA_TOLERANCE)
    heights = math.sqrt(smallest / _WIDEST), math.sqrt(area / _TALLEST)
    widths = math.sqrt(smallest * _TALLEST), math.sqrt(area * _WIDEST)
    least = (1, min(height, _down(heights[0])), min(width, _down(widths[0])))
    most = (batch, max(height, _up(heights[1])), max(width, _up(widths[1])))
    return least, (batch, height, width), most


def build(library: Library, file: EngineFile, outputs: tuple[str, ...], sizes: Sizes) -> bytes:
    """Build the plan of an engine for some of its outputs; takes seconds to minutes.

    Args:
        library: the TensorRT to build with.
        file: the engine.
        outputs: one of its `output_sets`.
        sizes: see `picture_sizes`.

    Raises:
        EngineError: TensorRT cannot read or build it, or it is not what its role asks for.
    """
    library.complaints.clear()
    try:
        return _built(library, file, outputs, sizes)
    except EngineError:
        raise
    except Exception as error:  # its bindings raise what comes to hand
        raise _refused(library, file, f"{error}: {library.said()}") from error


def _built(library: Library, file: EngineFile, outputs: tuple[str, ...], sizes: Sizes) -> bytes:
    builder = library.module.Builder(library.logger)
    network, _parser = _parsed(library, file, outputs, builder)  # it holds the weights
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        profile.set_shape(tensor.name, *_shapes(file, tensor, sizes))
    fits = config.add_optimization_profile(profile) >= 0
    plan = builder.build_serialized_network(network, config) if fits else None
    if plan is None:
        raise _refused(library, file, library.said())
    return bytes(plan)


def _parsed(
    library: Library, file: EngineFile, outputs: tuple[str, ...], builder: api.Builder
) -> tuple[api.INetworkDefinition, api.OnnxParser]:
    """The network of some outputs, and the parser, to be kept until it is built."""
    module = library.module
    typed = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = module.OnnxParser(network, library.logger)
    whole = outputs == ROLE_OUTPUTS[file.metadata.role]
    if not parser.parse(file.content if whole else pruned(file.content, outputs, file.path)):
        errors = [_said(parser.get_error(number)) for number in range(parser.num_errors)]
        raise _refused(library, file, "; ".join(errors) or library.said())
    if whole:
        inputs = [network.get_input(number) for number in range(network.num_inputs)]
        made = [network.get_output(number) for number in range(network.num_outputs)]
        check_signature(file.path, file.metadata, _told(inputs), _told(made))
    return network, parser


def _said(error: api.ParserError) -> str:
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}"


def _shapes(file: EngineFile, tensor: api.ITensor, sizes: Sizes) -> list[tuple[int, ...]]:
    """Least, usual and greatest shape of an input; sizes that the network fixes stay."""
    fixed, stride = tuple(tensor.shape), file.metadata.stride
    if 0 <= fixed[0] < sizes[-1][0]:
        raise EngineError(
            f"{file.path}: expected an engine for {sizes[-1][0]} pictures at once, found one for"
            f" {fixed[0]}; export it with a free batch axis, or build for a batch of {fixed[0]}"
        )
    shapes = []
    for batch, height, width in sizes:
        grid = (fixed[1], -(-height // stride), -(-width // stride))
        wanted = (batch, *((height, width, 3) if tensor.name == INPUT else grid))
        shapes.append(tuple(w if f < 0 else f for f, w in zip(fixed, wanted, strict=True)))
    return shapes


def _told(tensors: list[api.ITensor]) -> dict[str, tuple[str, list[int | str]]]:
    """Type and shape by name, as `check_signature` wants them."""
    return {
        tensor.name: (
            tensor.dtype.name.lower(),
            [size if size >= 0 else "?" for size in tensor.shape],
        )
        for tensor in tensors
    }


def _refused(library: Library, file: EngineFile, reason: str) -> EngineError:
    reason = " ".join(reason.split())
    return EngineError(
        f"{file.path}: expected a network {library} can run, found: {reason};"
        " export it again, or set backend to onnxruntime"
    )


def _down(side: float) -> int:
    return max(_MULTIPLE, math.floor(side / _MULTIPLE) * _MULTIPLE)


def _up(side: float) -> int:
    return math.ceil(side / _MULTIPLE) * _MULTIPLE
