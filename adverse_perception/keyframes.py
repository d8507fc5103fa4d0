"""Key frames through the whole network; the frames between by what the last of them showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from adverse_perception.config import PipelineConfig
from adverse_perception.frames import Condition, Frame, Segmentation
from adverse_perception.inference import Engine, EngineError
from adverse_perception.propagation import nothing_for
from adverse_perception.roads import HostRoad, NotCarried, Road

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
        self,
        engine: Engine,
        correction: Engine | None,
        settings: PipelineConfig,
        road: Road | None = None,
    ) -> None:
        """Hold the memory of one camera.

        Args:
            engine: gives logits (role "segmentation" or "joint"); it may be shared.
            correction: of role "correction"; it may be shared. None = the warped logits are
                labelled as they are, and so they are in weather that it was not made for.
            settings: what holds until `reconfigure`.
            road: through these engines; None = with arrays of this machine.
        """
        self.name = engine.name
        self._restores = engine.metadata.role == "joint"
        self._corrected = correction.metadata.conditions if correction else ()
        self._settings = settings
        self._road = road or HostRoad(engine, correction)
        self._last: _Last | None = None

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        settings = self._settings  # another thread may replace them meanwhile
        last, self._last = self._last, None  # gone, should this frame fail
        if not self._carries(frame, condition, settings):
            return self._road.alone(frame, condition)
        self._road.enter(frame, condition)
        if last is None or not last.leads_to(frame, settings):
            return self._as_keyframe(frame)
        last.goes_on_to(frame)
        try:
            said = self._carried(condition, settings)
        except NotCarried as reason:
            said = self._stood_in(frame, reason.failures)
            return replace(said, distortion=reason.distortion, failures=reason.failures)
        self._last = last
        return said

    def forget(self) -> None:
        """Drop what earlier frames left behind: the next frame is a key frame."""
        self._last = None

    def reconfigure(self, settings: PipelineConfig) -> None:
        """See `Segmenter.reconfigure`."""
        self._settings = settings

    def _carries(self, frame: Frame, condition: Condition, settings: PipelineConfig) -> bool:
        """Frames like this one may be served by a key frame."""
        wanted = condition.weather.value in settings.propagated
        restored = frame.restore and self._restores
        return wanted and settings.keyframe_interval > 1 and not restored

    def _as_keyframe(self, frame: Frame) -> Segmentation:
        said = self._road.whole()
        self._last = _Last(frame)
        return said

    def _stood_in(self, frame: Frame, failures: Mapping[str, str]) -> Segmentation:
        """A key frame for one that could not be carried on to; tells both failures if it fails."""
        try:
            return self._as_keyframe(frame)
        except Exception as error:
            told = [f"; before that, {name}: {said}" for name, said in failures.items()]
            raise EngineError(f"{error}{''.join(told)}") from error

    def _carried(self, condition: Condition, settings: PipelineConfig) -> Segmentation:
        """A frame between. Raises `NotCarried`."""
        corrected = settings.corrected and condition.weather.value in self._corrected
        if self._road.follow(corrected) > CUT:
            raise NotCarried
        distortion = self._road.distortion() if corrected else None
        if distortion is not None and distortion > settings.distortion_limit:
            raise NotCarried(distortion)
        return replace(self._road.label(), keyframe=False, distortion=distortion)


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


class _Last:
    """What is remembered of a camera's last key frame, beside what its road remembers."""

    def __init__(self, frame: Frame) -> None:
        """Begin with the key frame."""
        self._size = frame.image.shape
        self._stamp_ns = frame.stamp_ns
        self._frames = 1

    def leads_to(self, frame: Frame, settings: PipelineConfig) -> bool:
        """The frame comes soon after the last one and is due to be carried on to."""
        step_s = (frame.stamp_ns - self._stamp_ns) / 1e9
        soon = 0 <= step_s <= settings.keyframe_gap_s
        due = self._frames >= settings.keyframe_interval
        return soon and not due and frame.image.shape == self._size

    def goes_on_to(self, frame: Frame) -> None:
        """Note that a frame is carried on to."""
        self._frames += 1
        self._stamp_ns = frame.stamp_ns
