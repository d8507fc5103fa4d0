"""Raindrops on the glass: little lenses that show the scene upside down.

Drops are drawn once into sheets (where each pixel looks, how opaque it is, how dark) that are
cached; a picture costs one remap. A second sheet slides down the glass with time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import pixels, stencil

_HEIGHT, _WIDTH = 384, 512
_PATTERNS = 4
_SHAPES = 24


@dataclass(frozen=True)
class Drops:
    """Water on the windscreen.

    Attributes:
        count: resting drops in view; in steps of a factor 1.7.
        radius: of a typical drop, share of the picture's width; in steps of a factor 1.4.
        sliding: share of further drops that run down the glass, 0 to 1.
        slide: speed of those, picture heights per second.
        defocus: blur of the drops, share of the picture's width; 0 = the camera sees them sharply.
        bend: how far a drop looks aside, share of the picture's width.
        mirrored: the pattern is turned left to right.
        seed: pattern.
    """

    count: int = 150
    radius: float = 0.008
    sliding: float = 0.2
    slide: float = 0.15
    defocus: float = 0.0
    bend: float = 0.3
    mirrored: bool = False
    seed: int = 0


def draw_drops(rng: np.random.Generator, strength: float) -> Drops:
    """Draw a few drops (strength 0) to a glass full of them (1)."""
    radius = float(np.exp(rng.uniform(np.log(0.004), np.log(0.016))))
    crowd = (0.008 / radius) ** 1.3
    return Drops(
        count=int(np.clip(25 * 22.0**strength * crowd, 6, 600)),
        radius=radius,
        sliding=float(rng.uniform(0, 0.5)),
        slide=float(rng.uniform(0.03, 0.4)),
        defocus=float(rng.choice([0.0, rng.uniform(0.001, 0.008)])),
        bend=float(rng.uniform(0.15, 0.45)),
        mirrored=bool(rng.random() < 0.5),
        seed=int(rng.integers(1 << 30)),
    )


def magnified_drops(drops: Drops, zoom: float) -> Drops:
    """The drops on a part of the glass that is shown `zoom` times as large."""
    return replace(
        drops,
        count=max(1, round(drops.count / zoom**2)),
        radius=drops.radius * zoom,
        defocus=drops.defocus * zoom,
        bend=drops.bend * zoom,
    )


def drop_alpha(shape: tuple[int, int], drops: Drops, time_s: float = 0.0) -> Float32Array:
    """How much of each pixel is seen through a drop: (H, W) float32, 0 to 1; the exact mask."""
    sheet = _sheets(shape, drops, time_s)
    return sheet[..., 2].astype(np.float32) * np.float32(1 / 255)


def render_drops(image: UInt8Array, drops: Drops, time_s: float = 0.0) -> UInt8Array:
    """Look through the wet glass: (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    sheet = _sheets((height, width), drops, time_s)
    share = sheet[..., 2].astype(np.float32) * np.float32(1 / 255)
    half = (width // 2, height // 2)
    looks = cv2.resize(sheet, half, interpolation=cv2.INTER_LINEAR)
    scene = cv2.blur(cv2.resize(image, half, interpolation=cv2.INTER_AREA), (3, 3))
    reach = drops.bend * half[0] / 127.0
    columns, rows = _pixels(*half)
    seen = cv2.remap(
        scene,
        columns - (looks[..., 0].astype(np.float32) - 128.0) * np.float32(reach),
        rows - (looks[..., 1].astype(np.float32) - 128.0) * np.float32(reach),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    shade = looks[..., 3]
    seen = cv2.multiply(seen, cv2.merge([shade, shade, shade]), scale=1 / 170)
    seen = cv2.resize(seen, (width, height))
    return pixels(cv2.blendLinear(seen, image, share, 1.0 - share))


@lru_cache(maxsize=4)
def _pixels(width: int, height: int) -> tuple[Float32Array, Float32Array]:
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return columns.astype(np.float32), rows.astype(np.float32)


def _sheets(shape: tuple[int, int], drops: Drops, time_s: float) -> UInt8Array:
    """The resting and the sliding drops together: (H, W, 4) uint8 look x, y, opacity, shade."""
    radius, count = 0.004 * _rounded(drops.radius / 0.004, 1.4), round(_rounded(drops.count, 1.7))
    place = np.random.default_rng(drops.seed).integers(0, (_HEIGHT, _WIDTH))
    sheet = np.roll(_sheet(drops.seed % _PATTERNS, count, radius), place, axis=(0, 1))
    if drops.sliding > 0:
        few = round(_rounded(max(2.0, count * drops.sliding * 0.3), 1.7))
        # Drops stick, then run: the slow wave never makes them climb.
        moved = drops.slide * (time_s + 0.9 * np.sin(time_s)) * _HEIGHT
        runs = _sheet(drops.seed % _PATTERNS + _PATTERNS, few, 1.3 * radius)
        runs = np.roll(runs, (int(moved) - place[0], place[1]), axis=(0, 1))
        front = stencil(runs[..., 2] > sheet[..., 2])
        sheet = pixels(cv2.copyTo(runs, front, sheet))
    if drops.mirrored:
        sheet = sheet[:, ::-1].copy()
        sheet[..., 0] = 255 - sheet[..., 0]
    if drops.defocus > 0:
        sheet = pixels(cv2.GaussianBlur(sheet, (0, 0), drops.defocus * _WIDTH))
    return pixels(cv2.resize(sheet, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))


def _rounded(value: float, step: float) -> float:
    """To a power of `step`, so that few sheets are ever made."""
    return float(step ** round(np.log(value) / np.log(step)))


@lru_cache(maxsize=48)
def _sheet(pattern: int, count: int, radius: float) -> UInt8Array:
    """Drops of many sizes: (384, 512, 4) uint8, opposite edges joined."""
    rng = np.random.default_rng(pattern * 7 + count)
    sheet = np.zeros((_HEIGHT, _WIDTH, 4), np.uint8)
    sheet[..., :2], sheet[..., 3] = 128, 170  # no drop: looks straight on, undimmed
    sizes = (radius * _WIDTH * rng.lognormal(-0.35, 0.55, count)).clip(1.2, 0.05 * _WIDTH)
    steps = np.round(np.log(sizes) / np.log(1.15)).astype(int)
    shapes, tops, lefts = rng.integers(0, [[_SHAPES], [_HEIGHT], [_WIDTH]], (3, count))
    for step, shape, top, left in zip(
        steps.tolist(), shapes.tolist(), tops.tolist(), lefts.tolist(), strict=True
    ):
        stamp = _drop(shape, step)
        for y in (top, top - _HEIGHT):  # what leaves at one edge enters at the other
            for x in (left, left - _WIDTH):
                _paste(sheet, stamp, y, x)
    return sheet


def _paste(sheet: UInt8Array, stamp: UInt8Array, y: int, x: int) -> None:
    """Put the stamp where it is more opaque than what is there."""
    cut = stamp[max(0, -y) : _HEIGHT - y, max(0, -x) : _WIDTH - x]
    if cut.size:
        window = sheet[max(y, 0) : y + len(stamp), max(x, 0) : x + len(stamp)]
        np.copyto(window, cut, where=cut[..., 2:3] > window[..., 2:3])


@lru_cache(maxsize=1024)
def _drop(shape: int, step: int) -> UInt8Array:
    """One drop of 1.15^step pixels radius, egg-shaped and uneven: (h, h, 4) uint8."""
    rng, radius = np.random.default_rng(shape), 1.15**step
    reach = int(np.ceil(1.5 * radius)) + 2
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32) / radius
    tilt = rng.normal(0, 0.25)
    u = u + tilt * v
    tall = rng.uniform(0.75, 1.3)
    v = v / tall
    angle = np.arctan2(v, u)
    wobble = 1.0 + rng.uniform(0, 0.1) * np.sin(2 * angle + rng.uniform(0, 6))
    wobble += rng.uniform(0, 0.07) * np.sin(3 * angle + rng.uniform(0, 6))
    egg = 1.0 + 0.22 * np.clip(-v, -1, 1)  # narrower at the top: water hangs
    u, v = u * egg / wobble, v / wobble
    round_ = np.sqrt(u**2 + v**2)
    opacity = np.clip((1.0 - round_) * max(radius, 2.0) * 0.6, 0.0, 1.0)
    bend = 0.35 + 0.65 * np.minimum(round_, 1.0) ** 2
    rim = np.clip((round_ - 0.7) / 0.3, 0.0, 1.0)
    shade = 1.02 - 0.45 * rim + 0.12 * np.clip(v, -1, 1)
    looks = [128 + 127 * np.clip(axis * bend, -1, 1) for axis in (u, v)]
    layers = [*looks, 255 * opacity, 170 * shade]
    return np.stack(layers, axis=-1).clip(0, 255).astype(np.uint8)
