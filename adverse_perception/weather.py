"""Which weather the camera sees: looked at now and then, smoothed, and held.

Every n-th frame the weather engine scores the picture. The scores are smoothed over *time* (the
frames' stamps, so that dropped frames change nothing) and the route changes only when

- another weather's smoothed score leads the held one's by `switch_margin`, and
- the last change is at least `hold_s` ago.

So evidence that alternates from look to look does not move the route while the looks are closer
than `smoothing_s * ln((1 + switch_margin) / (1 - switch_margin))`, 0.37 s by default, and a true
change is taken after at most `maximum_delay_s`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from adverse_perception import kernels
from adverse_perception.config import AUTO, PipelineConfig
from adverse_perception.frames import Condition, Frame, UInt8Array, Weather
from adverse_perception.inference import Engine, EngineError

_ORDER = tuple(Weather)
_STILL_S = 1 / 30
"""What a stamp that stands still or steps back a little counts for: one frame of a camera."""
_BACK_S = 1.0
"""A step back beyond this is another recording, not a late frame."""
_GAP_S = 5.0
"""After a gap beyond this the weather may be another one."""


def maximum_delay_s(settings: PipelineConfig, rate_hz: float, decisive: float = 0.8) -> float:
    """Longest time from a true change of weather to the change of route, in seconds.

    Args:
        settings: the classifier's.
        rate_hz: frames per second.
        decisive: how far the engine's score of the new weather leads every other one's after
            the change, `switch_margin` to 1.

    Returns:
        The bound; infinite when the lead is not above `switch_margin`.
    """
    if decisive <= settings.switch_margin:
        return math.inf
    # The lead starts at -1 at worst and tends to `decisive`: lead(t) = d - (1 + d) e^(-t/tau).
    turns = math.log((1 + decisive) / (decisive - settings.switch_margin))
    look_s = settings.classifier_interval / rate_hz
    return settings.smoothing_s * turns + settings.hold_s + look_s


class WeatherClassifier:
    """The weather one camera sees, frame by frame. Without an engine it is always clear."""

    def __init__(self, engine: Engine | None, settings: PipelineConfig) -> None:
        """Hold the memory of one camera; `settings` may be replaced at any time."""
        self.settings = settings
        self._engine = engine
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next frame decides alone."""
        self._scores: NDArray[np.float64] | None = None
        self._weather = Weather.CLEAR
        self._stamp_ns: int | None = None
        self._clock_s = 0.0  # time by the stamps, without their jumps
        self._looked_s = 0.0
        self._changed_s = 0.0
        self._frames_unseen = 0

    def observe(self, frame: Frame) -> Condition:
        """Take one frame into account and say which weather's route to take.

        A stamp that jumps back or far ahead begins anew.

        Raises:
            EngineError: the weather engine failed; the memory is as before.
        """
        settings = self.settings  # another thread may replace them meanwhile
        if settings.condition != AUTO:
            self.forget()
            return certain(Weather(settings.condition), forced=True)
        if self._engine is None:
            return certain(Weather.CLEAR)
        self._advance(frame.stamp_ns)
        self._frames_unseen += 1
        if self._scores is None or self._frames_unseen >= settings.classifier_interval:
            self._learn(_probabilities(self._engine, frame.image), settings)
            self._frames_unseen = 0
        return self._condition()

    def _advance(self, stamp_ns: int) -> None:
        if self._stamp_ns is not None:
            step_s = (stamp_ns - self._stamp_ns) / 1e9
            if not -_BACK_S <= step_s <= _GAP_S:
                self.forget()
            self._clock_s += step_s if step_s > 0 else _STILL_S
        self._stamp_ns = stamp_ns

    def _learn(self, seen: NDArray[np.float64], settings: PipelineConfig) -> None:
        if self._scores is None:
            self._scores = seen
            self._change_to(int(seen.argmax()))
        else:
            kept = _decay(self._clock_s - self._looked_s, settings.smoothing_s)
            self._scores = kept * self._scores + (1 - kept) * seen
            self._reconsider(self._scores, settings)
        self._looked_s = self._clock_s

    def _reconsider(self, scores: NDArray[np.float64], settings: PipelineConfig) -> None:
        leader = int(scores.argmax())
        lead = scores[leader] - scores[_ORDER.index(self._weather)]
        held_s = self._clock_s - self._changed_s
        if lead > settings.switch_margin and held_s >= settings.hold_s:
            self._change_to(leader)

    def _change_to(self, number: int) -> None:
        self._weather = _ORDER[number]
        self._changed_s = self._clock_s

    def _condition(self) -> Condition:
        if self._scores is None:  # the engine has failed since the beginning
            return certain(Weather.CLEAR)
        scores = zip(_ORDER, self._scores.tolist(), strict=True)
        return Condition(self._weather, dict(scores))


def certain(weather: Weather, *, forced: bool = False) -> Condition:
    """A condition without doubt: its score is 1."""
    return Condition(weather, {one: float(one is weather) for one in Weather}, forced)


def _decay(elapsed_s: float, constant_s: float) -> float:
    return math.exp(-elapsed_s / constant_s) if constant_s > 0 else 0.0


def _probabilities(engine: Engine, image: UInt8Array) -> NDArray[np.float64]:
    """The engine's view of one picture: (4,) probabilities in the order of `Weather`."""
    told = engine.metadata
    small = kernels.resize(image, told.input_height, told.input_width)
    scores = engine.run(small)["scores"].astype(np.float64)
    if not np.isfinite(scores).all():
        raise EngineError(f"engine {engine.name}: expected finite scores, found {scores.tolist()}")
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())
