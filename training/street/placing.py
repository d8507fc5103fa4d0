"""Turning things (a car, a tree, a lamp) into plates that stand in the street."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID
from training.street import furniture, greenery, people, vehicles
from training.street.daylight import Daylight
from training.street.plates import SHADE, Plate, Texture, Vector

BACKDROP, FLOOR, LOT, PAVEMENT, ROAD = range(5)
"""Layers. On either side, what is nearer to the road hides what is farther from it."""


@dataclass(frozen=True)
class Lamp:
    """A light source: where it is in metres, what it is, and how it moves."""

    position: Vector
    kind: str
    velocity: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    """Plates that belong together, and the lamps on them."""

    plates: tuple[Plate, ...]
    lamps: tuple[Lamp, ...] = ()

    def moving(self, velocity: Vector) -> Thing:
        """The same thing with a velocity in metres per second."""
        return Thing(
            tuple(replace(plate, velocity=velocity) for plate in self.plates),
            tuple(replace(lamp, velocity=velocity) for lamp in self.lamps),
        )

    def present(self, start_s: float, end_s: float) -> Thing:
        """The same thing, there only for a while."""
        plates = tuple(replace(plate, present_s=(start_s, end_s)) for plate in self.plates)
        return Thing(plates, self.lamps)


@cache
def stocked(draw: Callable[..., UInt8Array], *arguments: Hashable) -> Texture:
    """The texture of a stock picture; shared by all streets."""
    return Texture(lambda: draw(*arguments))


def upright(
    texture: Texture,
    middle: Vector,
    size: tuple[float, float],
    label: str,
    layer: int,
    gain: Vector,
) -> Plate:
    """A flat figure that faces the traffic: `middle` is the middle of its foot, size in metres."""
    x, y, z = middle
    width, height = size
    return Plate(
        texture,
        (x - width / 2, y + height, z),
        (width, 0.0, 0.0),
        (0.0, -height, 0.0),
        CLASS_ID[label],
        layer,
        z,
        gain,
        reach_m=170.0,
    )


def shadow_below(middle: Vector, size: tuple[float, float], layer: int) -> Plate:
    """The soft dark patch on the floor below a thing of this width and length."""
    x, y, z = middle
    width, length = size[0] * 1.3, size[1] * 1.12
    return Plate(
        stocked(vehicles.contact_shadow),
        (x - width / 2, y + 0.01, z - length / 2),
        (0.0, 0.0, length),
        (width, 0.0, 0.0),
        SHADE,
        layer,
        z + 0.01,
        reach_m=45.0,
    )


def cast_shadow(middle: Vector, size: Vector, light: Daylight, layer: int) -> tuple[Plate, ...]:
    """The sun's shadow of a box of this width, height and length; nothing without sun."""
    if light.shadow < 0.08:
        return ()
    x, _, z = middle
    along, across = light.cast(size[1] * 0.6)[::-1]
    plate = shadow_below((x + across, middle[1], z + along * 0.8), (size[0], size[2]), layer)
    return (replace(plate, depth_key_m=z + 0.02),)


def tree(variant: int, foot: Vector, height_m: float, light: Daylight, layer: int) -> Thing:
    """A tree."""
    wide = height_m * (0.9 + 0.03 * (variant % 7))
    gain = light.on((light.to_sun[0] * 0.5, 0.4, -0.55))
    texture = stocked(greenery.tree, variant)
    plate = upright(texture, foot, (wide, height_m), "tree", layer, gain)
    return Thing((replace(plate, cover=70),))


def post(foot: Vector, size: tuple[float, float], variant: int, light: Daylight) -> Plate:
    """A plain round post."""
    texture = stocked(furniture.post, variant)
    gain = light.on((0.0, 0.1, -0.9))
    return replace(upright(texture, foot, size, "pole", PAVEMENT, gain), cover=60)


def street_lamp(foot: Vector, height_m: float, towards: float, light: Daylight) -> Thing:
    """A lamp post whose arm reaches over the road, to the right if `towards` is positive."""
    x, y, z = foot
    side = 1.0 if towards > 0 else -1.0
    arm = Plate(
        stocked(furniture.lamp_arm, 1),
        (x, y + height_m + 0.6, z),
        (side * 1.9, 0.0, 0.0),
        (0.0, -0.8, 0.0),
        CLASS_ID["pole"],
        PAVEMENT,
        z,
        light.on((0.0, 0.0, -1.0)),
        reach_m=90.0,
    )
    head = (x + side * 1.45, y + height_m + 0.2, z)
    return Thing((post(foot, (0.15, height_m), 0, light), arm), (Lamp(head, "street_lamp"),))


def sign(variant: int, foot: Vector, light: Daylight) -> Thing:
    """A traffic sign on its post."""
    x, y, z = foot
    face = upright(
        stocked(furniture.sign, variant),
        (x, y + 2.0, z - 0.05),
        (0.72, 0.72),
        "sign_symbol",
        PAVEMENT,
        light.on((0.0, 0.2, -0.95)),
    )
    return Thing((post(foot, (0.08, 2.7), 0, light), face))


