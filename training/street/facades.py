"""Fronts of buildings: walls of brick, plaster, stone or glass with windows, doors and shops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.street import noise

TEXELS_PER_M = 26
VARIANTS = 40

Colour = tuple[float, float, float]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in texels."""

_BRICKS: tuple[Colour, ...] = ((139, 92, 70), (160, 122, 88), (176, 152, 112), (110, 76, 64))
_PLASTERS: tuple[Colour, ...] = (
    (214, 208, 194), (196, 186, 160), (222, 222, 220), (176, 170, 160), (206, 178, 140),
    (170, 182, 190),
)  # fmt: skip
_STONES: tuple[Colour, ...] = ((172, 160, 136), (150, 146, 138), (186, 178, 158))
_CONCRETES: tuple[Colour, ...] = ((148, 146, 142), (120, 118, 116), (168, 164, 156))
_BOARDS: tuple[Colour, ...] = (
    (32, 52, 120), (150, 30, 34), (26, 84, 60), (30, 30, 34), (196, 150, 40), (210, 206, 196),
    (90, 30, 80), (20, 110, 140),
)  # fmt: skip


@dataclass(frozen=True)
class Facade:
    """A finished front.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        width_m: its width.
        height_m: its height.
        windows: middles of panes as (u, v), 0 to 1 from the upper left.
    """

    pixels: UInt8Array
    width_m: float
    height_m: float
    windows: tuple[tuple[float, float], ...]


