"""Weather drawn onto clear pictures: draw a state, then render it.

Chance is drawn once into small frozen records in physical units; rendering is a pure function of
picture, depth, record and time, so that a clip is steady. Colour order RGB, depth in metres.

    >>> import numpy as np
    >>> from training.synthesis import degrade
    >>> clear = np.full((48, 64, 3), 120, np.uint8)
    >>> degrade(clear, "fog", np.random.default_rng(0)).shape
    (48, 64, 3)
"""

from __future__ import annotations

from training.synthesis.depth import estimate_depth
from training.synthesis.effects import State, clear_view, magnified, occlusion, render
from training.synthesis.fog import foggy_cityscapes
from training.synthesis.regular import REGULAR, TID, regular
from training.synthesis.scene import SKY_M, SynthesisError
from training.synthesis.weather import EFFECTS, OTHER_GENERATORS, WEATHERS, degrade, draw

__all__ = [
    "EFFECTS",
    "OTHER_GENERATORS",
    "REGULAR",
    "SKY_M",
    "TID",
    "WEATHERS",
    "State",
    "SynthesisError",
    "clear_view",
    "degrade",
    "draw",
    "estimate_depth",
    "foggy_cityscapes",
    "magnified",
    "occlusion",
    "regular",
    "render",
]
