"""What is pasted onto a picture: watermarks and holes, both with their exact alpha.

`cooperative-restoration.md`, sections 3.2 and 3.3. Logos and scribbles are drawn here; nobody's
are copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import floats, pixels

_LETTERS = "ABCDEFGHJKLMNPRSTUVXYZ"
_LOGO_HEIGHT = 120


@dataclass(frozen=True)
class Watermark:
    """A grey logo laid over the picture; the defaults are the paper's.

    Attributes:
        opacity: 0 to 1.
        width: of one copy, share of the picture's width.
        angle_deg: by which the layer is turned about the middle; its corners are cut off.
        spread: repeated over the whole picture in two interleaved grids, instead of one copy.
        grey: display value, 0 to 255.
        seed: logo and place.
    """

    opacity: float = 0.98
    width: float = 0.78
    angle_deg: float = 10.0
    spread: bool = False
    grey: int = 190
    seed: int = 0


@dataclass(frozen=True)
class IrregularMask:
    """Pieces of the picture scribbled out.

    Attributes:
        strokes: how many.
        colour: display value, 0 to 255, of what is missing.
        seed: how they run; widths are U(5, 15) pixels at 512 px width, enlarged by U(1, 1.5).
    """

    strokes: int = 4
    colour: int = 0
    seed: int = 0


def draw_watermark(rng: np.random.Generator, strength: float) -> Watermark:
    """Draw a faint small logo (strength 0) to a large opaque one (1), turned by up to 45 degrees.

    Opacity is U(0.3, 1) and width U(0.3, 0.8) over all strengths; one in four is spread.
    """
    spread = bool(rng.random() < 0.25)
    opacity, width = (0.3 + 0.7 * _near(rng, strength), 0.3 + 0.5 * _near(rng, strength))
    return Watermark(
        opacity=opacity,
        width=0.3 * width if spread else width,
        angle_deg=float(rng.uniform(-45.0, 45.0)),
        spread=spread,
        grey=int(rng.integers(128, 256)),
        seed=int(rng.integers(1 << 30)),
    )


def _near(rng: np.random.Generator, strength: float) -> float:
    return float(np.clip(strength + rng.uniform(-0.15, 0.15), 0.0, 1.0))


def draw_irregular_mask(rng: np.random.Generator, strength: float) -> IrregularMask:
    """Draw scribbles: their number is N(4, 2) at full strength, as in Quick-Draw's masks."""
    count = round(float(rng.normal(1.0 + 3.0 * strength, 2.0)))
    return IrregularMask(strokes=max(1, count), seed=int(rng.integers(1 << 30)))


def render_watermark(image: UInt8Array, watermark: Watermark) -> UInt8Array:
    """Lay the logo over the picture: (H, W, 3) uint8 RGB."""
    alpha = watermark_alpha((image.shape[0], image.shape[1]), watermark)
    return _pasted(image, alpha, watermark.grey)


def render_irregular_mask(image: UInt8Array, mask: IrregularMask) -> UInt8Array:
    """Scribble pieces out: (H, W, 3) uint8 RGB."""
    alpha = irregular_alpha((image.shape[0], image.shape[1]), mask)
    return _pasted(image, alpha, mask.colour)


def _pasted(image: UInt8Array, alpha: Float32Array, value: int) -> UInt8Array:
    paper = np.full(image.shape, value, np.uint8)
    return pixels(cv2.blendLinear(paper, image, alpha, 1.0 - alpha))


@lru_cache(maxsize=4)
def watermark_alpha(shape: tuple[int, int], watermark: Watermark) -> Float32Array:
    """How much of each pixel the logo covers: (H, W) float32, 0 to the opacity."""
    height, width = shape
    rng = np.random.default_rng(watermark.seed)
    logo = _logo(int(rng.integers(1 << 30)))
    across = max(2, round(watermark.width * width))
    size = (across, max(2, round(across * logo.shape[0] / logo.shape[1])))
    logo = pixels(cv2.resize(logo, size, interpolation=cv2.INTER_AREA))
    layer = np.zeros(shape, np.uint8)
    for top, left in _places(shape, size, watermark.spread, rng):
        _stamp(layer, logo, top, left)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), watermark.angle_deg, 1.0)
    turned = cv2.warpAffine(layer, turn, (width, height), flags=cv2.INTER_LINEAR)
    alpha = floats(turned * np.float32(watermark.opacity / 255.0))
    alpha.flags.writeable = False  # it is cached
    return alpha


