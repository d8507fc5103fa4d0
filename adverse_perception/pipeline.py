"""One frame, start to end. Read this first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from adverse_perception.config import PipelineConfig
from adverse_perception.frames import Condition, Frame, Segmentation, Weather
from adverse_perception.segmenters import Segmenter
from adverse_perception.vote import Vote
from adverse_perception.weather import WeatherClassifier, certain


class PipelineError(RuntimeError):
    """A frame that no engine could label, or settings the loaded engines cannot serve."""


@dataclass(frozen=True)
class Failure:
    """An engine that failed while driving.

    Attributes:
        count: how many frames it failed on.
        message: what it said last.
        stamp_ns: stamp of the last frame it failed on.
    """

    count: int
    message: str
    stamp_ns: int


class Pipeline:
    """Everything remembered about one camera; several pipelines share the same engines."""

    def __init__(
        self,
        classifier: WeatherClassifier,
        segmenters: Mapping[Weather, Segmenter],
        vote: Vote | None = None,
    ) -> None:
        """Begin with an empty memory.

        Args:
            classifier: names the weather the camera sees.
            segmenters: the routes by weather; the clear one also serves where another fails.
            vote: that of the car's cameras; None = the camera has the car to itself.
        """
        self._classifier = classifier
        self._segmenters = segmenters
        self._vote = vote or Vote()
        self._voted: str | None = None
        self._active: Segmenter | None = None
        self._errors: dict[str, Failure] = {}

    @property
    def errors(self) -> Mapping[str, Failure]:
        """What has failed so far, by the engine's name ("weather" for the classifier)."""
        return dict(self._errors)

    def process(self, frame: Frame) -> Segmentation:
        """Label one frame. Frames of a camera are to be given in the order of their stamps.

        Raises:
            PipelineError: the clear-weather engine failed too.
        """
        started = perf_counter()
        condition = self._recognise(frame)
        classified_ms = (perf_counter() - started) * 1e3
        segmentation = self._segment(frame, condition)
        for name, message in segmentation.failures.items():
            self._note(name, message, frame)
        timing = {"classify": classified_ms, **segmentation.timing_ms}
        return replace(segmentation, timing_ms=timing)

    def forget(self) -> None:
        """Begin anew, as with another camera or another recording."""
        self._classifier.forget()
        self._active = None
        self._abstain()

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take over the settings that may change while driving."""
        self._classifier.settings = config
        for segmenter in self._segmenters.values():
            segmenter.reconfigure(config)

    def _recognise(self, frame: Frame) -> Condition:
        try:
            alone = self._classifier.observe(frame)
        except Exception as error:  # whatever a runtime throws: the car drives on
            self._note("weather", _told(error), frame)
            self._abstain()
            return certain(Weather.CLEAR)
        if alone.forced or not self._classifier.settings.weather_vote:
            self._abstain()
            return alone
        self._voted = frame.camera
        return self._vote.cast(frame.camera, alone, frame.stamp_ns)

    def _abstain(self) -> None:
        if self._voted is not None:
            self._vote.withdraw(self._voted)
            self._voted = None

    def _segment(self, frame: Frame, condition: Condition) -> Segmentation:
        chosen = self._segmenters[condition.weather]
        try:
            return self._activated(chosen).segment(frame, condition)
        except Exception as error:  # as above; the clear route takes over
            self._note(chosen.name, _told(error), frame)
            return self._rescue(chosen, frame, condition, error)

    def _rescue(
        self, failed: Segmenter, frame: Frame, condition: Condition, error: Exception
    ) -> Segmentation:
        clear = self._segmenters[Weather.CLEAR]
        if clear is failed:
            raise PipelineError(f"engine {failed.name} failed: {error}") from error
        try:
            return self._activated(clear).segment(frame, condition)
        except Exception as second:
            self._note(clear.name, _told(second), frame)
            raise PipelineError(
                f"engines {failed.name} and {clear.name} both failed: {error}; {second}"
            ) from second

    def _activated(self, segmenter: Segmenter) -> Segmenter:
        if segmenter is not self._active:
            segmenter.forget()  # what the last drive through this weather left behind is stale
            self._active = segmenter
        return segmenter

    def _note(self, name: str, message: str, frame: Frame) -> None:
        before = self._errors.get(name)
        count = before.count + 1 if before else 1
        self._errors[name] = Failure(count, message, frame.stamp_ns)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
