"""The routes a frame can take from picture to labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from adverse_perception import kernels
from adverse_perception.frames import Condition, Frame, Segmentation, UInt8Array
from adverse_perception.inference import Engine, EngineError, EngineMetadata

_MULTIPLE = 8
"""Sides of a working picture are multiples of this: twice the stride of the logits, so that the
networks halve it evenly, and 480x360 needs no resampling."""


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


_LABELS, _LABELS_AND_PICTURE = ("logits",), ("logits", "restored")


class EngineSegmenter:
    """Every frame by itself through one engine."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine that gives logits; it may be shared."""
        self.name = engine.name
        self._engine = engine

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        return _labelled(self._engine, frame, condition, _LABELS)[0]

    def forget(self) -> None:
        """Nothing is remembered."""


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
        wanted = _LABELS_AND_PICTURE if frame.restore else _LABELS
        segmentation, seen, outputs = _labelled(self._engine, frame, condition, wanted)
        if not frame.restore:
            return segmentation
        started = perf_counter()
        restored = _changed_alike(frame.image, seen, outputs["restored"])
        timing = {**segmentation.timing_ms, "restore": (perf_counter() - started) * 1e3}
        return replace(segmentation, restored=restored, timing_ms=timing)

    def forget(self) -> None:
        """Nothing is remembered."""


def _labelled(
    engine: Engine, frame: Frame, condition: Condition, wanted: tuple[str, ...]
) -> tuple[Segmentation, UInt8Array, Mapping[str, NDArray[Any]]]:
    """The labels of a frame, what the engine saw of it, and its wanted outputs."""
    height, width = frame.image.shape[:2]
    started = perf_counter()
    picture = to_working_size(frame.image, engine.metadata)
    resized = perf_counter()
    outputs = engine.run(picture, wanted)
    inferred = perf_counter()
    if not np.isfinite(outputs["logits"]).all():
        raise EngineError(f"engine {engine.name}: expected finite logits, found nan or infinity")
    labels, confidence = kernels.label(outputs["logits"], height, width)
    timing_ms = {
        "resize": (resized - started) * 1e3,
        "infer": (inferred - resized) * 1e3,
        "label": (perf_counter() - inferred) * 1e3,
    }
    said = Segmentation(labels, confidence, condition, engine.name, timing_ms=timing_ms)
    return said, picture, outputs


def working_size(height: int, width: int, metadata: EngineMetadata) -> tuple[int, int]:
    """Height and width at which an engine sees a camera's picture.

    The picture's shape, about the engine's nominal area, sides in multiples of 8.
    """
    scale = math.sqrt(metadata.input_height * metadata.input_width / (height * width))
    return _rounded(height * scale), _rounded(width * scale)


def to_working_size(image: UInt8Array, metadata: EngineMetadata) -> UInt8Array:
    """Bring a camera's picture to the size its engine works at.

    Args:
        image: (H, W, 3) uint8 RGB.
        metadata: the engine's.

    Returns:
        (h, w, 3) uint8 RGB of `working_size`; the picture itself where it fits already.
    """
    height, width = image.shape[:2]
    return _resized(image, *working_size(height, width, metadata))


def _resized(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """The picture at another size: averaged where it shrinks, interpolated where it grows."""
    if image.shape[:2] == (height, width):
        return image
    small = cv2.resize(image, (width, height), interpolation=_how(image, height * width))
    return np.asarray(small, np.uint8)


def _how(source: UInt8Array, pixels: int) -> int:
    shrinks = pixels < source.shape[0] * source.shape[1]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


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
    change = cv2.resize(change, (width, height), interpolation=_how(seen, height * width))
    return np.asarray(cv2.add(image, change, dtype=cv2.CV_8U), np.uint8).reshape(image.shape)


def _rounded(side: float) -> int:
    return max(_MULTIPLE, math.floor(side / _MULTIPLE + 0.5) * _MULTIPLE)