def _places(
    shape: tuple[int, int], size: tuple[int, int], spread: bool, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Where copies begin (top, left): one with a margin, or a grid of 4 widths by 6 heights."""
    if spread:
        down, across = 6 * size[1], 4 * size[0]
        return [
            (top + half * down // 2, left + half * across // 2)
            for half in (0, 1)
            for top in range(0, shape[0], down)
            for left in range(0, shape[1], across)
        ]
    margin = round(0.08 * shape[1])
    room = (shape[0] - size[1] - margin, shape[1] - size[0] - margin)
    return [(_between(rng, margin, room[0]), _between(rng, margin, room[1]))]


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """Uniform; what does not fit with its margin stands in the middle of what there is."""
    return int(rng.integers(low, high + 1)) if high >= low else (low + high) // 2


def _stamp(layer: UInt8Array, logo: UInt8Array, top: int, left: int) -> None:
    """Ink the logo in; what hangs over the edges is cut off."""
    cut = logo[max(0, -top) :, max(0, -left) :]
    window = layer[max(0, top) :, max(0, left) :][: cut.shape[0], : cut.shape[1]]
    np.maximum(window, cut[: window.shape[0], : window.shape[1]], out=window)


@lru_cache(maxsize=64)
def _logo(seed: int) -> UInt8Array:
    """An emblem and a made-up name: (120, w) uint8, 255 = ink."""
    rng = np.random.default_rng(seed)
    middle, radius = _LOGO_HEIGHT // 2, _LOGO_HEIGHT // 2 - 8
    name = "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 8))))
    scale, thick = 2.4, int(rng.integers(4, 12))
    letters = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX)[int(rng.integers(2))]
    text_width = cv2.getTextSize(name, letters, scale, thick)[0][0]
    logo: UInt8Array = np.zeros((_LOGO_HEIGHT, _LOGO_HEIGHT + text_width + 24), np.uint8)
    _emblem(logo, (middle, middle), radius, rng)
    place = (_LOGO_HEIGHT + 8, middle + 28)
    cv2.putText(logo, name, place, letters, scale, 255, thick, cv2.LINE_AA)
    return logo


def _emblem(
    logo: UInt8Array, middle: tuple[int, int], radius: int, rng: np.random.Generator
) -> None:
    """A ring or a disc with a star or polygon in it."""
    cv2.circle(logo, middle, radius, 255, -1 if rng.random() < 0.5 else 9, cv2.LINE_AA)
    ink = 255 - int(logo[middle[1], middle[0]])
    corners = int(rng.integers(3, 8))
    turns = np.arange(2 * corners) * np.pi / corners + rng.uniform(0, 6)
    reach = radius * np.where(np.arange(2 * corners) % 2, rng.uniform(0.25, 0.7), 0.75)
    points = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * reach[:, None] + middle
    cv2.fillPoly(logo, [np.rint(points).astype(np.int32)], ink, cv2.LINE_AA)


@lru_cache(maxsize=4)
def irregular_alpha(shape: tuple[int, int], mask: IrregularMask) -> Float32Array:
    """What is missing: (H, W) float32, 0 or 1."""
    rng = np.random.default_rng(mask.seed)
    holes = np.zeros(shape, np.uint8)
    for _ in range(mask.strokes):
        thick = rng.uniform(5, 15) * rng.uniform(1.0, 1.5) * shape[1] / 512
        points = np.rint(_scribble(rng) * (shape[1], shape[0]) * 8).astype(np.int32)
        cv2.polylines(holes, [points], False, 255, max(1, round(thick)), cv2.LINE_8, 3)
    alpha = (holes > 0).astype(np.float32)
    alpha.flags.writeable = False  # it is cached
    return alpha


def _scribble(rng: np.random.Generator) -> Float32Array:
    """A line of a hand: (n, 2) float32 places x, y in shares of the picture, partly outside."""
    count = int(rng.integers(30, 90))
    turning = np.cumsum(rng.normal(0.0, 0.35, count)) + rng.uniform(0, 2 * np.pi)
    step = rng.uniform(0.008, 0.03)
    path = np.cumsum(np.stack([np.cos(turning), np.sin(turning)], axis=-1) * step, axis=0)
    return floats(path - path.mean(axis=0) + rng.uniform(0.05, 0.95, 2))
