"""The nouns of the road: what comes in, what goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]


class Weather(str, Enum):
    """The conditions a frame can be in; the order is the order of the classifier's scores."""

    CLEAR = "clear"
    RAIN = "rain"
    FOG = "fog"
    NIGHT = "night"


@dataclass(frozen=True)
class Frame:
    """One camera picture.

    Attributes:
        image: (H, W, 3) uint8 RGB. May be a read-only view of a message's buffer.
        stamp_ns: acquisition time in nanoseconds, from the message header.
        camera: name of the camera it came from.
        restore: somebody looks at the picture without its weather; routes that can, make it.
    """

    image: UInt8Array
    stamp_ns: int = 0
    camera: str = "camera"
    restore: bool = False


@dataclass(frozen=True)
class Condition:
    """What the road looks like, and how sure we are.

    Attributes:
        weather: the condition whose route the frame takes.
        scores: smoothed probability of every condition as the camera sees it, 0 to 1, summing
            to 1.
        forced: the condition was set by the user, not recognised.
        alone: what the camera says by itself, where the other cameras of the car outvote it.
    """

    weather: Weather
    scores: Mapping[Weather, float] = field(default_factory=dict)
    forced: bool = False
    alone: Weather | None = None


@dataclass(frozen=True)
class Segmentation:
    """Everything the pipeline says about one frame.

    Attributes:
        labels: (H, W) uint8 class ids (`labels.CLASSES`), 255 = unlabelled; as large as the frame.
        confidence: (H, W) uint8, probability of the label times 255.
        condition: the weather and its scores.
        engine: name of the engine that labelled the frame.
        restored: (H, W, 3) uint8 RGB without the weather, as large as the frame; None where the
            route does not restore or the frame does not ask for it.
        timing_ms: duration of each stage by name (`classify`, `infer`, `label`, ...).
        keyframe: the whole network ran; False where an earlier frame's logits were carried on.
        distortion: mean share of the picture that carrying them on got wrong, 0 to 1, as the
            correction engine estimates it; None where it was not asked.
        failures: what failed on this frame and was stood in for -> what it said.
    """

    labels: UInt8Array
    confidence: UInt8Array
    condition: Condition
    engine: str
    restored: UInt8Array | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    keyframe: bool = True
    distortion: float | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
