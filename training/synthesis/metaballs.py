"""Raindrops on the glass by a public recipe: metaballs. Kept for tests, not trained on.

`deraining-segmentation.md`, section 6, points 1 to 5. Drops are joined circles and eggs whose
surface is a field of r^2 / d^2; its slope turns the scene over. Nothing is shared with `drops.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import floats, pixels

JOINED = 3
"""Circles in one drop, at most."""
_EDGE = 0.7
"""Value of the field at which a drop begins; at 1 nothing but the drop is seen."""
_REACH = 3.0
"""Half a drop's window in radii: beyond it, three circles' field is under the edge."""


@dataclass(frozen=True)
class Metaballs:
    """Drops of joined circles.

    Attributes:
        count: circles, 100 to 350; up to three share a drop.
        radius_px: smallest and largest radius, at 1024 px width; the recipe's are 2 and 7.
        bend: how far a drop looks aside, share of the picture's width.
        border: how much darker a drop's border is, 0.2 to 0.4.
        blur_px: deviation of the blur of what drops show, 1 to 3, at 1024 px width.
        seed: places and shapes.
    """

    count: int = 200
    radius_px: tuple[float, float] = (2.0, 7.0)
    bend: float = 0.35
    border: float = 0.3
    blur_px: float = 2.0
    seed: int = 0


class _Surface(NamedTuple):
    """What the glass does: all (H, W) float32."""

    alpha: Float32Array
    look_x: Float32Array
    look_y: Float32Array
    height: Float32Array


def draw_metaballs(rng: np.random.Generator, strength: float) -> Metaballs:
    """Draw 100 (strength 0) to 350 circles (1), from the recipe's size up to three times that.

    At 480 px width the recipe's own radii are 1 to 3 pixels, less than a camera's lens shows.
    """
    larger = 1.0 + 2.0 * float(rng.uniform())
    return Metaballs(
        count=round(100 + 250 * strength),
        radius_px=(2.0 * larger, 7.0 * larger),
        bend=float(rng.uniform(0.2, 0.45)),
        border=float(rng.uniform(0.2, 0.4)),
        blur_px=float(rng.uniform(1.0, 3.0)),
        seed=int(rng.integers(1 << 30)),
    )


def metaball_alpha(shape: tuple[int, int], drops: Metaballs) -> Float32Array:
    """How much of each pixel is seen through a drop: (H, W) float32, 0 to 1; the exact mask."""
    return _surface(shape, drops).alpha


def render_metaballs(image: UInt8Array, drops: Metaballs) -> UInt8Array:
    """I = (1 - alpha) J + alpha refracted(J): (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    surface = _surface((height, width), drops)
    sigma = max(0.3, drops.blur_px * width / 1024)
    columns = np.arange(width, dtype=np.float32)[None] - drops.bend * width * surface.look_x
    rows = np.arange(height, dtype=np.float32)[:, None] - drops.bend * width * surface.look_y
    scene = cv2.GaussianBlur(image, (0, 0), sigma)
    seen = cv2.remap(scene, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    shade = 1.0 - np.float32(drops.border) * (1.0 - surface.height) ** 2
    seen = cv2.multiply(seen, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    return pixels(cv2.blendLinear(pixels(seen), image, surface.alpha, 1.0 - surface.alpha))


@lru_cache(maxsize=4)
def _surface(shape: tuple[int, int], drops: Metaballs) -> _Surface:
    layers = np.zeros((4, *shape), np.float32)
    for group in _groups(shape, drops):
        stamps = _stamps(group)
        half = stamps.shape[-1] // 2
        for stamp, (x, y) in zip(stamps, group[:, 0, :2].astype(int).tolist(), strict=True):
            _paste(layers, stamp, y - half, x - half)
    layers.flags.writeable = False  # it is cached
    return _Surface(*layers)


def _groups(shape: tuple[int, int], drops: Metaballs) -> list[Float32Array]:
    """Drops of similar size together: each (n, 3, 4) float32 x, y, radius, egg of its circles.

    Places are in pixels; a circle that is not there has radius 0.
    """
    rng, scale = np.random.default_rng(drops.seed), shape[1] / 1024
    sizes = rng.integers(1, JOINED + 1, drops.count)
    sizes = np.diff(np.minimum(np.cumsum(sizes), drops.count), prepend=0)
    sizes = sizes[sizes > 0]
    radii = scale * rng.uniform(*drops.radius_px, (len(sizes), JOINED))
    angles = rng.uniform(0.0, 2 * np.pi, radii.shape)
    places = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radii[:, :1, None]
    places[:, 0] = 0.0
    places += rng.uniform(0.0, 1.0, (len(sizes), 1, 2)) * (shape[1], shape[0])
    radii[np.arange(JOINED) >= sizes[:, None]] = 0.0
    eggs = rng.choice([0.0, 0.25], radii.shape)
    circles = np.concatenate([places, radii[..., None], eggs[..., None]], axis=-1)
    steps = np.round(np.log(radii.max(axis=1)) / np.log(1.4))
    return [floats(circles[steps == step]) for step in np.unique(steps)]


def _stamps(circles: Float32Array) -> Float32Array:
    """Draw drops about their first circles: (n, 4, k, k) float32 alpha, look x, look y, height."""
    half = int(np.ceil(_REACH * float(circles[..., 2].max()))) + 1
    axis = np.arange(-half, half + 1, dtype=np.float32)
    first, radius = np.trunc(circles[:, 0, :2]), circles[:, :1, 2:3]
    field = np.zeros((len(circles), len(axis), len(axis)), np.float32)
    slope_x, slope_y = np.zeros_like(field), np.zeros_like(field)
    for number in range(JOINED):
        x, y, own, egg = (values[:, None, None] for values in circles[:, number].T)
        away_x, away_y = axis - (x - first[:, :1, None]), axis[:, None] - (y - first[:, 1:, None])
        away_x = away_x * (1.0 - egg * np.clip(away_y / np.maximum(own, 1e-3), -1.0, 1.0))
        square = np.maximum(away_x**2 + away_y**2, 0.04 * own**2 + 1e-6)
        share = own**2 / square
        field += share
        slope_x += share / square * away_x
        slope_y += share / square * away_y
    steep = radius / field**2  # the surface is 1 - 1 / field: its slope is field' / field^2
    edge = np.clip((np.minimum(field, 1.0) - _EDGE) / (1.0 - _EDGE), 0.0, 1.0)
    looks = (np.clip(slope * steep, -1.0, 1.0) for slope in (slope_x, slope_y))
    height = 1.0 - np.minimum(1.0 / field, 1.0)
    return floats(np.stack([edge * edge * (3.0 - 2.0 * edge), *looks, height], axis=1))


def _paste(layers: Float32Array, stamp: Float32Array, top: int, left: int) -> None:
    """Put a drop where it hides more than what is there."""
    cut = stamp[:, max(0, -top) :, max(0, -left) :]
    window = layers[:, max(0, top) :, max(0, left) :][:, : cut.shape[1], : cut.shape[2]]
    cut = cut[:, : window.shape[1], : window.shape[2]]
    np.copyto(window, cut, where=cut[0] > window[0])
