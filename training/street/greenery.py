"""Trees, hedges and the green at the end of the street."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.street import noise
from training.street.plates import premultiplied

TREES = 18
SIZE = 256

_LEAVES = ((74, 92, 44), (92, 104, 56), (58, 78, 44), (110, 106, 52), (120, 92, 50), (66, 84, 60))


def _foliage(rng: np.random.Generator, height: int, width: int) -> Float32Array:
    """Brightness of leaves: clumps lit from above, dark holes between, single leaves."""
    clumps = noise.cut_anywhere(rng, noise.field(41, 8, 64, 0.7), height, width)
    leaves = noise.cut_anywhere(rng, noise.field(42, 64, 512, 0.1), height, width)
    lit = clumps - np.roll(clumps, -5, axis=0)
    return np.asarray(
        np.clip(0.8 + 0.16 * clumps + 0.22 * lit + 0.2 * leaves, 0.2, 1.9), np.float32
    )


def _trunk(rng: np.random.Generator, rgb: UInt8Array, alpha: UInt8Array, fork: float) -> None:
    """Trunk and branches, from the bottom middle up (in place)."""

    def grow(x: float, y: float, angle: float, length: float, width: float) -> None:
        end = (x + length * np.sin(angle), y - length * np.cos(angle))
        tone = float(rng.uniform(52, 78))
        for picture, colour in ((rgb, (tone, tone * 0.9, tone * 0.76)), (alpha, (255.0,) * 3)):
            a, b = (round(x * 8), round(y * 8)), (round(end[0] * 8), round(end[1] * 8))
            cv2.line(picture, a, b, colour, max(1, round(width)), cv2.LINE_AA, 3)
        if length < 9 or width < 0.6:
            return
        for turn in rng.normal((-0.45, 0.4), 0.16):
            grow(*end, angle + turn, length * rng.uniform(0.66, 0.82), width * 0.66)

    grow(SIZE / 2, SIZE, float(rng.normal(0, 0.04)), SIZE * fork, SIZE * 0.045)


@lru_cache(maxsize=TREES)
def tree(variant: int) -> UInt8Array:
    """(256, 256, 4) premultiplied: a tree; every third one is bare or nearly so."""
    rng = np.random.default_rng((variant, 81))
    rgb, alpha = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    bare = variant % 3 == 2
    _trunk(rng, rgb, alpha, 0.245 if bare else float(rng.uniform(0.2, 0.24)))
    if bare:
        twigs = noise.cut_anywhere(rng, noise.field(43, 32, 512, 0.2), SIZE, SIZE)
        near = cv2.GaussianBlur(alpha, (31, 31), 0).astype(np.float32) / 255
        near[int(SIZE * 0.72) :] = 0
        inwards = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) / 24
        near *= np.clip(inwards, 0, 1)[None, :] * np.clip(np.arange(SIZE) / 24, 0, 1)[:, None]
        thin = (np.clip(near * 2.2, 0, 0.75) * np.clip(0.6 + 0.6 * twigs, 0, 1) * 235).astype(
            np.uint8
        )
        rgb = np.where((alpha > 0)[..., None], rgb, np.array([78, 68, 58])).astype(np.uint8)
        return premultiplied(rgb, np.maximum(alpha, thin))
    crown = _crown(rng)
    leaves = noise.paint(_LEAVES[variant % len(_LEAVES)], _shaded(rng, crown))
    covered = (crown > 128)[..., None]
    return premultiplied(np.where(covered, leaves, rgb), np.maximum(alpha, crown))


def _crown(rng: np.random.Generator) -> UInt8Array:
    """(256, 256) alpha of a crown: a heap of round clumps with a ragged edge."""
    heap = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(16):
        x, y = rng.normal(0.5, 0.13), rng.normal(0.38, 0.11)
        radius = int(SIZE * rng.uniform(0.1, 0.2))
        centre = (int(np.clip(x, 0.22, 0.78) * SIZE), int(np.clip(y, 0.22, 0.62) * SIZE))
        cv2.circle(heap, centre, radius, 1.0, -1)
    heap = noise.floats(cv2.GaussianBlur(heap, (21, 21), 0))
    ragged = noise.cut_anywhere(rng, noise.field(44, 16, 256, 0.4), SIZE, SIZE)
    return np.asarray(
        np.clip(np.minimum(heap - 0.5 + 0.2 * ragged, heap * 3 - 0.9) * 900, 0, 255), np.uint8
    )


def _shaded(rng: np.random.Generator, crown: UInt8Array) -> Float32Array:
    """Leaf brightness with the crown's roundness: bright above, dark below and inside."""
    mass = cv2.GaussianBlur(crown, (0, 0), 14).astype(np.float32) / 255
    from_above = mass - np.roll(mass, 18, axis=0)
    down = np.linspace(1.22, 0.66, SIZE, dtype=np.float32)[:, None]
    return np.asarray(_foliage(rng, SIZE, SIZE) * (down + 0.8 * from_above), np.float32)


@lru_cache(maxsize=6)
def hedge(variant: int) -> UInt8Array:
    """(64, 256, 4) premultiplied: a clipped hedge with a leafy upper edge."""
    rng = np.random.default_rng((variant, 82))
    down = np.linspace(1.1, 0.5, 64, dtype=np.float32)[:, None]
    rgb = noise.paint(_LEAVES[variant % len(_LEAVES)], _foliage(rng, 64, 256) * down)
    edge = noise.cut_anywhere(rng, noise.field(45, 16, 256, 0.5), 1, 256)[0]
    rows = np.arange(64)[:, None]
    alpha = (np.clip((rows - 5 - 2.5 * edge) * 0.5, 0, 1) * 255).astype(np.uint8)
    return premultiplied(rgb, alpha)


@lru_cache(maxsize=4)
def wood(variant: int) -> UInt8Array:
    """(128, 512, 4) premultiplied: a row of far trees that closes the street."""
    rng = np.random.default_rng((variant, 83))
    rgb = noise.paint((74, 82, 62), _foliage(rng, 128, 512))
    outline = noise.cut_anywhere(rng, noise.field(46, 4, 128, 0.8), 1, 512)[0]
    alpha = (np.clip(np.arange(128)[:, None] - 26 - 14 * outline, 0, 1) * 255).astype(np.uint8)
    return premultiplied(rgb, alpha)
