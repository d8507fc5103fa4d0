"""The routes a frame can take from picture to labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception import kernels
from adverse_perception.config import PipelineConfig
from adverse_perception.frames import Condition, Float32Array, Frame, Segmentation, UInt8Array
from adverse_perception.inference import AREA_TOLERANCE, Engine, EngineError, EngineMetadata

_MULTIPLE = 8
"""Sides of a working picture are multiples of this: twice the stride of the logits, so that the
networks halve it evenly."""


class Segmenter(Protocol):
    """One route for one camera; what it remembers of the camera, it can forget."""

    @property
    def name(self) -> str:
        """Name of the engine that labels."""
        ...

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """Label one frame, in the frame's geometry.

        Raises:
            EngineError: the engine failed.
        """
        ...

    def forget(self) -> None:
        """Drop what earlier frames left behind."""
        ...

    def reconfigure(self, settings: PipelineConfig) -> None:
        """Take over the settings that may change while driving."""
        ...


LABELS, LABELS_AND_PICTURE = ("logits",), ("logits", "restored")
"""What a frame may want of an engine."""


class Passage:
    """One frame on its way through one engine; says how long each stage of it took."""

    def __init__(self, frame: Frame, condition: Condition, engine: str) -> None:
        """Begin; the clock starts here.

        Args:
            frame: the frame.
            condition: what the classifier has said of it.
            engine: name of the engine that labels it.
        """
        self.frame = frame
        self.condition = condition
        self.timing_ms: dict[str, float] = {}
        self._engine_name = engine
        self._since_s = perf_counter()

    def ended(self, stage: str) -> None:
        """Note that a stage, or a part of it, is over; the next one begins."""
        now_s = perf_counter()
        before_ms = self.timing_ms.get(stage, 0.0)
        self.timing_ms[stage] = before_ms + (now_s - self._since_s) * 1e3
        self._since_s = now_s

    def said(self, labels: UInt8Array, confidence: UInt8Array) -> Segmentation:
        """What is known of the frame by now, with its labels and their confidence."""
        self.ended("label")
        return Segmentation(
            labels, confidence, self.condition, self._engine_name, timing_ms=self.timing_ms
        )


class HostPassage(Passage):
    """The same through an engine that takes and gives arrays of this machine."""

    def __init__(self, frame: Frame, condition: Condition, engine: Engine) -> None:
        """Bring the frame to the engine's working size."""
        super().__init__(frame, condition, engine.name)
        self._engine = engine
        self.seen = to_working_size(frame.image, engine.metadata)
        """(h, w, 3) uint8 RGB, what the engine sees of the frame."""
        self.ended("resize")

    def infer(self, wanted: tuple[str, ...]) -> Mapping[str, NDArray[Any]]:
        """Run the engine on the whole frame for some of its outputs, `logits` among them.

        Raises:
            EngineError: it failed, or its logits are not finite.
        """
        outputs = self._engine.run(self.seen, wanted)
        self.ended("infer")
        check_finite(self._engine.name, outputs, "logits")
        return outputs

    def labelled(self, logits: Float32Array) -> Segmentation:
        """Label the frame by logits, (K, h, w) float32, finite."""
        return self.said(*kernels.label(logits, *self.frame.image.shape[:2]))


def check_finite(name: str, outputs: Mapping[str, NDArray[Any]], *wanted: str) -> None:
    """Refuse outputs of an engine that are not numbers.

    Raises:
        EngineError: names the engine and the output.
    """
    for output in wanted:
        if not np.isfinite(outputs[output]).all():
            raise not_finite(name, output)


def not_finite(name: str, output: str) -> EngineError:
    """What is said of an engine's output that is not numbers."""
    return EngineError(f"engine {name}: expected finite {output}, found nan or infinity")


class EngineSegmenter:
    """Every frame by itself through one engine."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine that gives logits; it may be shared."""
        self.name = engine.name
        self._engine = engine

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        passage = HostPassage(frame, condition, self._engine)
        return passage.labelled(passage.infer(LABELS)["logits"])

    def forget(self) -> None:
        """Nothing is remembered."""

    def reconfigure(self, settings: PipelineConfig) -> None:
        """Nothing can be set."""


class JointSegmenter:
    """Every frame by itself through one engine, which labels it and takes the weather off it.

    Its second half runs only for frames that ask to be restored.
    """

    def __init__(self, engine: Engine) -> None:
        """Use an engine of role "joint"; it may be shared."""
        self.name = engine.name
        self._engine = engine

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        passage = HostPassage(frame, condition, self._engine)
        outputs = passage.infer(LABELS_AND_PICTURE if frame.restore else LABELS)
        segmentation = passage.labelled(outputs["logits"])
        if not frame.restore:
            return segmentation
        restored = _changed_alike(frame.image, passage.seen, outputs["restored"])
        passage.ended("restore")
        return replace(segmentation, restored=restored, timing_ms=passage.timing_ms)

    def forget(self) -> None:
        """Nothing is remembered."""

    def reconfigure(self, settings: PipelineConfig) -> None:
        """Nothing can be set."""


SEGMENTERS: dict[str, Callable[[Engine], Segmenter]] = {
    "segmentation": EngineSegmenter,
    "joint": JointSegmenter,
}
"""Role of an engine -> the route it makes; engines of other roles label nothing."""


def working_size(height: int, width: int, metadata: EngineMetadata) -> tuple[int, int]:
    """Height and width at which an engine sees a camera's picture.

    The picture's shape, about the engine's nominal area, sides in multiples of 8: the picture
    itself, a half of it, a third and so on where one of them has that area, or less by up to
    `AREA_TOLERANCE`.
    """
    area = metadata.input_height * metadata.input_width
    scale = math.sqrt(area / (height * width))
    times = max(1, round(1 / scale))
    even = height % (times * _MULTIPLE) == width % (times * _MULTIPLE) == 0
    if even and 1 - AREA_TOLERANCE <= height * width / times**2 / area <= 1:
        return height // times, width // times
    return working_side(height * scale), working_side(width * scale)


def working_side(side: float) -> int:
    """The length nearest to this, in pixels, that a side of a working picture can have."""
    return max(_MULTIPLE, math.floor(side / _MULTIPLE + 0.5) * _MULTIPLE)


def to_working_size(image: UInt8Array, metadata: EngineMetadata) -> UInt8Array:
    """Bring a camera's picture to the size its engine works at.

    Args:
        image: (H, W, 3) uint8 RGB.
        metadata: the engine's.

    Returns:
        (h, w, 3) uint8 RGB of `working_size`; the picture itself where it fits already.
    """
    height, width = image.shape[:2]
    return kernels.resize(image, *working_size(height, width, metadata))


def _changed_alike(image: UInt8Array, seen: UInt8Array, restored: UInt8Array) -> UInt8Array:
    """The picture, changed as the engine changed what it saw of it.

    Only the change is brought to the camera's size, so that what is left alone stays as sharp as
    the camera saw it.

    Args:
        image: (H, W, 3) uint8 RGB, the camera's.
        seen: (h, w, 3) uint8 RGB, the same at working size.
        restored: (h, w, 3) uint8 RGB, what the engine made of that.
    """
    if image.shape == seen.shape:
        return restored
    change = cv2.subtract(restored, seen, dtype=cv2.CV_16S)
    height, width = image.shape[:2]
    shrinks = height <= seen.shape[0] and width <= seen.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    change = cv2.resize(change, (width, height), interpolation=how)
    return np.asarray(cv2.add(image, change, dtype=cv2.CV_8U), np.uint8).reshape(image.shape)
