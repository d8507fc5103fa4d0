"""Where the light comes from and how much of it falls on a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.street.plates import Vector


@dataclass(frozen=True)
class Daylight:
    """The light of one street.

    Attributes:
        to_sun: unit vector towards the sun.
        sun: colour and strength of direct light on a surface that faces it.
        sky: colour and strength of the light from everywhere.
    """

    to_sun: Vector
    sun: Vector
    sky: Vector

    def on(self, normal: Vector, open_sky: float = 1.0) -> Vector:
        """Gain of a surface with this normal; `open_sky` is the share of the sky it sees."""
        facing = max(0.0, sum(a * b for a, b in zip(normal, self.to_sun, strict=True)))
        red, green, blue = (
            sky * open_sky * (0.86 + 0.14 * normal[1]) + sun * facing
            for sky, sun in zip(self.sky, self.sun, strict=True)
        )
        return red, green, blue

    @property
    def shadow(self) -> float:
        """How much of the floor's light a shadow takes away, 0 to 1."""
        open_floor, dark = sum(self.on((0.0, 1.0, 0.0))), sum(self.sky)
        return 1 - dark / open_floor

    def cast(self, height_m: float) -> tuple[float, float]:
        """Displacement (X, Z) on the floor of the shadow of a point at this height."""
        x, y, z = self.to_sun
        return -x / y * height_m, -z / y * height_m


def draw_daylight(rng: np.random.Generator, cloudiness: float) -> Daylight:
    """Draw the sun's place and the share of its light the clouds let through."""
    turn, height = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(22, 60))
    to_sun = (
        float(np.sin(turn) * np.cos(height)),
        float(np.sin(height)),
        float(np.cos(turn) * np.cos(height)),
    )
    direct = 0.95 * max(0.0, 1 - 1.35 * cloudiness)
    diffuse = 0.95 - 0.42 * (1 - cloudiness)
    warm = rng.uniform(0.0, 0.16)
    return Daylight(
        to_sun,
        (direct * (1 + warm), direct, direct * (1 - warm)),
        (diffuse * 0.98, diffuse, diffuse * (1.02 + 0.05 * (1 - cloudiness))),
    )
