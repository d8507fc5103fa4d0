"""People on foot and on bicycles, as flat figures."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.street import noise
from training.street.plates import premultiplied

Colour = tuple[float, float, float]
Point = tuple[float, float]

WALKERS = 28
RIDERS = 16
_SKINS: tuple[Colour, ...] = ((224, 178, 150), (196, 146, 112), (140, 98, 72), (92, 64, 50))
_HAIRS: tuple[Colour, ...] = (
    (40, 30, 24),
    (90, 62, 36),
    (150, 116, 66),
    (120, 118, 116),
    (18, 16, 16),
)
_COATS: tuple[Colour, ...] = (
    (30, 32, 40), (60, 64, 72), (110, 40, 38), (44, 62, 96), (96, 92, 80), (150, 140, 120),
    (34, 60, 48), (186, 184, 180), (120, 74, 46), (92, 60, 82), (170, 150, 70), (22, 22, 24),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = (
    (38, 44, 62),
    (28, 28, 30),
    (70, 66, 60),
    (96, 100, 110),
    (50, 40, 34),
)


class _Figure:
    """A figure while it is drawn; points are shares of its picture's height, x from the middle."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.rgb = np.zeros((height, width, 3), np.uint8)
        self.alpha = np.zeros((height, width), np.uint8)

    def _at(self, point: Point) -> tuple[int, int]:
        return (
            round((self.width / 2 + point[0] * self.height) * 16),
            round(point[1] * self.height * 16),
        )

    def limb(self, points: list[Point], thickness: float, colour: Colour) -> None:
        """A bent limb with round ends."""
        for start, end in pairwise(points):
            for picture, value in ((self.rgb, colour), (self.alpha, (255.0,) * 3)):
                wide = max(1, round(thickness * self.height))
                cv2.line(picture, self._at(start), self._at(end), value, wide, cv2.LINE_AA, 4)

    def blob(self, centre: Point, size: Point, colour: Colour) -> None:
        """An ellipse."""
        axes = (round(size[0] * self.height * 16), round(size[1] * self.height * 16))
        for picture, value in ((self.rgb, colour), (self.alpha, (255.0,) * 3)):
            cv2.ellipse(picture, self._at(centre), axes, 0, 0, 360, value, -1, cv2.LINE_AA, 4)

    def body(self, points: list[Point], colour: Colour) -> None:
        """A closed shape."""
        corners = np.array([self._at(point) for point in points], np.int32)
        for picture, value in ((self.rgb, colour), (self.alpha, (255.0,) * 3)):
            cv2.fillPoly(picture, [corners], value, cv2.LINE_AA, 4)

    def ring(self, centre: Point, size: Point, colour: Colour) -> None:
        """A wheel."""
        axes = (round(size[0] * self.height * 16), round(size[1] * self.height * 16))
        for picture, value in ((self.rgb, colour), (self.alpha, (255.0,) * 3)):
            cv2.ellipse(picture, self._at(centre), axes, 0, 0, 360, value, 3, cv2.LINE_AA, 4)

    def finished(self) -> UInt8Array:
        """The picture with folds of cloth and the roundness of bodies."""
        folds = noise.cut_anywhere(
            self.rng, noise.field(51, 16, 128, 0.5), self.height, self.width
        )
        mass = cv2.GaussianBlur(self.alpha, (0, 0), self.height / 40).astype(np.float32) / 255
        across = (np.roll(mass, 3, axis=1) - np.roll(mass, -3, axis=1)) * 1.2
        light = np.clip(0.82 + 0.12 * folds + 0.22 * mass + across, 0.3, 1.6).astype(np.float32)
        rgb = noise.texels(cv2.multiply(self.rgb, cv2.merge([light] * 3), dtype=cv2.CV_8U))
        return premultiplied(rgb, self.alpha)


def _head(figure: _Figure, x: float, top: float) -> None:
    rng = figure.rng
    skin, hair = _SKINS[rng.integers(len(_SKINS))], _HAIRS[rng.integers(len(_HAIRS))]
    seen_from_behind = rng.random() < 0.5
    figure.limb([(x, top + 0.1), (x, top + 0.16)], 0.05, skin)
    figure.blob((x, top + 0.062), (0.038, 0.058), skin)
    figure.blob(
        (x, top + (0.055 if seen_from_behind else 0.032)),
        (0.043, 0.055 if seen_from_behind else 0.034),
        hair,
    )


