"""Key frames through the whole network; the frames between by what the last of them showed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from adverse_perception import kernels
from adverse_perception.config import PipelineConfig
from adverse_perception.frames import (
    Condition,
    Float32Array,
    Frame,
    Segmentation,
    UInt8Array,
    Weather,
)
from adverse_perception.inference import Engine, EngineError
from adverse_perception.propagation import Propagation, Step, halved, nothing_for
from adverse_perception.segmenters import LABELS, SEGMENTERS, Passage, check_finite

FLOW = "optical flow"
"""What failures of optical flow are told under."""

CUT = 0.08
"""A mean difference from the warped key picture above this is another scene.

CamVid at 15 Hz stays below 0.031 four frames after a key frame and 0.047 after eight; at 3 Hz,
four frames on, below 0.06. Frames of two drives differ by 0.087 at least and by 0.19 in the
middle, a black or saturated picture from any of them by 0.18. In the dark everything differs by
less: there a cut may wait for the next key frame.
"""


class KeyframeSegmenter:
    """The whole network on key frames, their logits carried on and corrected on those between.

    A frame is a key frame when it is the first, the `keyframe_interval`-th or of another size than
    the one before; when its stamp steps back, or ahead by more than `keyframe_gap_s`; when it
    shows another scene; when it is distorted beyond `distortion_limit`; when flow or correction
    fail; and when it is to be restored.
    """

    def __init__(
        self, engine: Engine, correction: Engine | None, settings: PipelineConfig
    ) -> None:
        """Hold the memory of one camera.

        Args:
            engine: gives logits (role "segmentation" or "joint"); it may be shared.
            correction: of role "correction"; it may be shared. None = the warped logits are
                labelled as they are, and so they are in weather that it was not made for.
            settings: what holds until `reconfigure`.
        """
        self.name = engine.name
        self._engine = engine
        self._correction = correction
        self._settings = settings
        self._whole = SEGMENTERS[engine.metadata.role](engine)
        self._keyframe: _Keyframe | None = None

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        settings = self._settings  # another thread may replace them meanwhile
        last, self._keyframe = self._keyframe, None  # gone, should this frame fail
        if not self._carries(frame, condition, settings):
            return self._whole.segment(frame, condition)
        passage = Passage(frame, condition, self._engine)
        picture = halved(passage.seen)
        passage.ended("resize")
        if last is None or not last.leads_to(frame, settings):
            return self._as_keyframe(passage, picture)
        try:
            said = self._carried(last, passage, picture, settings)
        except _NotCarried as reason:
            said = self._stood_in(passage, picture, reason.failures)
            return replace(said, distortion=reason.distortion, failures=reason.failures)
        self._keyframe = last
        return said

    def forget(self) -> None:
        """Drop what earlier frames left behind: the next frame is a key frame."""
        self._keyframe = None

    def reconfigure(self, settings: PipelineConfig) -> None:
        """See `Segmenter.reconfigure`."""
        self._settings = settings

    def _carries(self, frame: Frame, condition: Condition, settings: PipelineConfig) -> bool:
        """Frames like this one may be served by a key frame."""
        restored = frame.restore and self._engine.metadata.role == "joint"
        wanted = condition.weather.value in settings.propagated
        return wanted and settings.keyframe_interval > 1 and not restored

    def _correction_for(self, weather: Weather, settings: PipelineConfig) -> Engine | None:
        """None where nothing is to be corrected, or the weather is not one it was made for."""
        engine = self._correction if settings.corrected else None
        made_for = engine.metadata.conditions if engine else ()
        return engine if weather.value in made_for else None

    def _as_keyframe(self, passage: Passage, picture: UInt8Array) -> Segmentation:
        logits = passage.infer(LABELS)["logits"]
        said = passage.labelled(logits)
        self._keyframe = _Keyframe(passage.frame, picture, logits)
        return said

    def _stood_in(
        self, passage: Passage, picture: UInt8Array, failures: Mapping[str, str]
    ) -> Segmentation:
        """A key frame for one that could not be carried on to; tells both failures if it fails."""
        try:
            return self._as_keyframe(passage, picture)
        except Exception as error:
            told = [f"; before that, {name}: {said}" for name, said in failures.items()]
            raise EngineError(f"{error}{''.join(told)}") from error

    def _carried(
        self, last: _Keyframe, passage: Passage, picture: UInt8Array, settings: PipelineConfig
    ) -> Segmentation:
        """A frame between. Raises `_NotCarried`."""
        with _stage(passage, "flow", FLOW):
            step = last.step(passage.frame, picture)
        if step.residual > CUT:
            raise _NotCarried
        correction = self._correction_for(passage.condition.weather, settings)
        if correction is None:
            return replace(passage.labelled(step.warped), keyframe=False)
        return self._corrected(correction, step, passage, settings.distortion_limit)

    @staticmethod
    def _corrected(engine: Engine, step: Step, passage: Passage, limit: float) -> Segmentation:
        with _stage(passage, "correct", engine.name):
            found = engine.run(step.picture, (), step.maps)
            check_finite(engine.name, found, "correction", "distortion")
            distortion = np.clip(found["distortion"][0], 0, 1)
            mean = float(distortion.mean())
        if mean > limit:
            raise _NotCarried(mean)
        height, width = passage.frame.image.shape[:2]
        with _stage(passage, "label", engine.name):
            labels, confidence = kernels.correct_and_label(
                step.warped, found["correction"], distortion, height, width
            )
        return replace(passage.said(labels, confidence), keyframe=False, distortion=mean)


def try_out(correction: Engine) -> None:
    """Run a correction engine once, on nothing: it is warm then, and reads what it is given.

    Raises:
        EngineError: it does not, as one that was made for other evidence.
    """
    picture, maps = nothing_for(correction.metadata)
    try:
        correction.run(picture, (), maps)
    except EngineError as error:
        raise EngineError(
            f"engine {correction.name}: expected one that reads {len(maps['warped'])} planes of"
            f" logits and {len(maps['evidence'])} of evidence, found: {error}; export it again"
        ) from error


class _Keyframe:
    """What is remembered of a camera: its last key frame and the way from there."""

    def __init__(self, frame: Frame, picture: UInt8Array, logits: Float32Array) -> None:
        """Begin with the key frame, its halved working picture and its logits."""
        self._picture, self._logits = picture, logits
        self._size = frame.image.shape
        self._stamp_ns = frame.stamp_ns
        self._frames = 1

    @cached_property
    def _propagation(self) -> Propagation:
        """Begun by the frame after the key frame, which takes the longest as it is."""
        return Propagation(self._picture, self._logits)

    def leads_to(self, frame: Frame, settings: PipelineConfig) -> bool:
        """The frame comes soon after the last one and is due to be carried on to."""
        step_s = (frame.stamp_ns - self._stamp_ns) / 1e9
        soon = 0 <= step_s <= settings.keyframe_gap_s
        due = self._frames >= settings.keyframe_interval
        return soon and not due and frame.image.shape == self._size

    def step(self, frame: Frame, picture: UInt8Array) -> Step:
        """Go on to the next frame, of this halved working picture.

        Raises:
            ValueError: flow leads nowhere.
        """
        self._frames += 1
        self._stamp_ns = frame.stamp_ns
        step = self._propagation.step(picture)
        if not (np.isfinite(step.evidence).all() and np.isfinite(self._propagation.flow).all()):
            raise ValueError("expected finite optical flow, found nan or infinity")
        return step


class _NotCarried(Exception):
    """A frame that has to be a key frame; says what was found out on the way to that."""

    def __init__(
        self,
        distortion: float | None = None,
        failures: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.distortion = distortion
        self.failures = failures


@contextmanager
def _stage(passage: Passage, stage: str, name: str) -> Iterator[None]:
    """A stage between key frames; what goes wrong in it is told under a name, and no more."""
    try:
        yield
    except Exception as error:  # whatever a runtime throws: the whole network is still there
        raise _NotCarried(failures={name: f"{type(error).__name__}: {error}"}) from error
    finally:
        passage.ended(stage)
