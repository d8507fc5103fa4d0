"""The one interface to whatever runs a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference.metadata import EngineMetadata

UNBOUNDED = 1_000_000
"""The batch of an engine that takes any number of pictures at once."""

INPUT = "image"
"""Name of every engine's input: [N, H, W, 3] uint8 RGB."""
ROLE_OUTPUTS: dict[str, tuple[str, ...]] = {
    "weather": ("scores",),
    "segmentation": ("logits",),
    "joint": ("logits", "restored"),
    "correction": ("correction", "distortion"),
}
"""Role of an engine -> names of the outputs it must have, the one that every frame needs first."""
_AT_TIMES = frozenset({"restored"})
"""Outputs that only some frames want."""
ROLE_MAPS: dict[str, tuple[str, ...]] = {"correction": ("warped", "evidence")}
"""Role of an engine -> names of what it reads beside the picture: [N, C, h, w] float32."""
NO_MAPS: Mapping[str, NDArray[Any]] = MappingProxyType({})


def output_sets(role: str) -> tuple[tuple[str, ...], ...]:
    """Sets of outputs that get a graph of their own: all of them, and what every frame needs."""
    outputs = ROLE_OUTPUTS[role]
    usual = tuple(name for name in outputs if name not in _AT_TIMES)
    return tuple(dict.fromkeys((outputs, usual)))


class Engine(Protocol):
    """A loaded network. Safe to share between cameras and threads."""

    @property
    def metadata(self) -> EngineMetadata:
        """What the engine file says about itself."""
        ...

    @property
    def name(self) -> str:
        """What diagnostics and reports call it."""
        ...

    def run(
        self,
        image: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """Run the network on one picture.

        Args:
            image: (H, W, 3) uint8 RGB; H and W multiples of 8 for segmentation.
            outputs: what is wanted; empty = every output of the role. What only the others need
                is not computed.
            maps: what the role reads beside the picture, by name without the batch axis:
                (C, h, w) float32.

        Returns:
            The wanted outputs by name without the batch axis: `logits` (K, H/4, W/4) float32,
            `restored` (H, W, 3) uint8 RGB, `scores` (4,) float32 in the order of `Weather`,
            `correction` (K, h, w) float32 logits, `distortion` (1, h, w) float32, 0 to 1.

        Raises:
            EngineError: the runtime failed, or an output has not the shape of the picture.
        """
        ...


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that takes several pictures of one size at once."""

    @property
    def batch(self) -> int:
        """The most pictures at once; 1 where the file or the plan fixes that."""
        ...

    def run_batch(
        self,
        images: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """Run the network on N pictures; as `run`, but every array begins with the batch axis.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            outputs: what is wanted; empty = every output of the role.
            maps: what the role reads beside the pictures, (N, C, h, w) float32 by name.

        Raises:
            EngineError: the runtime failed, or an output has not the shape of the pictures.
        """
        ...


class RunsBatches(ABC):
    """What runs batches runs one picture as a batch of one."""

    @abstractmethod
    def run_batch(
        self,
        images: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `BatchEngine.run_batch`."""

    def run(
        self,
        image: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `Engine.run`."""
        planes = {name: array[np.newaxis] for name, array in maps.items()}
        found = self.run_batch(image[np.newaxis], outputs, planes)
        return {name: array[0] for name, array in found.items()}


def batch_of(shape: Sequence[Any]) -> int:
    """The most pictures that an input of a shape takes; a free axis is no integer."""
    return shape[0] if isinstance(shape[0], int) else UNBOUNDED
