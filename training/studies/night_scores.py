"""The study of the night, frame by frame: counts, times, and how sure a difference is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from adverse_perception import kernels
from adverse_perception.frames import UInt8Array
from adverse_perception.scores import ConfusionMatrix
from training.calibration import Calibration
from training.networks.fusion import CHANNELS
from training.studies.night_sets import FrameSet
from training.studies.night_ways import Answer, Way, best_patches

REAL, ADAPTIVE = CHANNELS
ORACLE = "oracle patches"
"""The best choice between both channels: an upper bound."""
_RESAMPLES = 200
_SEED = 0


@dataclass
class Tally:
    """One way's scores on one set."""

    counts: list[NDArray[np.int32]] = field(default_factory=list)
    """Of each frame, (K, K + 1), as `ConfusionMatrix.counts`."""
    calibration: Calibration = field(default_factory=Calibration)
    ms: list[float] = field(default_factory=list)
    """CPU time of each frame; empty of what does not run on a vehicle."""

    def add(self, answer: Answer, truth: UInt8Array) -> None:
        """Count one frame."""
        matrix = ConfusionMatrix()
        matrix.add(answer.labels, truth)
        self.counts.append(matrix.counts.astype(np.int32))
        self.calibration.add(answer.labels, answer.confidence, truth)

    def matrix(self) -> ConfusionMatrix:
        """Of all frames."""
        return _matrix(np.sum(self.counts, axis=0, dtype=np.int64))

    def miou(self) -> float:
        """In percent, over one confusion matrix."""
        return 100 * self.matrix().miou()


def _matrix(counts: NDArray[np.int64]) -> ConfusionMatrix:
    matrix = ConfusionMatrix()
    matrix.counts = counts
    return matrix


Board = dict[str, dict[str, Tally]]
"""Row -> set -> tally."""


def play(ways: Sequence[Way], sets: Sequence[FrameSet]) -> Board:
    """Show every frame, made once, to every way; the oracle chooses where there are two channels.

    Raises:
        EngineError: an engine failed.
        DatasetError: a frame is missing or broken.
    """
    _warm_up(ways, sets[0])
    names = [way.name for way in ways]
    rows = [*names, ORACLE] if {REAL, ADAPTIVE} <= set(names) else names
    board: Board = {row: {one.name: Tally() for one in sets} for row in rows}
    with tqdm(total=sum(one.count for one in sets), desc="frames") as bar:
        for one in sets:
            bar.set_postfix_str(one.name)
            for number in range(one.count):
                image, truth = one.load(number)
                _show(image, truth, ways, {row: board[row][one.name] for row in rows})
                bar.update()
    return board


def _show(
    image: UInt8Array, truth: UInt8Array, ways: Sequence[Way], tallies: dict[str, Tally]
) -> None:
    answers: dict[str, Answer] = {}
    for way in ways:
        began = process_time()
        answers[way.name] = way.answer(image)
        tallies[way.name].ms.append((process_time() - began) * 1e3)
    if ORACLE in tallies:
        answers[ORACLE] = best_patches(answers[REAL], answers[ADAPTIVE], truth)
    for row, answer in answers.items():
        tallies[row].add(answer, truth)


def _warm_up(ways: Sequence[Way], frames: FrameSet) -> None:
    """The first frame of a process compiles and allocates: it is not to be timed."""
    kernels.warm_up()
    image = frames.load(0)[0]
    for way in ways:
        way.answer(image)


class Difference(NamedTuple):
    """Points of mIoU, with the ends of the interval that holds 95 % of the resamples."""

    found: float
    low: float
    high: float


def difference(
    one: Sequence[Tally], other: Sequence[Tally], resamples: int = _RESAMPLES
) -> Difference:
    """By how much one way is better than another, and how far chance could have moved that.

    Neighbouring frames of a drive are alike, so runs of them are drawn, as long as the cube root
    of their number; both ways, and all sets, see the same draws.

    Args:
        one: of a way, on sets of the same frames, over which the mean is taken.
        other: of the other way, on the same sets.
        resamples: of the bootstrap.
    """
    frames = len(one[0].counts)
    starts = np.arange(0, frames, max(1, round(frames ** (1 / 3))))
    rng = np.random.default_rng(_SEED)
    draws = rng.integers(len(starts), size=(resamples, len(starts)))
    gains = np.mean([_resampled(tally, starts, draws) for tally in one], axis=0)
    gains -= np.mean([_resampled(tally, starts, draws) for tally in other], axis=0)
    found = np.mean([tally.miou() for tally in one]) - np.mean([tally.miou() for tally in other])
    low, high = np.quantile(gains, (0.025, 0.975))
    return Difference(float(found), float(low), float(high))


def _resampled(
    tally: Tally, starts: NDArray[np.intp], draws: NDArray[np.int64]
) -> NDArray[np.float64]:
    """MIoU in percent of every draw of runs: (draws,)."""
    runs = np.add.reduceat(np.stack(tally.counts).astype(np.int64), starts, axis=0)
    return np.array([100 * _matrix(runs[draw].sum(axis=0)).miou() for draw in draws])
