"""Plates: the textured parallelograms everything in the street is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array

Vector = tuple[float, float, float]
SHADE = -1
"""Label of a plate that darkens what lies below it and is no object itself."""


class Texture:
    """A picture with every halving of its width and height, each made when first needed.

    The pixels, (h, w, 4) uint8 RGB and alpha with the colour multiplied by alpha, are drawn when
    first looked at, so a long street costs only what is seen of it.
    """

    def __init__(self, draw: Callable[[], UInt8Array]) -> None:
        self._draw = draw
        self._levels: dict[tuple[int, int], UInt8Array] = {}

    def level(self, across: int, down: int) -> UInt8Array:
        """The picture halved `across` times in width and `down` times in height."""
        key = (across, down)
        if key not in self._levels:
            self._levels[key] = self._shrunk(across, down)
        return self._levels[key]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture in texels."""
        height, width = self.level(0, 0).shape[:2]
        return width, height

    def _shrunk(self, across: int, down: int) -> UInt8Array:
        if across == 0 and down == 0:
            return self._draw()
        finer = self.level(across - 1, down) if across >= down else self.level(across, down - 1)
        size = (-(-self.size[0] // 2**across), -(-self.size[1] // 2**down))
        return np.asarray(cv2.resize(finer, size, interpolation=cv2.INTER_AREA), np.uint8)


def opaque(rgb: UInt8Array) -> UInt8Array:
    """Give an (h, w, 3) picture a full alpha channel."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)


def premultiplied(rgb: UInt8Array, alpha: UInt8Array) -> UInt8Array:
    """Join (h, w, 3) colours and (h, w) alpha into (h, w, 4) with premultiplied colours."""
    cover = cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)])
    joined = cv2.merge([*cv2.split(rgb), alpha])
    return np.asarray(cv2.multiply(joined, cover, scale=1 / 255), np.uint8)


@dataclass(frozen=True)
class Plate:
    """One parallelogram: the points `origin + u across + v down` for u and v from 0 to 1.

    Attributes:
        texture: picture; its left edge lies at u = 0, its upper edge at v = 0.
        origin: corner in metres.
        across: edge along u; plates along the street have the street's direction here.
        down: edge along v.
        label: class id, or `SHADE`.
        layer: painter's order; higher is painted later.
        depth_key_m: Z used for ordering inside the layer; far is painted first.
        gain: light that falls on it, per colour.
        velocity: of the whole plate, metres per second.
        cover: alpha (0 to 255) from which a pixel belongs to the plate.
        facing: 1 for a plate seen only from where `across` runs right when `down` runs down,
            -1 for one seen only from its other side, 0 for both.
        far_away: at infinity; origin, across and down are directions.
        reach_m: not painted from farther away than this.
        present_s: first and last moment at which it is there.
    """

    texture: Texture
    origin: Vector
    across: Vector
    down: Vector
    label: int
    layer: int
    depth_key_m: float
    gain: Vector = (1.0, 1.0, 1.0)
    velocity: Vector = (0.0, 0.0, 0.0)
    cover: int = 110
    facing: int = 0
    far_away: bool = False
    reach_m: float = math.inf
    present_s: tuple[float, float] = (-math.inf, math.inf)
