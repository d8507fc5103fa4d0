"""The routes a frame can take from picture to labels."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Protocol

import cv2
import numpy as np

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


class EngineSegmenter:
    """Every frame by itself through one engine."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine of role "segmentation"; it may be shared."""
        self.name = engine.name
        self._engine = engine

    def segment(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Segmenter.segment`."""
        height, width = frame.image.shape[:2]
        started = perf_counter()
        picture = to_working_size(frame.image, self._engine.metadata)
        resized = perf_counter()
        logits = self._engine.run(picture)["logits"]
        inferred = perf_counter()
        if not np.isfinite(logits).all():
            raise EngineError(f"engine {self.name}: expected finite logits, found nan or infinity")
        labels, confidence = kernels.label(logits, height, width)
        labelled = perf_counter()
        return Segmentation(
            labels,
            confidence,
            condition,
            self.name,
            timing_ms={
                "resize": (resized - started) * 1e3,
                "infer": (inferred - resized) * 1e3,
                "label": (labelled - inferred) * 1e3,
            },
        )

    def forget(self) -> None:
        """Nothing is remembered."""


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
    found = image.shape[:2]
    height, width = working_size(found[0], found[1], metadata)
    if found == (height, width):
        return image
    shrinks = height * width < found[0] * found[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _rounded(side: float) -> int:
    return max(_MULTIPLE, math.floor(side / _MULTIPLE + 0.5) * _MULTIPLE)
