"""Operations of ours that no runtime has: one definition, several implementations."""

from __future__ import annotations

from adverse_perception.kernels.labelling import KernelError, label, warm_up

__all__ = ["KernelError", "label", "warm_up"]
