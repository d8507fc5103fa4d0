"""The part of TensorRT that we use: what 10, 11 and TensorRT-RTX all have, and nothing else.

One protocol for each of its classes, under its own name. The type checker lets no other name
through, and a test compares these with the table of versions (tests/tensorrt_api.json).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, SupportsIndex


class DataType(Protocol):
    """Type of a tensor's elements, one of an enumeration."""

    @property
    def name(self) -> str:
        """Such as FLOAT, HALF, UINT8."""
        ...


class Dims(Protocol):
    """A shape; -1 where it is not known yet."""

    def __iter__(self) -> Iterator[int]: ...


class ITensor(Protocol):  # noqa: D101
    name: str
    dtype: DataType
    shape: Dims


class INetworkDefinition(Protocol):  # noqa: D101
    num_inputs: int
    num_outputs: int

    def get_input(self, index: int) -> ITensor: ...
    def get_output(self, index: int) -> ITensor: ...


class ParserError(Protocol):  # noqa: D101
    def node_operator(self) -> str: ...
    def node_name(self) -> str: ...
    def desc(self) -> str: ...


class OnnxParser(Protocol):  # noqa: D101
    num_errors: int

    def parse(self, model: bytes) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class IOptimizationProfile(Protocol):
    """The range of sizes that a plan is made for."""

    def set_shape(
        self, name: str, least: Sequence[int], usual: Sequence[int], most: Sequence[int], /
    ) -> None: ...


class IBuilderConfig(Protocol):  # noqa: D101
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Its number; -1 when it does not fit the network."""
        ...


class IHostMemory(Protocol):
    """A plan; `bytes` copies it."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Builder(Protocol):  # noqa: D101
    def create_network(self, flags: int) -> INetworkDefinition: ...
    def create_builder_config(self) -> IBuilderConfig: ...
    def create_optimization_profile(self) -> IOptimizationProfile: ...
    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        """None when it failed; the logger has heard why."""
        ...


class IExecutionContext(Protocol):
    """The buffers of one engine at work; not for two threads at once."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def infer_shapes(self) -> list[str]:
        """Names of the inputs whose shape is still missing."""
        ...

    def get_tensor_shape(self, name: str) -> Dims: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class ICudaEngine(Protocol):  # noqa: D101
    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_dtype(self, name: str) -> DataType: ...
    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Dims]:
        """Least, usual and greatest shape of an input."""
        ...

    def create_execution_context(self) -> IExecutionContext | None: ...


class Runtime(Protocol):  # noqa: D101
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """None when the plan is of another version or GPU; the logger has heard why."""
        ...


class NetworkDefinitionCreationFlag(Protocol):  # noqa: D101
    STRONGLY_TYPED: SupportsIndex


class ILogger(Protocol):
    """What is told what goes on; a class of ours is derived from it."""

    ERROR: object
    INTERNAL_ERROR: object

    def log(self, severity: Any, msg: str) -> None: ...
