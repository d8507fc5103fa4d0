"""Does something grow? What is judged is the last third against the middle one.

The first third is warming up: buffers are allocated, code is compiled, pools fill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_BLOCKS = 12
_T_95 = 2.228
"""Two-sided 95 % point of Student's t with `_BLOCKS` - 2 degrees of freedom."""
_SIGMAS = 5.0


@dataclass(frozen=True)
class Growth:
    """How a quantity that was sampled at even times behaved after warming up.

    Attributes:
        middle: median of the middle third.
        last: median of the last third.
        noise: spread of single samples around the run's slow course, as a standard deviation.
        bound: how far the last third may lie above the middle one.
        slope_per_min: least squares through medians of blocks.
        slope_error: half of its 95 % interval.
        peak: largest sample of all.
    """

    middle: float
    last: float
    noise: float
    bound: float
    slope_per_min: float
    slope_error: float
    peak: float

    @property
    def grows(self) -> bool:
        """The last third lies above the middle one by more than noise."""
        return self.last - self.middle > self.bound

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        kept = {name: round(value, 3) for name, value in asdict(self).items()}
        return {**kept, "grows": self.grows}


def growth(times_s: Sequence[float], values: Sequence[float], least: float) -> Growth:
    """Judge samples of one quantity.

    Args:
        times_s: when each was taken, ascending.
        values: the samples.
        least: what the bound is at least; steps this small say nothing.

    Raises:
        ValueError: fewer than 24 samples.
    """
    if len(values) < 2 * _BLOCKS:
        raise ValueError(f"growth: expected {2 * _BLOCKS} samples or more, found {len(values)}")
    times, samples = np.asarray(times_s, float), np.asarray(values, float)
    _, middle, last = np.array_split(samples, 3)
    noise = _noise(np.concatenate([middle, last]))
    settled = slice(len(samples) // 3, None)
    slope, error = _slope(times[settled] / 60, samples[settled])
    return Growth(
        float(np.median(middle)),
        float(np.median(last)),
        noise,
        max(least, _SIGMAS * noise),
        slope,
        error,
        float(samples.max()),
    )


def _noise(samples: np.ndarray) -> float:
    """From one sample to the next, so that a slow growth does not widen its own bound."""
    steps = np.diff(samples)
    return float(np.std(steps) / math.sqrt(2))


def _slope(minutes: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Slope per minute through the medians of blocks, and half of its 95 % interval."""
    x = np.array([block.mean() for block in np.array_split(minutes, _BLOCKS)])
    y = np.array([np.median(block) for block in np.array_split(samples, _BLOCKS)])
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    left = y - y.mean() - slope * x
    error = math.sqrt(float((left**2).sum()) / (_BLOCKS - 2) / float((x * x).sum()))
    return slope, _T_95 * error
