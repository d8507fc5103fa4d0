"""Carrying planes along with the flow."""

from __future__ import annotations

import numpy as np

from adverse_perception.frames import Float32Array
from adverse_perception.kernels.errors import KernelError


def warp(planes: Float32Array, flow: Float32Array) -> Float32Array:
    """Sample planes where a flow points; `kernels/definition.py` says exactly how.

    Args:
        planes: (C, h, w) float32, C at least 1.
        flow: (h, w, 2) float32, (x, y) in pixels of that grid: the value at (y, x) is taken from
            (y + v, x + u), clamped to the border. One that is not finite points at the pixel.

    Returns:
        (C, h, w) float32.

    Raises:
        KernelError: a shape or a type does not fit.
        ImportError: numba is not installed.
    """
    from adverse_perception.kernels import gather

    _check(planes, flow)
    # exactly the array types that warm_up compiled for
    planes = np.require(planes, requirements=["C", "A", "W"])
    flow = np.require(flow, requirements=["C", "A", "W"])
    warped = np.empty_like(planes)
    gather.warp(planes, flow, warped)
    return warped


def _check(planes: Float32Array, flow: Float32Array) -> None:
    good = planes.ndim == 3 and planes.dtype == flow.dtype == np.float32 and planes.size > 0
    if not good or flow.shape != (*planes.shape[1:], 2):
        raise KernelError(
            "warp: expected planes (C, h, w) float32 and flow (h, w, 2) float32, found"
            f" {planes.shape} {planes.dtype} and {flow.shape} {flow.dtype}"
        )
