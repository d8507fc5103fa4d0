"""Do the scores of restoration rise with the scores of what comes after it?

Rank correlation of every two scores over the checkpoints of a training (Guo et al. 2020, section
7). Neighbouring checkpoints are alike, so the intervals come from a bootstrap of whole blocks of
them; they are wide, and a single run says little.

    >>> rank_correlations({"psnr": [20, 22, 25, 24], "miou": [0.3, 0.4, 0.6, 0.5]})
    {('psnr', 'miou'): Correlation(rho=1.0, low=1.0, high=1.0)}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FEWEST = 3


class StudyError(ValueError):
    """What was measured does not answer the question."""


class Correlation(NamedTuple):
    """Spearman's rho, -1 to 1, with the ends of its interval; nan where a score never changes."""

    rho: float
    low: float
    high: float


def rank_correlations(
    scores: Mapping[str, Sequence[float]],
    *,
    block: int | None = None,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[tuple[str, str], Correlation]:
    """Spearman's rho of every two scores, with intervals by moving-block bootstrap.

    Args:
        scores: by name, one value a checkpoint, in the order of training.
        block: checkpoints in a block (default: the cube root of their number, rounded).
        draws: of the bootstrap.
        confidence: of the intervals, 0 to 1.
        seed: of the bootstrap.

    Raises:
        StudyError: scores of different length, fewer than three, or not finite.
    """
    _check(scores)
    count = len(next(iter(scores.values())))
    length = block or round(count ** (1 / 3))
    samples = _blocks(count, length, draws, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    return {
        (one, other): _correlation(scores[one], scores[other], samples, tail)
        for one, other in combinations(scores, 2)
    }


def _correlation(
    one: Sequence[float], other: Sequence[float], samples: NDArray[np.intp], tail: float
) -> Correlation:
    x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
    rhos = np.array([spearman(x[sample], y[sample]) for sample in samples])
    rhos = rhos[np.isfinite(rhos)]
    low, high = np.quantile(rhos, (tail, 1 - tail)) if len(rhos) else (np.nan, np.nan)
    return Correlation(spearman(x, y), float(low), float(high))


def spearman(x: Floats, y: Floats) -> float:
    """Pearson's correlation of the ranks of two (T,) arrays; nan if one of them is constant."""
    ranks_x, ranks_y = (ranks(values) - (len(values) + 1) / 2 for values in (x, y))
    spread = np.sqrt((ranks_x @ ranks_x) * (ranks_y @ ranks_y))
    return float(ranks_x @ ranks_y / spread) if spread > 0 else float("nan")


def ranks(values: Floats) -> Floats:
    """1 for the smallest; equal values share the mean of their ranks. (T,) in and out."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Floats = np.cumsum(counts) - (counts - 1) / 2
    return shared[place]


def _blocks(count: int, length: int, draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Samples of checkpoints, made of blocks of neighbours: (draws, count) indices."""
    length = min(length, count)
    begins = rng.integers(0, count - length + 1, (draws, -(-count // length), 1))
    return (begins + np.arange(length)).reshape(draws, -1)[:, :count]


def _check(scores: Mapping[str, Sequence[float]]) -> None:
    lengths = {name: len(values) for name, values in scores.items()}
    if len(lengths) < 2 or len(set(lengths.values())) != 1 or min(lengths.values()) < _FEWEST:
        raise StudyError(
            f"scores: expected two or more, with a value for each of {_FEWEST} or more "
            f"checkpoints, found {lengths or 'none'}; keep more checkpoints, and score each fully"
        )
    for name, values in scores.items():
        unknown = np.flatnonzero(~np.isfinite(np.asarray(values, np.float64)))
        if len(unknown):
            raise StudyError(
                f"score {name}: expected numbers, found {values[int(unknown[0])]} at checkpoint "
                f"{int(unknown[0])}; score it again, or leave the checkpoint out of every score"
            )
