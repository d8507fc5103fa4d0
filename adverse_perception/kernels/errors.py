"""What goes wrong with kernels."""

from __future__ import annotations


class KernelError(ValueError):
    """Arrays that a kernel cannot work on."""


class DeviceError(RuntimeError):
    """A GPU that cannot be used, or a call to it that failed."""
