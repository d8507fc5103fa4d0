"""Degradations by name and level: the paper's six regular ones, and the rest of the TID list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.synthesis.damage import LEVELS, Damage
from training.synthesis.pasted import (
    IrregularMask,
    Watermark,
    draw_irregular_mask,
    draw_watermark,
)
from training.synthesis.scene import SynthesisError

Degradation = Damage | Watermark | IrregularMask


@dataclass(frozen=True)
class Leveled:
    """A degradation that comes in levels.

    Attributes:
        levels: how many there are; 1 is the lightest.
        at: draws it at a level.
    """

    levels: int
    at: Callable[[int, np.random.Generator], Degradation]

    def __call__(self, rng: np.random.Generator, strength: float) -> tuple[Degradation, ...]:
        """Draw it by strength, 0 to 1, every level of which has an equal part."""
        return (self.at(1 + min(self.levels - 1, int(self.levels * strength)), rng),)


def _damage(name: str, level: int, rng: np.random.Generator) -> Damage:
    return Damage(name, LEVELS[name][level - 1], int(rng.integers(1 << 30)))


def _leveled(name: str) -> Leveled:
    return Leveled(len(LEVELS[name]), partial(_damage, name))


_FOUR = ("noise", "blur", "jpeg", "chromatic_aberration")
REGULAR: dict[str, Leveled] = {
    "watermark": Leveled(4, lambda level, rng: draw_watermark(rng, (level - 1) / 3)),
    "irregular_mask": Leveled(4, lambda level, rng: draw_irregular_mask(rng, (level - 1) / 3)),
    **{name: _leveled(name) for name in _FOUR},
}
"""The six of the paper. Level 4 of the irregular mask is N(4, 2) strokes; the watermark is the
paper's more general model, its own is `Watermark()`."""
TID: dict[str, Leveled] = {name: _leveled(name) for name in LEVELS if name not in REGULAR}
"""The rest of the list, at the paper's values."""


def regular(name: str, level: int, seed: int = 0) -> Degradation:
    """A degradation at one of the paper's levels, to be given to `render`.

    Pictures are not coded again after it; save them as PNG (the paper's went through JPEG).

    Args:
        name: of `REGULAR` or `TID`.
        level: 1, the lightest, to 4; `blocks` and `dither` have 5.
        seed: of what is drawn by chance.

    Raises:
        SynthesisError: no such name or level.
    """
    known = REGULAR | TID
    if name not in known:
        raise SynthesisError(f"degradation: expected one of {', '.join(known)}, found {name!r}")
    if not 1 <= level <= known[name].levels:
        raise SynthesisError(f"{name}: expected level 1 to {known[name].levels}, found {level}")
    return known[name].at(level, np.random.default_rng(seed))
