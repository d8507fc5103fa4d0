"""What is decided about a street before anything is placed in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.street.daylight import Daylight, draw_daylight
from training.street.ground import Colour, Marks

KERB_M = 0.12
"""Height of the pavement above the road."""
BEHIND_M = -18.0
"""Where the street begins; the car starts at 0."""


@dataclass(frozen=True)
class Plan:
    """Everything about a street that is drawn once.

    Attributes:
        seed: of the street.
        length_m: how far it goes.
        traffic: side the traffic keeps to: -1 left, 1 right.
        lane_m: width of a lane.
        parked: whether cars park on the left and on the right.
        pavement_m: width of the pavements.
        built: share of lots with a building.
        green: street trees per 10 m of kerb.
        crowd: people per 10 m of pavement.
        traffic_gap_m: mean distance between moving cars.
        ego_speed: metres per second.
        asphalt: colour of the road.
        slabs: colour of the pavement.
        marks: lines on the road.
        cloudiness: 0 to 1.
        light: sun and sky.
        sharp_to_m: Z up to which the floor is drawn in full detail.
    """

    seed: int
    length_m: float
    traffic: int
    lane_m: float
    parked: tuple[bool, bool]
    pavement_m: float
    built: float
    green: float
    crowd: float
    traffic_gap_m: float
    ego_speed: float
    asphalt: Colour
    slabs: Colour
    marks: Marks
    cloudiness: float
    light: Daylight
    sharp_to_m: float = math.inf

    def half_m(self, side: int) -> float:
        """Distance of a side's kerb from X = 0."""
        return self.lane_m + (2.1 if self.parked[side > 0] else 0.35)


def draw_plan(seed: int, length_m: float, ego_speed: float) -> Plan:
    """Draw a street's plan."""
    rng = np.random.default_rng((seed, 1))
    cloudiness = float(rng.choice([rng.uniform(0, 0.35), rng.uniform(0.5, 1.0)]))
    grey = float(rng.uniform(78, 118))
    slab = float(rng.uniform(118, 160))
    first = float(rng.uniform(18, 60))
    every = float(rng.uniform(80, 160)) if rng.random() < 0.7 else 1e9
    zebras = np.arange(first, length_m if every < 1e9 else first, every)
    marks = Marks(
        str(rng.choice(["dashed", "dashed", "solid", "none"])),
        ((200.0, 170.0, 60.0), (220.0, 220.0, 214.0), None)[rng.integers(3)],
        tuple(float(z) for z in zebras),
        float(rng.uniform(0.1, 0.6)),
    )
    return Plan(
        seed,
        length_m,
        int(rng.choice([-1, 1])),
        float(rng.uniform(2.8, 3.6)),
        (bool(rng.random() < 0.5), bool(rng.random() < 0.5)),
        float(rng.uniform(2.0, 4.6)),
        float(rng.uniform(0.45, 0.95)),
        float(rng.choice([0.0, rng.uniform(0.3, 1.0)])),
        float(rng.uniform(0.2, 1.6)),
        float(rng.uniform(18, 70)),
        ego_speed,
        (grey, grey * 0.995, grey * rng.uniform(0.96, 1.03)),
        (slab, slab * 0.98, slab * rng.uniform(0.88, 0.98)),
        marks,
        cloudiness,
        draw_daylight(rng, cloudiness),
    )
