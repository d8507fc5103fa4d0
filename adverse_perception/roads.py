"""How a camera's frames get from picture to labels and from a key frame to the next: the steps.

Which frame takes which of them is decided in `keyframes.py`, once for every road.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adverse_perception import kernels
from adverse_perception.config import PipelineConfig
from adverse_perception.frames import Condition, Float32Array, Frame, Segmentation, UInt8Array
from adverse_perception.inference import Engine
from adverse_perception.propagation import Propagation, Step, halved
from adverse_perception.segmenters import (
    LABELS,
    SEGMENTERS,
    HostPassage,
    Passage,
    check_finite,
)

FLOW = "optical flow"
"""What failures of optical flow are told under."""


class NotCarried(Exception):
    """A frame that has to be a key frame; says what was found out on the way to that."""

    def __init__(
        self,
        distortion: float | None = None,
        failures: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Say the mean distortion, and what failed -> what it said."""
        super().__init__()
        self.distortion = distortion
        self.failures = failures


@contextmanager
def stage(passage: Passage, name: str, culprit: str) -> Iterator[None]:
    """A stage between key frames; what goes wrong in it is told under a name, and no more."""
    try:
        yield
    except Exception as error:  # whatever a runtime throws: the whole network is still there
        raise NotCarried(failures={culprit: f"{type(error).__name__}: {error}"}) from error
    finally:
        passage.ended(name)


class Road(Protocol):
    """One camera's road through one engine, for one frame at a time.

    A frame goes `alone`; or it enters and then becomes a key frame (`whole`), which is remembered,
    or the last one is carried on to it: `follow`, `distortion` where it is corrected, `label`.
    """

    def alone(self, frame: Frame, condition: Condition) -> Segmentation:
        """Label a frame by itself, and restore it if it asks. Raises `EngineError`."""
        ...

    def enter(self, frame: Frame, condition: Condition) -> None:
        """Bring a frame to the engine's working size, and half of that."""
        ...

    def whole(self) -> Segmentation:
        """Label the frame by the whole network and remember it. Raises `EngineError`."""
        ...

    def follow(self, corrected: bool) -> float:
        """Carry the key frame on, to be corrected or not; gives the mean difference of the picture
        from the warped key picture, 0 to 1. Raises `NotCarried`.
        """
        ...

    def distortion(self) -> float:
        """Correct what was carried on; gives the mean distortion, 0 to 1. Raises `NotCarried`."""
        ...

    def label(self) -> Segmentation:
        """Label what was carried on. Raises `NotCarried`."""
        ...


class RoadSegmenter:
    """Every frame by itself along a road."""

    def __init__(self, name: str, road: Road) -> None:
        """Take a road through the engine of that name."""
        self.name = name
        self._road = road

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        return self._road.alone(frame, condition)

    def forget(self) -> None:
        """Nothing is remembered."""

    def reconfigure(self, settings: PipelineConfig) -> None:
        """Nothing can be set."""


class HostRoad:
    """See `Road`: through engines that take and give arrays of this machine."""

    def __init__(self, engine: Engine, correction: Engine | None) -> None:
        """Use engines, which may be shared; without correction nothing is corrected."""
        self._engine, self._correction = engine, correction
        self._alone = SEGMENTERS[engine.metadata.role](engine)
        self._passage: HostPassage
        self._picture: UInt8Array  # halved
        self._keyframe: _Keyframe
        self._step: Step
        self._found: Mapping[str, NDArray[Any]] | None  # by the correction

    def alone(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Road.alone`."""
        return self._alone.segment(frame, condition)

    def enter(self, frame: Frame, condition: Condition) -> None:
        """See `Road.enter`."""
        self._passage = HostPassage(frame, condition, self._engine)
        self._picture = halved(self._passage.seen)
        self._passage.ended("resize")

    def whole(self) -> Segmentation:
        """See `Road.whole`."""
        logits = self._passage.infer(LABELS)["logits"]
        said = self._passage.labelled(logits)
        self._keyframe = _Keyframe(self._picture, logits)
        return said

    def follow(self, corrected: bool) -> float:
        """See `Road.follow`."""
        self._found = None
        with stage(self._passage, "flow", FLOW):
            self._step = self._keyframe.step(self._picture)
        return self._step.residual

    def distortion(self) -> float:
        """See `Road.distortion`."""
        engine, step = self._correction, self._step
        assert engine is not None
        with stage(self._passage, "correct", engine.name):
            found = engine.run(step.picture, (), step.maps)
            check_finite(engine.name, found, "correction", "distortion")
            distortion = np.clip(found["distortion"][0], 0, 1)
            self._found = {**found, "distortion": distortion}
            return float(distortion.mean())

    def label(self) -> Segmentation:
        """See `Road.label`."""
        passage, warped, found = self._passage, self._step.warped, self._found
        if found is None or self._correction is None:
            return passage.labelled(warped)
        height, width = passage.frame.image.shape[:2]
        with stage(passage, "label", self._correction.name):
            labels, confidence = kernels.correct_and_label(
                warped, found["correction"], found["distortion"], height, width
            )
        return passage.said(labels, confidence)


class _Keyframe:
    """A key frame and the way from there."""

    def __init__(self, picture: UInt8Array, logits: Float32Array) -> None:
        self._picture, self._logits = picture, logits

    @cached_property
    def _propagation(self) -> Propagation:
        """Begun by the frame after the key frame, which takes the longest as it is."""
        return Propagation(self._picture, self._logits)

    def step(self, picture: UInt8Array) -> Step:
        """Go on to the next frame. Raises `ValueError` where flow leads nowhere."""
        step = self._propagation.step(picture)
        self._propagation.motion.check()
        if not np.isfinite(step.evidence).all():
            raise ValueError("expected finite evidence, found nan or infinity")
        return step
