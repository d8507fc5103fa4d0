"""A small street renderer: pictures with exact labels, depth and optical flow.

Example:
    >>> view = Street.draw(seed=1, length_m=60.0).render(time_s=0.0)
    >>> view.image.shape, view.flow.shape
    ((360, 480, 3), (360, 480, 2))
"""

from __future__ import annotations

import numpy as np

from training.street.camera import Camera
from training.street.street import Light, Look, Street, View

__all__ = ["Camera", "Light", "Look", "Street", "View", "random_view"]


def random_view(rng: np.random.Generator, size: tuple[int, int] = (480, 360)) -> View:
    """One picture of a street nobody has seen before: new world, camera, moment and light.

    Args:
        rng: source of chance.
        size: picture (width, height) in pixels.
    """
    length_m, speed = float(rng.uniform(45, 140)), 9.0
    time_s = float(rng.uniform(0, 0.3 * length_m / speed))
    street = Street.draw(
        int(rng.integers(1 << 31)),
        size=size,
        length_m=length_m,
        speed=speed,
        sharp_to_m=time_s * speed + 25.0,
    )
    return street.render(time_s)
