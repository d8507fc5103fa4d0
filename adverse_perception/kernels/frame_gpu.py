"""What a frame needs on a GPU beside the flow warp, on arrays that lie there and stay there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.frames import Float32Array
from adverse_perception.kernels.device import Device, DeviceArray
from adverse_perception.kernels.errors import KernelError
from adverse_perception.kernels.evidence import COLOURS, ENTROPY, NEAR_PX, PLANES
from adverse_perception.kernels.fatbin import built
from adverse_perception.kernels.gpu import addresses, defined, expect, numbers, parts

SOURCE = Path(__file__).with_name("frame.cu")
_DEFINED = defined(SOURCE.read_text(encoding="utf-8"))
_THREADS = _DEFINED["THREADS"]
PARTS = _DEFINED["PARTS"]
"""Parts of a plane that `judge` looks at on their own."""
_NAMES = ("resize", "remember", "evidence", "judge")
_LONGEST = 2**15 - 1  # sides of pictures are multiplied with each other
_MOST_BYTES = 2**31  # counted by int


class FrameKernels:
    """`resize` as `kernels/definition.py` says, `key_planes` and `evidence_of` of `evidence.py`.

    Calls are put into a stream and return at once.
    """

    def __init__(self, device: Device, cache: Path | None = None) -> None:
        """Compile for the device, or take from the cache folder; inside `with device:`.

        Raises:
            DeviceError: nothing here can compile it, or the device cannot load it.
        """
        self._device = device
        self._kernels = device.load(built(SOURCE, device.architecture, cache), _NAMES)

    def resize(self, picture: DeviceArray, to: DeviceArray, stream: Any) -> None:
        """Bring a picture to another size.

        Args:
            picture: (H, W, 3) uint8.
            to: (h, w, 3) uint8, written; not the same memory.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        for name, array in (("picture", picture), ("to", to)):
            _check_picture(name, array)
        sizes = *picture.shape[:2], *to.shape[:2]
        grows = sizes[2] > sizes[0] or sizes[3] > sizes[1]
        self._start(
            "resize",
            sizes[2] * sizes[3],
            [*addresses(picture, to), *numbers(*sizes, int(grows))],
            stream,
        )

    def remember(self, planes: DeviceArray, small: DeviceArray, stream: Any) -> None:
        """Add to a key frame's logits what else is carried on.

        Args:
            planes: (K + 4, h, w) float32 that begin with the logits; the rest is written.
            small: (h, w, 3) uint8 RGB, the picture on the grid.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        count, height, width = _planes("remember: planes", planes, COLOURS + ENTROPY + 1)
        expect("remember: small", small, (height, width, 3), np.uint8)
        classes, size = count - COLOURS - ENTROPY, height * width
        self._start("remember", size, [*addresses(planes, small), *numbers(classes, size)], stream)

    def evidence(
        self,
        moved: DeviceArray,
        small: DeviceArray,
        motion: tuple[DeviceArray, DeviceArray],
        evidence: DeviceArray,
        stream: Any,
    ) -> None:
        """Tell where carried planes cannot be trusted.

        Args:
            moved: (K + 4, h, w) float32, what was remembered along the flow.
            small: (h, w, 3) uint8 RGB, the new picture on the grid.
            motion: flow (h, w, 2) and wandered (1, h, w), float32.
            evidence: (6, h, w) float32, written.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        count, height, width = _planes("evidence: moved", moved, COLOURS + ENTROPY + 1)
        expect("evidence: small", small, (height, width, 3), np.uint8)
        expect("evidence: flow", motion[0], (height, width, 2), np.float32)
        expect("evidence: wandered", motion[1], (1, height, width), np.float32)
        expect("evidence: evidence", evidence, (PLANES, height, width), np.float32)
        added = moved.part(count - COLOURS - ENTROPY, count)
        arguments = [
            *addresses(added, small, *motion, evidence),
            *numbers(height, width),
            np.float32(NEAR_PX),
        ]
        self._start("evidence", height * width, arguments, stream)

    def judge(self, values: DeviceArray, found: DeviceArray, stream: Any) -> None:
        """Look at results; `Verdict` reads what is found.

        Args:
            values: (P, h, w) float32.
            found: (P, PARTS, 2) float32, written.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        planes, height, width = _planes("judge: values", values, 1)
        expect("judge: found", found, (planes, PARTS, 2), np.float32)
        arguments = [*addresses(values, found), *numbers(planes, height * width)]
        self._device.launch(self._kernels["judge"], (PARTS, planes), _THREADS, arguments, stream)

    def _start(self, name: str, points: int, arguments: list[np.generic], stream: Any) -> None:
        """A thread for every point."""
        grid = parts(points, _THREADS), 1
        self._device.launch(self._kernels[name], grid, _THREADS, arguments, stream)


@dataclass(frozen=True)
class Verdict:
    """What `judge` has found in some planes.

    Attributes:
        mean: of all values, each kept within 0 to 1.
        finite: all of them are numbers.
    """

    mean: float
    finite: bool

    @classmethod
    def read(cls, found: Float32Array, size: int) -> Verdict:
        """Read (P, PARTS, 2) float32 of planes of a size."""
        sums = found.sum(axis=(0, 1), dtype=np.float64)
        return cls(float(sums[0]) / (size * len(found)), sums[1] == 0)


def _planes(name: str, array: DeviceArray, least: int) -> tuple[int, int, int]:
    """Sizes of (P, h, w) float32 with so many planes or more."""
    good = len(array.shape) == 3 and array.dtype == np.float32 and array.shape[0] >= least
    if not good or not 0 < array.nbytes < 4 * _MOST_BYTES:
        raise KernelError(
            f"{name}: expected (P, h, w) float32 with P at least {least} and less than 2^31"
            f" elements, found {array.shape} {array.dtype}"
        )
    count, height, width = array.shape
    return count, height, width


def _check_picture(name: str, array: DeviceArray) -> None:
    shape = array.shape
    good = len(shape) == 3 and shape[2] == 3 and array.dtype == np.uint8
    if not good or not 0 < math.prod(shape) < _MOST_BYTES or max(shape) > _LONGEST:
        raise KernelError(
            f"resize: {name}: expected (H, W, 3) uint8, sides up to {_LONGEST} and less than 2^31"
            f" bytes, found {shape} {array.dtype}"
        )