@lru_cache(maxsize=WALKERS)
def walker(variant: int) -> UInt8Array:
    """(192, 96, 4): somebody standing or walking, 1.75 m for the whole height."""
    rng = np.random.default_rng((variant, 51))
    figure = _Figure(rng, 192, 96)
    coat, trousers = _COATS[rng.integers(len(_COATS))], _TROUSERS[rng.integers(len(_TROUSERS))]
    stride, swing = rng.uniform(0.01, 0.13), rng.uniform(0.02, 0.12)
    build = rng.uniform(0.85, 1.2)
    for side, dark in ((-1, 0.75), (1, 1.0)):
        cloth: Colour = (trousers[0] * dark, trousers[1] * dark, trousers[2] * dark)
        knee, foot = (0.03 * side + side * stride * 0.7, 0.73), (0.03 * side + side * stride, 0.95)
        figure.limb([(0.025 * side, 0.5), knee, foot], 0.07 * build, cloth)
        figure.limb([foot, (foot[0] + 0.03, 0.97)], 0.04, (26, 24, 24))
    dark_coat: Colour = (coat[0] * 0.8, coat[1] * 0.8, coat[2] * 0.8)
    figure.limb([(-0.08, 0.22), (-0.1 - swing * 0.4, 0.38), (-0.08 - swing, 0.5)], 0.05, dark_coat)
    long = rng.uniform(0.5, 0.66)
    shape = [(-0.09, 0.19), (0.09, 0.19), (0.1, 0.35), (0.085, long), (-0.085, long), (-0.1, 0.35)]
    figure.body([(x * build, y) for x, y in shape], coat)
    figure.blob((0, 0.21), (0.088 * build, 0.05), coat)
    figure.limb([(0.085, 0.22), (0.1 + swing * 0.4, 0.37), (0.07 + swing, 0.49)], 0.05, dark_coat)
    if rng.random() < 0.4:
        figure.body(
            [(0.08, 0.48), (0.17, 0.48), (0.17, 0.62), (0.07, 0.62)],
            _COATS[rng.integers(len(_COATS))],
        )
    _head(figure, float(rng.normal(0, 0.006)), 0.02)
    return figure.finished()


@lru_cache(maxsize=RIDERS)
def rider(variant: int) -> UInt8Array:
    """(192, 192, 4): a cyclist 1.8 m high; even numbers along the street, odd ones across it."""
    rng = np.random.default_rng((variant, 52))
    figure = _Figure(rng, 192, 192)
    coat, trousers = _COATS[rng.integers(len(_COATS))], _TROUSERS[rng.integers(len(_TROUSERS))]
    (_along, _across)[variant % 2](figure, coat, trousers)
    return figure.finished()


def _along(figure: _Figure, coat: Colour, trousers: Colour) -> None:
    frame = _COATS[figure.rng.integers(len(_COATS))]
    figure.limb([(0, 0.66), (0, 0.99)], 0.028, (24, 24, 26))
    figure.limb([(0, 0.5), (0, 0.7)], 0.03, frame)
    low = figure.rng.uniform(0.78, 0.9)
    figure.limb([(-0.05, 0.5), (-0.1, 0.68), (-0.07, low)], 0.075, trousers)
    figure.limb([(0.05, 0.5), (0.1, 0.68), (0.07, 1.7 - low)], 0.075, trousers)
    figure.body([(-0.1, 0.18), (0.1, 0.18), (0.09, 0.52), (-0.09, 0.52)], coat)
    figure.blob((0, 0.2), (0.1, 0.06), coat)
    for side in (-1, 1):
        figure.limb([(0.1 * side, 0.2), (0.16 * side, 0.34), (0.14 * side, 0.46)], 0.05, coat)
    figure.limb([(-0.15, 0.46), (0.15, 0.46)], 0.02, (30, 30, 32))
    _head(figure, 0.0, 0.02)


def _across(figure: _Figure, coat: Colour, trousers: Colour) -> None:
    frame = _COATS[figure.rng.integers(len(_COATS))]
    for x in (-0.3, 0.3):
        figure.ring((x, 0.81), (0.18, 0.18), (26, 26, 28))
        figure.blob((x, 0.81), (0.02, 0.02), (90, 90, 92))
    for line in (
        [(-0.3, 0.81), (-0.12, 0.56), (0.2, 0.54), (0.0, 0.8), (-0.3, 0.81)],
        [(-0.12, 0.5), (0.0, 0.8)],
        [(0.3, 0.81), (0.2, 0.46), (0.24, 0.44)],
    ):
        figure.limb(line, 0.018, frame)
    figure.limb([(-0.1, 0.5), (0.12, 0.62), (0.02, 0.84)], 0.075, trousers)
    figure.limb(
        [(-0.1, 0.5), (0.08, 0.66), (-0.06, 0.8)],
        0.07,
        (trousers[0] * 0.7, trousers[1] * 0.7, trousers[2] * 0.7),
    )
    figure.limb([(-0.1, 0.5), (0.02, 0.24)], 0.13, coat)
    figure.limb([(0.03, 0.24), (0.12, 0.38), (0.22, 0.45)], 0.045, coat)
    _head(figure, 0.06, 0.03)
