"""Raindrops on the glass: little lenses that show the scene upside down.

Drops are drawn once into sheets (where each pixel looks, how opaque it is, how dark) that are cached;
a picture costs one remap. A second sheet slides down the glass with time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array

_HEIGHT, _WIDTH = 384, 512
_PATTERNS = 8


@dataclass(frozen=True)
class Drops:
    """Water on the windscreen.

    Attributes:
        count: resting drops in view; made in steps of a factor 1.5.
        radius: of a typical drop, share of the picture's width; in steps of a factor 1.3.
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
        count=int(np.clip(25 * 22.0**strength * crowd, 6, 900)),
        radius=radius,
        sliding=float(rng.uniform(0, 0.5)),
        slide=float(rng.uniform(0.03, 0.4)),
        defocus=float(rng.choice([0.0, rng.uniform(0.001, 0.008)])),
        bend=float(rng.uniform(0.15, 0.45)),
        mirrored=bool(rng.random() < 0.5),
        seed=int(rng.integers(1 << 30)),
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
    return cv2.blendLinear(cv2.resize(seen, (width, height)), image, share, 1.0 - share)


@lru_cache(maxsize=4)
def _pixels(width: int, height: int) -> tuple[Float32Array, Float32Array]:
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return columns.astype(np.float32), rows.astype(np.float32)


def _sheets(shape: tuple[int, int], drops: Drops, time_s: float) -> UInt8Array:
    """The resting and the sliding drops together: (H, W, 4) uint8 look x, y, opacity, shade."""
    radius = 0.004 * 1.3 ** round(np.log(drops.radius / 0.004) / np.log(1.3))
    count = round(1.5 ** round(np.log(drops.count) / np.log(1.5)))
    sheet = _sheet(drops.seed % _PATTERNS, count, radius)
    if drops.sliding > 0:
        few = round(1.5 ** round(np.log(max(2, count * drops.sliding * 0.3)) / np.log(1.5)))
        runs = _sheet(drops.seed % _PATTERNS + _PATTERNS, few, 1.3 * radius)
        # Drops stick, then run: the slow wave never makes them climb.
        moved = drops.slide * (time_s + 0.9 * np.sin(time_s))
        runs = np.roll(runs, int(moved * _HEIGHT) % _HEIGHT, axis=0)
        sheet = np.where(runs[..., 2:3] > sheet[..., 2:3], runs, sheet)
    if drops.mirrored:
        sheet = sheet[:, ::-1].copy()
        sheet[..., 0] = 255 - sheet[..., 0]
    if drops.defocus > 0:
        sheet = cv2.GaussianBlur(sheet, (0, 0), drops.defocus * _WIDTH)
    return cv2.resize(sheet, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=64)
def _sheet(pattern: int, count: int, radius: float) -> UInt8Array:
    """Drops of many sizes: (384, 512, 4) uint8, the top and the bottom edge joined."""
    rng = np.random.default_rng(pattern * 7 + count)
    sheet = np.zeros((_HEIGHT, _WIDTH, 4), np.uint8)
    sheet[..., :2] = 128
    for _ in range(count):
        size = float(np.clip(radius * _WIDTH * rng.lognormal(-0.35, 0.55), 1.2, 0.05 * _WIDTH))
        stamp = _drop(rng, size)
        high, wide = stamp.shape[:2]
        left = int(rng.integers(_WIDTH - wide))
        rows = (int(rng.integers(_HEIGHT)) + np.arange(high)) % _HEIGHT
        window = sheet[rows, left : left + wide]
        sheet[rows, left : left + wide] = np.where(
            stamp[..., 2:3] > window[..., 2:3], stamp, window
        )
    return sheet


def _drop(rng: np.random.Generator, radius: float) -> UInt8Array:
    """One drop, somewhat egg-shaped and uneven: (h, w, 4) uint8."""
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
