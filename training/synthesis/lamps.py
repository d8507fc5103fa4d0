"""Lamps seen in the picture: street lamps, cars' lights, lit windows, and the glow around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.depth import CAMERA_HEIGHT_M
from training.synthesis.noise import clouds
from training.synthesis.scene import FOCAL, class_mask, floats, pixels

Colour = tuple[float, float, float]

LAMP_COLOURS: dict[str, Colour] = {
    "sodium": (1.0, 0.58, 0.2),
    "tungsten": (1.0, 0.78, 0.5),
    "warm_led": (1.0, 0.87, 0.68),
    "led": (0.95, 1.0, 1.04),
    "mercury": (0.82, 1.0, 0.9),
}
_WARM = np.array([1.0, 0.72, 0.4], np.float32)
_COOL = np.array([0.95, 0.95, 0.9], np.float32)
_NEON: tuple[Colour, ...] = (
    (1.0, 0.2, 0.25), (0.2, 0.5, 1.0), (0.3, 1.0, 0.5), (1.0, 0.3, 0.9), (1.0, 0.9, 0.7)
)  # fmt: skip


@dataclass(frozen=True)
class Lamp:
    """A light in view: place and core in shares of the picture, radius in shares of its width.

    Attributes:
        x: from the left, 0 to 1.
        y: from the top, 0 to 1.
        radius: of the bright core.
        colour: RGB, 1 = as bright as a white surface.
        power: brightness against a white surface; above 1 it saturates and glows.
    """

    x: float
    y: float
    radius: float
    colour: Colour
    power: float = 4.0


class SeenLight(Protocol):
    """A light as a renderer knows it: pixel, distance in metres, and what it is."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def depth_m(self) -> float: ...
    @property
    def kind(self) -> str: ...


_KINDS: dict[str, tuple[Colour, float, float]] = {  # colour, power, radius in metres
    "window": ((1.0, 0.75, 0.45), 0.8, 0.25),
    "head_lamp": ((1.0, 0.95, 0.85), 6.0, 0.09),
    "tail_lamp": ((1.0, 0.07, 0.04), 1.6, 0.07),
    "red_light": ((1.0, 0.1, 0.05), 2.5, 0.1),
    "amber_light": ((1.0, 0.6, 0.1), 2.5, 0.1),
    "green_light": ((0.2, 1.0, 0.6), 2.5, 0.1),
}


def seen_lamp(light: Lamp | SeenLight, shape: tuple[int, int], street: Colour) -> Lamp:
    """A renderer's light as a lamp; unknown kinds shine as street lamps."""
    if isinstance(light, Lamp):
        return light
    colour, power, radius_m = _KINDS.get(light.kind, (street, 6.0, 0.06))
    radius = min(0.012, FOCAL * radius_m / light.depth_m + 0.0006)
    return Lamp(light.x / shape[1], light.y / shape[0], radius, colour, power)


def street_lamps(seed: int, horizon: float, spacing_m: float, colour: Colour) -> list[Lamp]:
    """Lamps on masts along both sides of the street, drawn by seed."""
    rng = np.random.default_rng(seed)
    sides = [(-1.0,), (1.0,), (-1.0, 1.0)][int(rng.integers(3))]
    aside, mast = rng.uniform(4.5, 9.0), rng.uniform(6.0, 9.0)
    start = rng.uniform(8.0, 8.0 + spacing_m)
    lamps = []
    for side in sides:
        for number in range(7):
            distance = start + (number + 0.25 * side) * spacing_m
            x = 0.5 + FOCAL * side * aside / distance
            y = horizon - FOCAL * 4 / 3 * (mast - CAMERA_HEIGHT_M) / distance
            if 0 < x < 1 and 0 < y < 1:
                power = 6.0 * min(1.0, 45.0 / distance)
                lamps.append(Lamp(x, y, FOCAL * 0.055 / distance + 0.0006, colour, power))
    return lamps


