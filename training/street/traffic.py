"""Everybody and everything that stands, waits, walks or drives along the street."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.street import furniture, greenery, people, placing, vehicles
from training.street.daylight import Daylight
from training.street.ground import Shadow
from training.street.lots import Lot
from training.street.placing import PAVEMENT, ROAD, Thing
from training.street.plan import BEHIND_M, KERB_M, Plan


def _clear_of(z: float, margin: float, plan: Plan, row: list[Lot]) -> bool:
    """Whether nothing at this Z would stand in a side street or on a crossing."""
    if any(abs(z - zebra) < margin + 2.5 for zebra in plan.marks.zebras_m):
        return False
    return not any(
        lot.kind == "side_street" and lot.start_m - margin < z < lot.end_m + margin for lot in row
    )


def kerbside(
    rng: np.random.Generator, plan: Plan, side: int, row: list[Lot], shadows: list[Shadow]
) -> Iterator[Thing]:
    """Trees, lamps, signs, people and parked cars of one side."""
    half, light = plan.half_m(side), plan.light
    length = plan.length_m
    offset = float(rng.uniform(0, 20))
    for z in np.arange(BEHIND_M + offset, length, 27.0 if side > 0 else 31.0):
        yield placing.street_lamp((side * (half + 0.45), KERB_M, float(z)), 6.6, -side, light)
        shadows += _thin_shadow(side * (half + 0.45), float(z), 6.6, 0.1, light)
    for z in _along(rng, length, plan.green):
        if not _clear_of(z, 1.0, plan, row):
            continue
        height = float(rng.uniform(5, 10))
        foot = (side * (half + 0.7), KERB_M, z)
        yield placing.tree(int(rng.integers(greenery.TREES)), foot, height, light, PAVEMENT)
        shadows += _tree_shadow(foot[0], z, height, light)
    for z in _along(rng, length, 0.6):
        foot = (side * (half + float(rng.uniform(0.3, 0.6))), KERB_M, z)
        yield placing.sign(int(rng.integers(furniture.SIGNS)), foot, light)
    yield from _signals(rng, plan, side, row)
    for z in _along(rng, length, plan.crowd):
        x = side * (half + float(rng.uniform(0.6, plan.pavement_m - 0.2)))
        variant, tall = int(rng.integers(people.WALKERS)), float(rng.uniform(1.5, 1.9))
        walker = placing.person(variant, (x, KERB_M, z), tall, PAVEMENT, light)
        yield walker.moving((0.0, 0.0, float(rng.choice([-1.3, 0.0, 1.2]))))
    if plan.parked[side > 0]:
        yield from _parked(rng, plan, side, row)


def _along(rng: np.random.Generator, length_m: float, per_ten_m: float) -> list[float]:
    """Random places along the street."""
    count = int(rng.poisson((length_m - BEHIND_M) / 10 * per_ten_m))
    return sorted(float(z) for z in rng.uniform(BEHIND_M, length_m, count))


def _signals(rng: np.random.Generator, plan: Plan, side: int, row: list[Lot]) -> Iterator[Thing]:
    """Traffic lights at crossings and at some side streets."""
    places = [z - 2.4 for z in plan.marks.zebras_m[::2]]
    places += [lot.start_m - 1.0 for lot in row if lot.kind == "side_street" and lot.seed % 2]
    for z in places:
        foot = (side * (plan.half_m(side) + 0.4), KERB_M, z)
        yield placing.traffic_light(
            int(rng.choice([0, 1, 2], p=[0.3, 0.1, 0.6])), foot, plan.light
        )


def _parked(rng: np.random.Generator, plan: Plan, side: int, row: list[Lot]) -> Iterator[Thing]:
    z = BEHIND_M + float(rng.uniform(0, 8))
    density = float(rng.uniform(2, 12))
    while z < plan.length_m:
        kind = _kind(rng)
        if kind != "bus" and _clear_of(z, 3.5, plan, row):
            x = side * (plan.half_m(side) - 1.05)
            heading = -side if rng.random() < 0.15 else (1 if side == plan.traffic else -1)
            paint = int(rng.integers(len(vehicles.PAINTS)))
            yield placing.vehicle(kind, paint, (x, 0.0, z), heading, plan.light)
        z += 5.4 + float(rng.exponential(density))


def _kind(rng: np.random.Generator) -> str:
    return str(rng.choice(list(vehicles.BODIES), p=[0.4, 0.26, 0.18, 0.12, 0.04]))


def moving(rng: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """Cars ahead, cars that come towards us, cyclists near the kerb."""
    light, oncoming = plan.light, float(rng.uniform(7, 11))
    reach = plan.length_m * (1 + oncoming / plan.ego_speed)
    z = float(rng.uniform(8, 30))
    while z < reach:
        paint, x = int(rng.integers(len(vehicles.PAINTS))), -plan.traffic * plan.lane_m * 0.5
        car = placing.vehicle(_kind(rng), paint, (x, 0.0, z), -1, light)
        yield car.moving((0.0, 0.0, -oncoming))
        z += 8 + float(rng.exponential(plan.traffic_gap_m))
    z = float(rng.uniform(9, 16)) + float(rng.exponential(12))
    for _ in range(int(rng.integers(0, 4))):
        paint, x = int(rng.integers(len(vehicles.PAINTS))), plan.traffic * plan.lane_m * 0.5
        car = placing.vehicle(_kind(rng), paint, (x, 0.0, z), 1, light)
        yield car.moving((0.0, 0.0, plan.ego_speed))
        z += 10 + float(rng.exponential(20))
    for start in _along(rng, plan.length_m, 0.12):
        side = int(rng.choice([-1, 1]))
        x, away = side * (plan.lane_m - 0.35), side == plan.traffic
        rider = placing.cyclist(int(rng.integers(people.RIDERS)) // 2 * 2, (x, 0.0, start), light)
        yield rider.moving((0.0, 0.0, 3.5 if away else -4.5))


def crossing(rng: np.random.Generator, plan: Plan) -> Iterator[Thing]:
    """People, and now and then a cyclist, who cross on the zebra ahead of us."""
    for zebra in plan.marks.zebras_m:
        for _ in range(int(rng.integers(0, 4))):
            pace = float(rng.choice([-1.0, 1.0]) * rng.uniform(1.0, 1.6))
            ride = bool(rng.random() < 0.2)
            middle = max(0.0, (zebra - float(rng.uniform(16, 45))) / plan.ego_speed)
            foot = (-pace * middle, 0.02, zebra + float(rng.uniform(-1.4, 1.4)))
            variant = int(rng.integers(people.WALKERS))
            if ride:
                thing = placing.cyclist(variant % people.RIDERS // 2 * 2 + 1, foot, plan.light)
            else:
                thing = placing.person(
                    variant, foot, float(rng.uniform(1.5, 1.9)), ROAD, plan.light
                )
            wait = (min(plan.half_m(-1), plan.half_m(1)) + 0.6) / abs(pace)
            yield thing.moving((pace, 0.0, 0.0)).present(middle - wait, middle + wait)


def _thin_shadow(x: float, z: float, height: float, width: float, light: Daylight) -> list[Shadow]:
    if light.shadow < 0.08:
        return []
    across, forward = light.cast(height)
    corners = [
        (x - width, z),
        (x + width, z),
        (x + across + width, z + forward),
        (x + across - width, z + forward),
    ]
    return [Shadow(np.array(corners, np.float32), light.shadow * 0.8)]


def _tree_shadow(x: float, z: float, height: float, light: Daylight) -> list[Shadow]:
    """The trunk's line and the crown's dappled patch."""
    if light.shadow < 0.08:
        return []
    across, forward = light.cast(height * 0.62)
    angle = np.linspace(0, 2 * np.pi, 20)
    radius = height * 0.33
    crown = np.stack(
        [x + across + radius * np.cos(angle), z + forward + radius * 1.3 * np.sin(angle)], axis=1
    )
    return [
        *_thin_shadow(x, z, height * 0.5, 0.14, light),
        Shadow(crown.astype(np.float32), light.shadow * 0.9, leafy=True),
    ]