def brick(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """Courses of brick with mortar, every brick a little different."""
    colour = _BRICKS[rng.integers(len(_BRICKS))]
    rows, columns = height // 2 + 1, width // 6 + 2
    tone = 1 + 0.13 * rng.standard_normal((rows, columns)).astype(np.float32)
    wall = noise.floats(cv2.resize(tone, None, fx=6, fy=2, interpolation=cv2.INTER_NEAREST))
    wall[2::4] = np.roll(wall[2::4], 3, axis=1)
    wall[3::4] = np.roll(wall[3::4], 3, axis=1)
    wall = wall[:height, :width] * (
        1 + 0.05 * noise.cut_anywhere(rng, noise.field(31), height, width)
    )
    wall[::2] *= 1.0 - 0.12 * rng.random()
    return noise.paint(colour, wall.astype(np.float32))


def smooth(palette: tuple[Colour, ...]) -> Callable[[np.random.Generator, int, int], UInt8Array]:
    """A wall without courses, in one of the palette's colours, with weather stains."""

    def draw(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
        colour = palette[rng.integers(len(palette))]
        stains = noise.cut_anywhere(rng, noise.field(32, 2, 64, 0.9), height, width)
        grain = noise.cut_anywhere(rng, noise.field(33, 64, 512, 0.2), height, width)
        return noise.paint(colour, (1 + 0.05 * stains + 0.03 * grain).astype(np.float32))

    return draw


def ashlar(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """Large stones with fine joints."""
    colour = _STONES[rng.integers(len(_STONES))]
    tone = 1 + 0.07 * rng.standard_normal((height // 9 + 1, width // 18 + 2)).astype(np.float32)
    wall = noise.floats(cv2.resize(tone, None, fx=18, fy=9, interpolation=cv2.INTER_NEAREST))
    wall = wall[:height, :width].copy()
    wall *= 1 + 0.05 * noise.cut_anywhere(rng, noise.field(34, 4, 256, 0.5), height, width)
    wall[::9] *= 0.88
    return noise.paint(colour, wall)


_WALLS = (brick, brick, smooth(_PLASTERS), smooth(_PLASTERS), ashlar, smooth(_CONCRETES))


class _Front:
    """A front while it is being drawn."""

    def __init__(self, rng: np.random.Generator, width_m: float, storeys: int) -> None:
        self.rng = rng
        self.storey = round(rng.uniform(2.7, 3.4) * TEXELS_PER_M)
        self.width = round(width_m * TEXELS_PER_M)
        self.height = storeys * self.storey + round(rng.uniform(0.3, 1.2) * TEXELS_PER_M)
        self.pixels = _WALLS[rng.integers(len(_WALLS))](rng, self.height, self.width)
        self.windows: list[tuple[float, float]] = []
        self.frame: Colour = ((232, 232, 228), (50, 48, 46), (110, 84, 60))[
            rng.choice(3, p=[0.6, 0.3, 0.1])
        ]
        self.sill = bool(rng.random() < 0.7)

    def fill(self, box: Box, colour: Colour) -> None:
        left, top, right, bottom = box
        cv2.rectangle(self.pixels, (left, top), (right - 1, bottom - 1), colour, -1)

    def pane(self, box: Box) -> None:
        """Glass: dark inside, the sky's reflection above, a curtain here and there."""
        left, top, right, bottom = (max(0, edge) for edge in box)
        height, width = bottom - top, min(right, self.width) - left
        if height < 2 or width < 2:
            return
        self.windows.append(((left + right) / 2 / self.width, (top + bottom) / 2 / self.height))
        down = np.linspace(1, 0, height, dtype=np.float32)[:, None]
        shine = noise.cut_anywhere(self.rng, noise.field(35, 4, 64, 0.8), height, width)
        level = 34 + self.rng.uniform(10, 70) * down + 9 * shine
        if self.rng.random() < 0.35:
            drawn = int(height * self.rng.uniform(0.2, 1.0))
            level[:drawn] = level[:drawn] * 0.4 + self.rng.uniform(70, 130)
        tint = np.array([0.92, 1.0, 1.08], np.float32)
        self.pixels[top:bottom, left : left + width] = np.clip(level[..., None] * tint, 8, 235)

    def recess(self, box: Box) -> None:
        """The shadow that lintel and reveal throw on what lies behind the wall's face."""
        left, top, right, bottom = box
        self.pixels[top : top + 3, left:right] = self.pixels[top : top + 3, left:right] // 2
        self.pixels[top:bottom, left : left + 2] = self.pixels[top:bottom, left : left + 2] // 2

    def window(self, box: Box) -> None:
        """A framed window with bars, a lintel and a sill."""
        left, top, right, bottom = box
        if self.sill:
            self.fill((left - 3, bottom, right + 3, bottom + 3), (200, 196, 186))
            self.fill((left - 3, bottom + 3, right + 3, bottom + 5), (80, 76, 70))
            self.fill((left - 2, top - 4, right + 2, top), (188, 180, 166))
        self.fill(box, self.frame)
        middle = (top + bottom) // 2
        for upper, lower in ((top + 2, middle - 1), (middle + 1, bottom - 2)):
            self.pane((left + 2, upper, right - 2, lower))
        if self.frame[0] > 100 and right - left > 20:
            self.fill(((left + right) // 2 - 1, top, (left + right) // 2 + 1, bottom), self.frame)
        self.recess(box)

    def shop(self, top: int) -> None:
        """A shop: its name on a board, large panes, a door."""
        board = _BOARDS[self.rng.integers(len(_BOARDS))]
        dim: Colour = (board[0] * 0.5, board[1] * 0.5, board[2] * 0.5)
        self.fill(
            (0, top, self.width, self.height), dim if self.rng.random() < 0.5 else (70, 68, 66)
        )
        depth = round(TEXELS_PER_M * self.rng.uniform(0.6, 0.9))
        self.fill((6, top + 4, self.width - 6, top + 4 + depth), board)
        ink = 235 if sum(board) < 400 else 30
        scale = depth / 46
        letters = "".join(self.rng.choice(list("ABCDEFGHKLMNOPRSTUVWY"), self.rng.integers(4, 12)))
        where = (round(self.width * self.rng.uniform(0.1, 0.4)), top + 4 + round(depth * 0.75))
        cv2.putText(
            self.pixels,
            letters,
            where,
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (ink,) * 3,
            2,
            cv2.LINE_AA,
        )
        upper, lower = top + depth + 10, self.height - round(TEXELS_PER_M * 0.45)
        left = 8
        while left < self.width - 30:
            right = min(left + int(self.rng.integers(40, 90)), self.width - 8)
            door = self.rng.random() < 0.25
            self.pane((left, upper, right, self.height - 3 if door else lower))
            self.goods((left, upper, right, lower))
            self.recess((left, upper, right, lower))
            left = right + int(self.rng.integers(3, 8))
        self.pixels[top + 4 + depth : top + 8 + depth] //= 2

    def goods(self, box: Box) -> None:
        """Bright things behind a shop's pane: posters, lamps, wares."""
        left, top, right, bottom = box
        for _ in range(self.rng.integers(0, 5)):
            x, y = int(self.rng.integers(left, right)), int(self.rng.integers(top, bottom))
            size = self.rng.integers(4, 22, 2)
            colour = tuple(float(v) for v in self.rng.uniform(40, 230, 3))
            self.fill((x, y, min(x + size[0], right), min(y + size[1], bottom)), colour)  # type: ignore[arg-type]

    def door(self, left: int, top: int) -> None:
        """A front door with a step, a frame and a light above."""
        width, colour = round(TEXELS_PER_M * 1.0), _BOARDS[self.rng.integers(len(_BOARDS))]
        box = (left, top, left + width, self.height)
        self.fill((left - 4, top - 5, left + width + 4, self.height), (205, 200, 190))
        self.fill(box, colour)
        self.pane((left + 4, top + 3, left + width - 4, top + 13))
        self.recess(box)


def _storeys(front: _Front, ground_is_shop: bool, storeys: int) -> None:
    rng = front.rng
    wide = round(TEXELS_PER_M * rng.uniform(0.9, 1.9))
    tall = round(front.storey * rng.uniform(0.48, 0.66))
    gap = round(TEXELS_PER_M * rng.uniform(0.7, 1.9))
    bays = max(1, (front.width - gap) // (wide + gap))
    margin = (front.width - bays * wide - (bays - 1) * gap) // 2
    for storey in range(storeys):
        bottom = front.height - storey * front.storey - round(front.storey * 0.26)
        if storey == 0 and ground_is_shop:
            continue
        for bay in range(bays):
            left = margin + bay * (wide + gap)
            if storey == 0 and bay == bays // 2 and wide > 24:
                front.door(left, bottom - tall)
            else:
                front.window((left, bottom - tall, left + wide, bottom))


def _weathering(front: _Front) -> None:
    """Cornice, drainpipe, string courses; darker towards the ground, dirt under the eaves."""
    rng, height = front.rng, front.height
    front.fill((0, 0, front.width, 5), (176, 170, 160))
    front.fill((0, 5, front.width, 9), (66, 62, 58))
    if rng.random() < 0.5:
        pipe = int(rng.integers(3, max(4, front.width - 6)))
        front.fill((pipe, 8, pipe + 3, height), (56, 56, 58))
    shade: Float32Array = np.ones((height, front.width), np.float32)
    shade *= np.linspace(1.04, 0.9, height, dtype=np.float32)[:, None]
    shade[-14:] *= np.linspace(1, 0.7, 14, dtype=np.float32)[:, None]
    shade += 0.04 * noise.cut_anywhere(rng, noise.field(36, 2, 32, 0.9), height, front.width)
    front.pixels = noise.texels(
        cv2.multiply(front.pixels, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    )


@lru_cache(maxsize=VARIANTS)
def facade(variant: int) -> Facade:
    """One of the stock of fronts; the same number is always the same front."""
    rng = np.random.default_rng((variant, 71))
    storeys = int(rng.choice([2, 3, 4, 5], p=[0.35, 0.35, 0.2, 0.1]))
    front = _Front(rng, float(rng.uniform(7, 20)), storeys)
    shop = bool(rng.random() < 0.5)
    _storeys(front, shop, storeys)
    if shop:
        front.shop(front.height - round(front.storey * 1.05))
    _weathering(front)
    metres = front.width / TEXELS_PER_M, front.height / TEXELS_PER_M
    return Facade(front.pixels, *metres, tuple(front.windows))


@lru_cache(maxsize=8)
def gable(variant: int) -> UInt8Array:
    """(h, w, 3) a windowless side wall."""
    rng = np.random.default_rng((variant, 72))
    return _WALLS[rng.integers(len(_WALLS))](rng, 256, 256)


@lru_cache(maxsize=6)
def tiles(variant: int) -> UInt8Array:
    """(h, w, 3) a roof of slate or clay."""
    rng = np.random.default_rng((variant, 73))
    colour: Colour = ((88, 86, 92), (120, 78, 62), (96, 84, 78))[variant % 3]
    tone = 1 + 0.12 * rng.standard_normal((40, 64)).astype(np.float32)
    wall = noise.floats(cv2.resize(tone, None, fx=6, fy=4, interpolation=cv2.INTER_NEAREST))
    wall[::4] *= 0.75
    return noise.paint(colour, wall)
