"""The kernels on a GPU, from arrays that lie there to arrays that stay there."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.kernels.device import Device, DeviceArray
from adverse_perception.kernels.errors import KernelError
from adverse_perception.kernels.fatbin import built

SOURCE = Path(__file__).with_name("flow_warp.cu")
_PRECISIONS = {np.dtype(np.float16): "half", np.dtype(np.float32): "float"}
_NAMES = [f"{deed}_{one}" for deed in ("warp", "correct_and_label") for one in ("half", "float")]
MOST_CLASSES = 32
"""That the kernels tell apart; a bit each."""
_MOST_ELEMENTS = 2**31  # counted by int


class FlowWarp:
    """`warp` and `correct_and_label` as `kernels/definition.py` says, in fp16 or fp32.

    Calls are put into a stream and return at once.
    """

    def __init__(self, device: Device, cache: Path | None = None) -> None:
        """Compile for the device, or take from the cache folder; inside `with device:`.

        Raises:
            DeviceError: nothing here can compile it, or the device cannot load it.
        """
        self._device = device
        self._sizes = defined(SOURCE.read_text(encoding="utf-8"))
        self._kernels = device.load(built(SOURCE, device.architecture, cache), _NAMES)

    def warp(
        self, planes: DeviceArray, flow: DeviceArray, warped: DeviceArray, stream: Any
    ) -> None:
        """Sample planes where a flow points.

        Args:
            planes: (C, h, w) float16 or float32.
            flow: (h, w, 2) float32, (x, y) in pixels of that grid.
            warped: (C, h, w) as `planes`, written; not the same memory.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        precision = _precision("warp: planes", planes, 3)
        count, height, width = planes.shape
        expect("warp: flow", flow, (height, width, 2), np.float32)
        expect("warp: warped", warped, planes.shape, planes.dtype)
        threads = self._sizes["THREADS"]
        grid = parts(height * width, threads), parts(count, self._sizes["WARP_PLANES"])
        arguments = [*addresses(planes, flow, warped), *numbers(*planes.shape)]
        self._device.launch(self._kernels[f"warp_{precision}"], grid, threads, arguments, stream)

    def correct_and_label(
        self,
        logits: tuple[DeviceArray, DeviceArray],
        distortion: DeviceArray,
        labels: DeviceArray,
        confidence: DeviceArray,
        stream: Any,
    ) -> None:
        """Label every pixel from warped logits and their correction.

        Args:
            logits: warped and correction, (K, h, w) float16 or float32 each, K from 1 to 32.
            distortion: (h, w) of the same type, 0 to 1: the share of the correction.
            labels: (H, W) uint8, written.
            confidence: (H, W) uint8, written.
            stream: of the device.

        Raises:
            KernelError: a shape or a type does not fit.
        """
        warped, correction = logits
        precision = _precision("correct_and_label: warped", warped, 3)
        classes, rows, columns = warped.shape
        if classes > MOST_CLASSES:
            raise KernelError(
                f"correct_and_label: expected up to {MOST_CLASSES} classes, found {classes}"
            )
        expect("correct_and_label: correction", correction, warped.shape, warped.dtype)
        expect("correct_and_label: distortion", distortion, (rows, columns), warped.dtype)
        if len(labels.shape) != 2 or not 0 < math.prod(labels.shape) < _MOST_ELEMENTS:
            raise KernelError(
                f"correct_and_label: labels: expected (H, W) uint8, found {labels.shape}"
            )
        expect("correct_and_label: labels", labels, labels.shape, np.uint8)
        expect("correct_and_label: confidence", confidence, labels.shape, np.uint8)
        grid = (
            parts(columns, self._sizes["TILE_COLUMNS"]),
            parts(rows, self._sizes["TILE_ROWS"]),
        )
        kernel = self._kernels[f"correct_and_label_{precision}"]
        arguments = [
            *addresses(warped, correction, distortion, labels, confidence),
            *numbers(*warped.shape, *labels.shape),
        ]
        self._device.launch(kernel, grid, self._sizes["THREADS"], arguments, stream)


def defined(source: str) -> dict[str, int]:
    """The numbers that the source defines, so that they stand in one place."""
    return {name: int(size) for name, size in re.findall(r"#define (\w+) (\d+)\n", source)}


def parts(size: int, part: int) -> int:
    """How many parts of a size it takes."""
    return -(-size // part)


def addresses(*arrays: DeviceArray) -> list[np.generic]:
    """Arrays as a kernel's arguments."""
    return [np.uintp(array.address) for array in arrays]


def numbers(*values: int) -> list[np.generic]:
    """Whole numbers as a kernel's arguments."""
    return [np.int32(value) for value in values]


def _precision(name: str, array: DeviceArray, dimensions: int) -> str:
    """Name of the kernel's precision for an array."""
    good = array.dtype in _PRECISIONS and len(array.shape) == dimensions
    if not good or not 0 < math.prod(array.shape) < _MOST_ELEMENTS:
        raise KernelError(
            f"{name}: expected {dimensions} dimensions of float16 or float32 and less than 2^31"
            f" elements, found {array.shape} {array.dtype}"
        )
    return _PRECISIONS[array.dtype]


def expect(name: str, array: DeviceArray, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an array of another shape or type. Raises `KernelError`."""
    if (array.shape, array.dtype) != (shape, np.dtype(dtype)):
        raise KernelError(
            f"{name}: expected {shape} {np.dtype(dtype)}, found {array.shape} {array.dtype}"
        )
