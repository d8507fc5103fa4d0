"""A picture reflected in the window, over what is seen through it.

`cooperative-restoration.md`, section 3.4. Model 2 (ERRNet's, which that paper uses) adds light
under a bell; model 1 (CEILNet's) adds display values everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import SynthesisError, floats, pixels

_GAMMA = 2.2
_LIGHT = (np.arange(256, dtype=np.float32) / 255.0) ** _GAMMA
_VALUES = np.arange(256, dtype=np.float32) / 255.0
_STEPS = 1 << 14
_DISPLAY = np.rint(255.0 * (np.arange(_STEPS + 1) / _STEPS) ** (1 / _GAMMA)).astype(np.uint8)
_BELL = 132 / 560
"""Deviation of the bell, share of its side."""
_ROOM = 1.25
"""Side of the bell in longer sides of the picture, so that its crop has room to move."""
_BLURRED_WIDTH = 500
"""Width of the pictures that the paper blurs, on which `blur_px` is measured."""


@dataclass(frozen=True)
class Reflection:
    """What a window shows of the other side.

    Attributes:
        model: 2 = light under a bell, 1 = display values everywhere.
        blur_px: deviation of the reflected picture's blur, in pixels at 500 px width.
        brightness: of the reflected picture; 1 = as it is.
        attenuation: how far the reflection steps back where both together are overexposed.
        transmitted: share of the scene's light that comes through the window; model 2 only.
        by_channel: overexposure is taken back in each colour by itself, as the paper does; a white
            sky then leaves its opposite of a coloured reflection. Else by their mean.
        place: of the picture under the bell, (x, y) shares 0 to 1 of its room; model 2 only.
    """

    model: int = 2
    blur_px: float = 3.0
    brightness: float = 1.0
    attenuation: float = 1.13
    transmitted: float = 0.9
    by_channel: bool = True
    place: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        """Refuse a model that does not exist."""
        if self.model not in _MODELS:
            raise SynthesisError(f"reflection model: expected 1 or 2, found {self.model}")


def draw_reflection(rng: np.random.Generator, strength: float) -> Reflection:
    """Draw model 2 in true colours, from a dim reflection (strength 0) to the paper's (1).

    Every other one only adds up and saturates, as light does: where two skies meet, the paper's
    attenuation would leave nothing of the reflection, and most road pictures have a sky.
    """
    blur, brightness = float(rng.choice(np.linspace(1.0, 5.0, 80))), 0.3 + 0.7 * strength
    attenuation = float(1.08 + rng.uniform(0.0, 0.1))
    if rng.random() < 0.5:
        attenuation, brightness = 0.0, 0.5 * brightness
    return Reflection(
        blur_px=blur,
        brightness=brightness,
        attenuation=attenuation,
        transmitted=float(1.0 - rng.uniform(0.0, 0.2)),
        by_channel=False,
        place=(float(rng.uniform()), float(rng.uniform())),
    )


def draw_plain_reflection(rng: np.random.Generator, strength: float) -> Reflection:
    """Draw model 1, the generator of another paper, from dim (strength 0) to its own (1)."""
    blur, brightness = float(rng.uniform(2.0, 5.0)), 0.3 + 0.7 * strength
    return Reflection(model=1, blur_px=blur, brightness=brightness, attenuation=1.3)


def render_reflection(
    image: UInt8Array, reflection: Reflection, reflected: UInt8Array | None = None
) -> UInt8Array:
    """Look through the window: (H, W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB behind the window.
        reflection: how it mirrors.
        reflected: (h, w, 3) uint8 RGB of any size; the picture itself, turned over, if None.
    """
    other = np.ascontiguousarray(image[:, ::-1]) if reflected is None else reflected
    return _MODELS[reflection.model](image, other, reflection)


def bell(shape: tuple[int, int], place: tuple[float, float]) -> Float32Array:
    """Where the window mirrors: (H, W) float32, 0 to 1, a crop of a bell of maximum 1."""
    side = math.ceil(_ROOM * max(shape))
    starts = (round(place[1] * (side - shape[0])), round(place[0] * (side - shape[1])))
    profiles = [
        _profile(side)[start : start + length] for start, length in zip(starts, shape, strict=True)
    ]
    return floats(np.outer(*profiles))


@lru_cache(maxsize=8)
def _profile(side: int) -> Float32Array:
    away = (np.arange(side) - (side - 1) / 2) / (_BELL * side)
    return floats(np.exp(-0.5 * away**2))


def _under_a_bell(image: UInt8Array, other: UInt8Array, reflection: Reflection) -> UInt8Array:
    """M = clip((R V + alpha B)^(1/2.2)) in light, by channel."""
    background = floats(cv2.LUT(image, _LIGHT))
    layer = _out_of_focus(other, _LIGHT, reflection, image.shape, 2.0)
    total = background + layer
    over = np.maximum(total - 1.0, 0.0)
    counts = [cv2.countNonZero(over[..., channel]) for channel in range(3)]
    beyond = np.array(cv2.sumElems(over)[:3]) / np.maximum(counts, 1)  # m - 1
    if not reflection.by_channel:
        beyond[:] = beyond.mean()
    layer -= (beyond * reflection.attenuation).astype(np.float32)
    np.clip(layer, 0.0, 1.0, out=layer)
    shape = bell((image.shape[0], image.shape[1]), reflection.place)
    layer *= shape[..., None]
    mixed = cv2.scaleAdd(background, reflection.transmitted, layer)
    np.minimum(mixed, 1.0, out=mixed)
    return pixels(_DISPLAY[(mixed * np.float32(_STEPS) + np.float32(0.5)).astype(np.uint16)])


def _everywhere(image: UInt8Array, other: UInt8Array, reflection: Reflection) -> UInt8Array:
    """M = clip(R + B) in display values; above 1, R first loses 1.3 times the excess."""
    background = floats(cv2.LUT(image, _VALUES))
    layer = _out_of_focus(other, _VALUES, reflection, image.shape, 2.5)
    mixed = background + layer
    above = mixed > 1.0
    if above.any():
        layer -= np.float32(reflection.attenuation * (mixed[above].mean() - 1.0))
        mixed = background + np.clip(layer, 0.0, 1.0)
    return pixels(cv2.convertScaleAbs(np.minimum(mixed, 1.0), alpha=255.0))


_MODELS = {1: _everywhere, 2: _under_a_bell}


def _out_of_focus(
    other: UInt8Array,
    table: Float32Array,
    reflection: Reflection,
    shape: tuple[int, ...],
    reach: float,
) -> Float32Array:
    """The reflected picture, blurred at half size: (H, W, 3) float32, 0 to 1."""
    height, width = shape[:2]
    half = (-(-width // 2), -(-height // 2))
    small = pixels(cv2.resize(other, half, interpolation=cv2.INTER_AREA))
    values = floats(cv2.LUT(small, table)) * np.float32(reflection.brightness)
    sigma = 0.5 * reflection.blur_px * width / _BLURRED_WIDTH
    kernel = 2 * math.ceil(reach * sigma) + 1
    blurred = cv2.GaussianBlur(values, (kernel, kernel), max(sigma, 1e-3))
    return floats(cv2.resize(blurred, (width, height)))
