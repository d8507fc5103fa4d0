"""The street's floor: asphalt, marks, pavement, kerbs, and the shadows that lie on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.street import noise

TEXELS_PER_M = 25
SHADE_TEXELS_PER_M = 10

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Shadow:
    """A shadow cast on the floor: corners (n, 2) of (X, Z) in metres and how dark, 0 to 1."""

    corners: Float32Array
    strength: float
    leafy: bool = False


@dataclass(frozen=True)
class Marks:
    """Lines on the road.

    Attributes:
        centre: "dashed", "solid" or "none".
        edge: colour of the lines along the kerb, or None.
        zebras_m: Z of the crossings' middles.
        wear: 0 (fresh) to 1 (gone).
    """

    centre: str = "dashed"
    edge: Colour | None = None
    zebras_m: tuple[float, ...] = ()
    wear: float = 0.3


@dataclass(frozen=True)
class Floor:
    """A rectangle of floor: X from `left_m` to `right_m`, Z from `start_m` to `end_m`.

    Far floors do with fewer `texels_per_m`.
    """

    left_m: float
    right_m: float
    start_m: float
    end_m: float
    texels_per_m: int = TEXELS_PER_M

    @property
    def shape(self) -> tuple[int, int]:
        """Texture height (across the street) and width (along it)."""
        across = round((self.right_m - self.left_m) * self.texels_per_m)
        along = round((self.end_m - self.start_m) * self.texels_per_m)
        return max(across, 2), max(along, 2)

    def row(self, x_m: float) -> float:
        """Texture row of an X."""
        return (x_m - self.left_m) * self.texels_per_m

    def column(self, z_m: float) -> float:
        """Texture column of a Z."""
        return (z_m - self.start_m) * self.texels_per_m

    def cut(self, field: Float32Array) -> Float32Array:
        """Noise that continues from one floor to the next."""
        top, left = round(self.left_m * self.texels_per_m), round(self.start_m * self.texels_per_m)
        return noise.cut(field, *self.shape, top, left)


def shade(floor: Floor, shadows: Sequence[Shadow]) -> Float32Array:
    """(h, w) float32 light on the floor, 1 in the open, less in shadow."""
    scale = SHADE_TEXELS_PER_M / floor.texels_per_m
    height, width = (max(2, round(edge * scale)) for edge in floor.shape)
    light = np.ones((height, width), np.float32)
    for shadow in shadows:
        x, z = shadow.corners[:, 0], shadow.corners[:, 1]
        if x.max() < floor.left_m or x.min() > floor.right_m:
            continue
        if z.max() < floor.start_m or z.min() > floor.end_m:
            continue
        points = np.stack([z - floor.start_m, x - floor.left_m], axis=1) * SHADE_TEXELS_PER_M
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        if shadow.leafy:
            leaves = noise.cut(noise.field(3, 32, 256, 0.6), height, width, 0, round(z.min() * 7))
            mask *= np.clip(0.75 + 0.5 * leaves, 0.1, 1.0)
        light = np.minimum(light, 1 - shadow.strength * mask)
    light = noise.floats(cv2.GaussianBlur(light, (5, 5), 0))
    return np.asarray(
        cv2.resize(light, floor.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32
    )


def asphalt(
    rng: np.random.Generator, floor: Floor, colour: Colour, light: Float32Array
) -> UInt8Array:
    """(h, w, 3) uint8 RGB road surface with grain, wheel tracks, patches and cracks."""
    grain = floor.cut(noise.field(11, 256, 512, 0.0))
    clouds = floor.cut(noise.field(12, 2, 64, 0.8))
    x = np.linspace(floor.left_m, floor.right_m, floor.shape[0], dtype=np.float32)[:, None]
    tracks = 0.05 * np.cos(x * np.float32(2 * np.pi / 1.55)) - 0.12 * np.exp(
        -np.minimum(abs(x - floor.left_m), abs(x - floor.right_m)) / 0.25
    )
    brightness = 1 + 0.075 * grain + 0.045 * clouds + tracks
    _patch(rng, brightness)
    _crack(rng, brightness)
    return noise.paint(colour, (brightness * light).astype(np.float32))


def _patch(rng: np.random.Generator, brightness: Float32Array) -> None:
    height, width = brightness.shape
    for _ in range(rng.poisson(1.2)):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.integers(15, 140, 2)
        brightness[top : top + size[0] // 2, left : left + size[1]] *= rng.uniform(0.78, 1.12)
    for _ in range(rng.poisson(0.8)):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(brightness, centre, 9, 0.55, -1, cv2.LINE_AA)
        cv2.circle(brightness, centre, 7, 0.72, -1, cv2.LINE_AA)


def _crack(rng: np.random.Generator, brightness: Float32Array) -> None:
    height, width = brightness.shape
    for _ in range(rng.poisson(2.0)):
        steps = rng.normal((rng.choice([-4, 4]), 0), 4, (30, 2)).cumsum(axis=0)
        points = steps + rng.uniform((0, 0), (width, height))
        cv2.polylines(brightness, [points.astype(np.int32)], False, 0.7, 1, cv2.LINE_AA)


def mark(floor: Floor, marks: Marks, picture: UInt8Array, light: Float32Array) -> None:
    """Paint the lines of the road into its picture (in place)."""
    mask = np.zeros(floor.shape, np.uint8)
    for start in np.arange(np.floor(floor.start_m / 6) * 6, floor.end_m, 6.0):
        if marks.centre == "dashed":
            _stripe(floor, mask, (-0.06, 0.06), (start, start + 2.4))
    if marks.centre == "solid":
        _stripe(floor, mask, (-0.06, 0.06), (floor.start_m, floor.end_m))
    for middle in marks.zebras_m:
        _stripe(floor, mask, (floor.left_m, floor.right_m), (middle - 2.0, middle + 2.0), 0)
        for x in np.arange(floor.left_m + 0.4, floor.right_m - 0.4, 1.1):
            _stripe(floor, mask, (x, x + 0.55), (middle - 1.6, middle + 1.6))
    _blend(floor, picture, mask, (225, 225, 220), marks.wear, light)
    if marks.edge is None:
        return
    mask[:] = 0
    for inset in (0.25, 0.42):
        for x in (floor.left_m + inset, floor.right_m - inset):
            _stripe(floor, mask, (x - 0.04, x + 0.04), (floor.start_m, floor.end_m))
    _blend(floor, picture, mask, marks.edge, marks.wear, light)


def _stripe(
    floor: Floor,
    mask: UInt8Array,
    x_m: tuple[float, float],
    z_m: tuple[float, float],
    value: int = 255,
) -> None:
    corners = [(floor.column(z), floor.row(x)) for z in z_m for x in x_m]
    points = np.array(corners)[[0, 1, 3, 2]] - 0.5
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


def _blend(
    floor: Floor,
    picture: UInt8Array,
    mask: UInt8Array,
    colour: Colour,
    wear: float,
    light: Float32Array,
) -> None:
    worn = np.clip(1.3 - wear + 0.35 * floor.cut(noise.field(13, 16, 256, 0.5)), 0, 1)
    weight = mask * (worn * (0.9 / 255)).astype(np.float32)
    paint = noise.paint(colour, (light * (1 + 0.04 * floor.cut(noise.field(14)))))
    picture[:] = cv2.blendLinear(paint, picture, weight, 1 - weight)


def pavement(
    rng: np.random.Generator, floor: Floor, colour: Colour, light: Float32Array
) -> UInt8Array:
    """(h, w, 3) uint8 RGB slabs with joints, stains and gum."""
    slab = rng.uniform(0.8, 1.2, (floor.shape[0] // 10 + 2, floor.shape[1] // 15 + 2))
    slabs = cv2.resize(
        (0.75 + 0.25 * slab).astype(np.float32),
        None,
        fx=15,
        fy=10,
        interpolation=cv2.INTER_NEAREST,
    )[: floor.shape[0], : floor.shape[1]]
    brightness = slabs + 0.05 * floor.cut(noise.field(21, 64, 512, 0.1))
    brightness += 0.07 * floor.cut(noise.field(22, 2, 64, 0.8))
    brightness[::10] *= 0.82
    brightness[:, ::15] *= 0.86
    spots = rng.integers(0, brightness.size, 40)
    brightness.reshape(-1)[spots] *= 0.7
    return noise.paint(colour, (brightness * light).astype(np.float32))
