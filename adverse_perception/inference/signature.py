"""Does the graph have the inputs and outputs its role asks for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adverse_perception.frames import UInt8Array
from adverse_perception.inference.engine import INPUT, ROLE_MAPS, ROLE_OUTPUTS
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.metadata import EngineMetadata

RESTORED = "restored"
Tensors = Mapping[str, tuple[str, Sequence[Any]]]
"""Name of a tensor -> its type's name and its shape; unknown sizes are no integers."""


def check_signature(
    path: Path, metadata: EngineMetadata, inputs: Tensors, outputs: Tensors
) -> None:
    """Compare a graph's tensors with its role.

    Raises:
        EngineError: names the tensor, what was expected and what was found.
    """
    maps = ROLE_MAPS.get(metadata.role, ())
    found = inputs.get(INPUT)
    fits = found is not None and "uint8" in found[0] and _rank_fits(found[1])
    if not fits or set(inputs) != {INPUT, *maps}:
        expected = ", ".join([f"{INPUT!r} of uint8 [N, H, W, 3]", *map(repr, maps)])
        raise EngineError(
            f"{path}: expected as inputs {expected}, found {dict(inputs)};"
            " export it again with training/export.py"
        )
    for name in ROLE_OUTPUTS[metadata.role]:
        if name not in outputs:
            raise EngineError(
                f"{path}: expected an output {name!r} for role {metadata.role!r},"
                f" found {sorted(outputs)}; export it again with training/export.py"
            )
    _check_channels(path, metadata, outputs[ROLE_OUTPUTS[metadata.role][0]][1])
    _check_picture(path, outputs.get(RESTORED))


def check_results(name: str, images: UInt8Array, results: Mapping[str, NDArray[Any]]) -> None:
    """Compare what an engine made of pictures with the pictures.

    Args:
        name: what the engine is called.
        images: (N, H, W, 3) uint8.
        results: its outputs by name, which begin with the batch axis.

    Raises:
        EngineError: the restored picture is not as large as the picture.
    """
    found = results.get(RESTORED, images)
    if found.shape != images.shape:
        raise EngineError(
            f"engine {name}: expected {RESTORED!r} of shape {images.shape}, as its input,"
            f" found {found.shape}; export it again"
        )


def _rank_fits(shape: Sequence[Any]) -> bool:
    return len(shape) == 4 and shape[3] == 3


def _check_channels(path: Path, metadata: EngineMetadata, shape: Sequence[Any]) -> None:
    channels = shape[1] if len(shape) > 1 else None
    if isinstance(channels, int) and channels != len(metadata.classes):
        raise EngineError(
            f"{path}: expected {len(metadata.classes)} channels, one for each class it names,"
            f" found {channels}; export it again"
        )


def _check_picture(path: Path, found: tuple[str, Sequence[Any]] | None) -> None:
    if found is not None and not ("uint8" in found[0] and _rank_fits(found[1])):
        raise EngineError(
            f"{path}: expected an output {RESTORED!r} of uint8 [N, H, W, 3], as the input,"
            f" found {found[0]} {list(found[1])}; export it again with training/export.py"
        )