def car_lamps(seed: int, labels: UInt8Array, share: float) -> list[Lamp]:
    """Head or tail lamps on `share` of the labelled vehicles, each in one pair."""
    small = cv2.resize(labels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_NEAREST)
    cars = class_mask(pixels(small), "car").astype(np.uint8)
    height, width = cars.shape
    boxes = cv2.connectedComponentsWithStats(cars, connectivity=4)[2][1:]
    rng = np.random.default_rng(seed)
    lamps: list[Lamp] = []
    for left, top, across, high, area in boxes[:12].tolist():
        lit, faces_us, lift = rng.random(3)
        if lit > share or area < 25 or area < 0.45 * across * high or across > 2.2 * high:
            continue
        middle = (left + across / 2) / width
        front = faces_us < (0.75 if middle > 0.55 else 0.3)
        y = (top + high * (0.6 + 0.1 * lift if front else 0.45 + 0.12 * lift)) / height
        colour, power = ((1.0, 0.95, 0.85), 6.0) if front else ((1.0, 0.07, 0.04), 1.6)
        radius = float(np.clip(across / width * (0.04 if front else 0.03), 0.002, 0.009))
        for place in (0.14, 0.86):
            x = (left + across * place) / width
            lamps.append(Lamp(x, y, radius, colour, power))
    return lamps


def distant_lamps(seed: int, horizon: float, count: int) -> list[Lamp]:
    """Small far lights about the vanishing point: traffic, traffic lights, windows."""
    rng = np.random.default_rng(seed)
    colours = ((1.0, 0.1, 0.05), (1.0, 0.93, 0.8), (1.0, 0.7, 0.3), (0.2, 1.0, 0.6))
    lamps = []
    for _ in range(count):
        colour = colours[int(rng.choice(4, p=[0.4, 0.35, 0.18, 0.07]))]
        x, y = rng.normal(0.5, 0.1), horizon + rng.normal(0.005, 0.012)
        lamps.append(Lamp(float(x), float(y), float(rng.uniform(0.0008, 0.0028)), colour, 2.5))
    return lamps


def lit_windows(image: UInt8Array, houses: Float32Array, seed: int, share: float) -> Float32Array:
    """Light of windows and shop signs: (H, W, 3) float32; panes that are dark by day are lit."""
    height, width = houses.shape
    rng = np.random.default_rng(seed)
    grid = (int(rng.integers(14, 30)), int(rng.integers(18, 44)))
    lit = (rng.random(grid) < 0.7 * share) * rng.uniform(0.15, 1.0, grid).astype(np.float32)
    hue = rng.random((*grid, 1), dtype=np.float32)
    cells = lit[..., None] * ((1 - hue) * _WARM + hue * _COOL)
    neon = rng.random(grid) < 0.12 * share
    cells[neon] = np.array(_NEON)[rng.integers(len(_NEON), size=int(neon.sum()))]
    full = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    luma = image[..., 1].astype(np.float32)
    pane = np.clip((cv2.blur(luma, (9, 9)) - luma) / 30.0 + 0.04, 0.0, 1.0) * houses
    return floats(cv2.multiply(full, cv2.merge([pane, pane, pane])))


def glow(
    shape: tuple[int, int], lamps: Sequence[Lamp], bloom: float, seed: int = 0
) -> Float32Array:
    """Cores of the lamps and the light they scatter in lens and air: (H, W, 3) float32, additive.

    Args:
        shape: height and width of the result, usually half the picture.
        lamps: what shines.
        bloom: strength of the scattered light, 0 to 1.
        seed: unevenness of the air.
    """
    height, width = shape
    cores = np.zeros((height, width, 3), np.float32)
    for lamp in lamps:
        place = (round(lamp.x * width * 16), round(lamp.y * height * 16))
        colour = tuple(channel * lamp.power for channel in lamp.colour)
        cv2.circle(cores, place, max(8, round(lamp.radius * width * 16)), colour, -1, shift=4)
    small = cv2.resize(
        cores, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA
    )
    near = cv2.GaussianBlur(small, (0, 0), 1.6)
    wide = cv2.GaussianBlur(small, (0, 0), 7.0)
    halo = cv2.resize(bloom * (1.2 * floats(near) + 3.0 * floats(wide)), (width, height))
    if bloom > 0.5:
        air = 0.7 + 0.6 * clouds(shape, seed, 0.5)
        halo = cv2.multiply(halo, cv2.merge([air, air, air]))
    return floats(cv2.GaussianBlur(cores, (5, 5), 0.9) + halo)
