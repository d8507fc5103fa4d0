"""Compiling for the CPU by numba: when first used, then kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from numba import njit
except ImportError as error:
    raise ImportError(
        f"labelling on the CPU: expected the package numba, found none ({error});"
        " install it with: pip install numba"
    ) from error

Array = Any
"""numba infers array types; naming them would only repeat the docstrings."""


def _kept(**options: Any) -> Callable[[Any], Any]:
    """Compile once and keep the code on disk, or at every start where no disk can be written."""

    def decorate(function: Any) -> Any:
        try:
            return njit(cache=True, error_model="numpy", **options)(function)
        except RuntimeError:  # neither beside the function's file nor in the user's cache folder
            return njit(error_model="numpy", **options)(function)

    return decorate


compiled = _kept(nogil=True)
"""For what Python calls; other threads run meanwhile."""

part = _kept(inline="never")
"""For what compiled code calls; small on its own, so that it is compiled well."""

inlined = njit(inline="always", error_model="numpy")
"""For expressions that have a name."""