def traffic_light(lit: int, foot: Vector, light: Daylight) -> Thing:
    """A traffic light on its post."""
    x, y, z = foot
    head = upright(
        stocked(furniture.traffic_light, lit),
        (x, y + 2.5, z - 0.1),
        (0.4, 0.96),
        "sign_symbol",
        PAVEMENT,
        (1.0, 1.0, 1.0),
    )
    middle = (x, y + 3.3 - 0.3 * lit, z - 0.1)
    kind = ("red_light", "amber_light", "green_light")[lit]
    return Thing((post(foot, (0.12, 3.0), 1, light), head), (Lamp(middle, kind),))


def person(variant: int, foot: Vector, height_m: float, layer: int, light: Daylight) -> Thing:
    """Somebody on foot."""
    figure = upright(
        stocked(people.walker, variant),
        foot,
        (height_m / 2, height_m),
        "pedestrian",
        layer,
        light.on((light.to_sun[0] * 0.6, 0.3, -0.7)),
    )
    return Thing((shadow_below(foot, (0.5, 0.5), layer), figure))


def cyclist(variant: int, foot: Vector, light: Daylight) -> Thing:
    """Somebody on a bicycle."""
    figure = upright(
        stocked(people.rider, variant),
        foot,
        (1.75, 1.75),
        "bicyclist",
        ROAD,
        light.on((light.to_sun[0] * 0.6, 0.3, -0.7)),
    )
    return Thing((shadow_below(foot, (0.6, 1.6), ROAD), figure))


@lru_cache(maxsize=16)
def _normal(rise: float, run: float) -> Vector:
    length = float(np.hypot(rise, run)) or 1.0
    return 0.0, run / length, -rise / length


def _wall(
    kind: str, paint: int, middle: Vector, heading: int, upper: bool, right: bool, light: Daylight
) -> Plate:
    """One side of a vehicle below or above the waist; `right` is the right side of the picture."""
    body = vehicles.BODIES[kind]
    x, y, z = middle
    side = 1.0 if right else -1.0
    low, high = (body.waist, body.height) if upper else (0.0, body.waist)
    foot = body.width / 2
    top = foot * body.roof_share if upper else foot
    mirrored = heading < 0
    start = z + body.length / 2 if mirrored else z - body.length / 2
    texture = stocked(_band, kind, paint, upper)
    return Plate(
        texture,
        (x + side * top, y + high, start),
        (0.0, 0.0, -body.length if mirrored else body.length),
        (side * (foot - top), low - high, 0.0),
        CLASS_ID["car"],
        ROAD,
        z,
        light.on((side * 0.95, 0.3 if upper else 0.05, 0.0)),
        facing=int(side) * heading,
        reach_m=90.0,
    )


def _band(kind: str, paint: int, upper: bool) -> UInt8Array:
    """The part of the side view above or below the waist."""
    body = vehicles.BODIES[kind]
    picture = vehicles.side(kind, paint)
    waist = round((body.height - body.waist) * vehicles.TEXELS_PER_M)
    return picture[:waist] if upper else picture[waist:]


def vehicle(kind: str, paint: int, middle: Vector, heading: int, light: Daylight) -> Thing:
    """A vehicle on the road; heading 1 drives away from the camera, -1 comes towards it."""
    body = vehicles.BODIES[kind]
    x, y, z = middle
    size = (body.width, body.height, body.length)
    right = x < 0  # the camera drives near the middle: it sees the side that faces the middle
    plates = [
        *cast_shadow(middle, size, light, ROAD),
        shadow_below(middle, (body.width, body.length), ROAD),
    ]
    for upper in (False, True):
        plates += [
            _wall(kind, paint, middle, heading, upper, r, light) for r in (not right, right)
        ]
    profile = [(s - body.length / 2, h) for s, h in body.profile]
    stretches = list(zip(profile, profile[1:], body.names, strict=False))
    if heading < 0:
        stretches = [((-b[0], b[1]), (-a[0], a[1]), name) for a, b, name in reversed(stretches)]
    for near, far, name in reversed(stretches):
        plates.append(
            Plate(
                stocked(vehicles.stretch, kind, paint, name),
                (x - body.width / 2, y + far[1], z + far[0]),
                (body.width, 0.0, 0.0),
                (0.0, near[1] - far[1], near[0] - far[0]),
                CLASS_ID["car"],
                ROAD,
                z,
                light.on(_normal(far[1] - near[1], far[0] - near[0])),
                facing=1,
                reach_m=200.0 if abs(far[1] - near[1]) > 0.3 else 40.0,
            )
        )
    return Thing(tuple(plates), _vehicle_lamps(body, middle, heading))


def _vehicle_lamps(body: vehicles.Body, middle: Vector, heading: int) -> tuple[Lamp, ...]:
    """The lamps at the end that faces the camera."""
    x, y, z = middle
    kind = "tail_lamp" if heading > 0 else "head_lamp"
    height = body.waist * 0.78
    return tuple(
        Lamp((x + side * body.width * 0.41, y + height, z - body.length / 2), kind)
        for side in (-1.0, 1.0)
    )
