"""Clear frames in weather that training has never drawn: what scores are measured on.

A trial is a pure function of the frame, its number and the trial's name; its seeds are none that
training draws from. `OWN` are generators that training uses too, `OTHERS` ones it never sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.recipes import NOTICEABLE
from training.synthesis import (
    REGULAR,
    State,
    clear_view,
    draw,
    estimate_depth,
    foggy_cityscapes,
    occlusion,
    regular,
    render,
)

TEST_SEED = 20_000_003
"""Beginning of the seeds of test weather; training's begin with a recipe's small seed."""
OWN = ("rain", "drops", "fog", "reflection")
"""Trials by the generators that training uses."""
FOGS_M = {"fog_600m": 600.0, "fog_300m": 300.0, "fog_150m": 150.0}
"""Visibility of the fog that is rendered as in Foggy Cityscapes."""
OTHERS = ("rain_cityscapes", "metaball_drops", *FOGS_M, "plain_reflection")
"""Trials by generators that training never sees."""
REGULAR_LEVEL = 4
"""Of the regular degradations, the heaviest: most likely the one that SR-Net's paper tests."""


@dataclass(frozen=True)
class Trial:
    """A frame to restore.

    Attributes:
        image: (H, W, 3) uint8 RGB as the camera sees it.
        clean: the same as it would have seen it through clean air and clean glass.
        occlusion: (H, W) float32, 0 to 1, how much of a pixel something hides.
    """

    image: UInt8Array
    clean: UInt8Array
    occlusion: Float32Array


def trial_of(
    image: UInt8Array,
    name: str,
    number: int,
    *,
    labels: UInt8Array | None = None,
    depth_m: Float32Array | None = None,
    reflected: UInt8Array | None = None,
) -> Trial:
    """Put a trial's weather on a frame.

    Args:
        image: (H, W, 3) uint8 RGB, clear.
        name: of `OWN`, `OTHERS`, or anything that `training.synthesis.draw` knows.
        number: of the frame; another one, other weather.
        labels: (H, W) uint8 class ids; with them distances are estimated better.
        depth_m: (H, W) float32 metres, if known.
        reflected: (h, w, 3) uint8 RGB that a window shows.

    Raises:
        SynthesisError: unknown name.
    """
    rng = np.random.default_rng((TEST_SEED, number))
    if name in FOGS_M:
        state = State((foggy_cityscapes(image, FOGS_M[name]),))
    elif name in REGULAR:
        state = State((regular(name, REGULAR_LEVEL, TEST_SEED + number),))
    else:
        state = draw(name, rng, NOTICEABLE)
    depth = estimate_depth(image, labels) if depth_m is None else depth_m
    return Trial(
        render(image, depth, state, labels=labels, reflected=reflected),
        render(image, depth, clear_view(state), labels=labels),
        occlusion(image.shape[:2], state),
    )
