"""The one interface to whatever runs a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.inference.metadata import EngineMetadata

INPUT = "image"
"""Name of every engine's input: [1, H, W, 3] uint8 RGB."""
ROLE_OUTPUTS: dict[str, tuple[str, ...]] = {
    "weather": ("scores",),
    "segmentation": ("logits",),
    "joint": ("logits", "restored"),
}
"""Role of an engine -> names of the outputs it must have."""


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

    def run(self, image: UInt8Array) -> Mapping[str, Float32Array]:
        """Run the network on one picture.

        Args:
            image: (H, W, 3) uint8 RGB; H and W multiples of 8 for segmentation.

        Returns:
            Every output by name without the batch axis: `logits` (K, H/4, W/4) float32, or
            `scores` (4,) float32 in the order of `Weather`.

        Raises:
            EngineError: the runtime failed.
        """
        ...
