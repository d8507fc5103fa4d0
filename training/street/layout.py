"""Drawing a whole street from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID
from training.street import furniture, greenery, ground, lots, people, placing, vehicles
from training.street.daylight import Daylight, draw_daylight
from training.street.ground import Colour, Floor, Marks, Shadow
from training.street.lots import Lot
from training.street.placing import BACKDROP, FLOOR, PAVEMENT, ROAD, Thing, stocked
from training.street.plates import Plate, Texture, opaque
from training.street.sky import SPREAD, sky

KERB_M = 0.12
BEHIND_M = -18.0


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
    zebras = np.arange(first, length_m, rng.uniform(80, 160)) if rng.random() < 0.7 else []
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
        float(rng.uniform(2.9, 3.9)),
        (bool(rng.random() < 0.6), bool(rng.random() < 0.6)),
        float(rng.uniform(1.8, 3.8)),
        float(rng.uniform(0.45, 0.95)),
        float(rng.choice([0.0, rng.uniform(0.3, 1.0)])),
        float(rng.uniform(0.2, 1.6)),
        float(rng.uniform(16, 50)),
        ego_speed,
        (grey, grey * 0.995, grey * rng.uniform(0.96, 1.03)),
        (slab, slab * 0.98, slab * rng.uniform(0.88, 0.98)),
        marks,
        cloudiness,
        draw_daylight(rng, cloudiness),
    )


def lay_out(plan: Plan) -> list[Thing]:
    """Every thing of the street, in the order in which ties are painted."""
    rng = np.random.default_rng((plan.seed, 2))
    sides: dict[int, list[Lot]] = {}
    for side in (-1, 1):
        edge = plan.half_m(side) + plan.pavement_m
        sides[side] = list(lots.draw_lots(rng, side, edge, (BEHIND_M, plan.length_m), plan.built))
    both = sides[-1] + sides[1]
    shadows = [shadow for lot in both if (shadow := lots.shadow_of(lot, plan.light))]
    standing = [
        thing for side in (-1, 1) for thing in _kerbside(rng, plan, side, sides[side], shadows)
    ]
    things = [Thing(tuple(_background(plan))), Thing(tuple(_floors(plan, both, shadows)))]
    things += [lots.build(lot, plan.light) for lot in both]
    things += standing
    things += [*_moving(rng, plan), *_crossing(rng, plan)]
    return things


def _background(plan: Plan) -> Iterator[Plate]:
    """Sky, the floor where nothing finer is painted, and what closes the street."""
    glare = 0.1 + 0.55 * float(np.random.default_rng((plan.seed, 3)).random())
    picture = sky(plan.seed, plan.cloudiness, glare)
    yield Plate(
        Texture(lambda: picture),
        (-SPREAD, SPREAD, 1.0), (2 * SPREAD, 0.0, 0.0), (0.0, -SPREAD - 0.02, 0.0),
        CLASS_ID["sky"], BACKDROP, 1e9, far_away=True,
    )  # fmt: skip
    far = plan.length_m + 40
    halves = plan.half_m(-1), plan.half_m(1)
    for left, right, label, colour in (
        (-90.0, -halves[0], "pavement", plan.slabs),
        (halves[1], 90.0, "pavement", plan.slabs),
        (-halves[0], halves[1], "road", plan.asphalt),
    ):
        yield _floor_plate(plan, Floor(left, right, BEHIND_M, far), _plain(colour), label, 0.0)
    for z, height, texture, label in (
        (far - 4, 11.0, stocked(greenery.wood, plan.seed % 4), "tree"),
        (far - 5, 8.0, stocked(_terrace, plan.seed % 5), "building"),
    ):
        if label == "building" and plan.built < 0.6:
            continue
        yield Plate(
            texture, (-60.0, height, z), (120.0, 0.0, 0.0), (0.0, -height, 0.0), CLASS_ID[label],
            BACKDROP, z, plan.light.on((0.0, 0.2, -0.9)), cover=60,
        )  # fmt: skip


def _terrace(variant: int) -> UInt8Array:
    fronts = [
        lots.facades.facade((variant * 5 + k) % lots.facades.VARIANTS).pixels for k in range(5)
    ]
    height = max(front.shape[0] for front in fronts)
    row = np.hstack(
        [np.pad(front, ((height - front.shape[0], 0), (0, 0), (0, 0)), "edge") for front in fronts]
    )
    return opaque(row)


def _plain(colour: Colour) -> Texture:
    return Texture(lambda: np.full((4, 4, 4), (*colour, 255), np.uint8))


def _floor_plate(plan: Plan, floor: Floor, texture: Texture, label: str, y_m: float) -> Plate:
    return Plate(
        texture,
        (floor.left_m, y_m, floor.start_m),
        (0.0, 0.0, floor.end_m - floor.start_m),
        (floor.right_m - floor.left_m, 0.0, 0.0),
        CLASS_ID[label],
        FLOOR,
        1e6,
        plan.light.on((0.0, 1.0, 0.0)),
    )


def _floors(plan: Plan, both: list[Lot], shadows: list[Shadow]) -> Iterator[Plate]:
    """Road and pavements with everything painted and cast on them."""
    for start in np.arange(BEHIND_M, plan.length_m + 36, 18.0):
        floor = Floor(-plan.half_m(-1), plan.half_m(1), float(start) - 0.1, float(start) + 18.1)
        plate = _floor_plate(plan, floor, _road(plan, floor, shadows), "road", 0.0)
        yield replace(plate, depth_key_m=float(start), reach_m=110.0)
    for lot in both:
        half = plan.half_m(lot.side)
        floor = lots.floor_of(lot, half)
        if lot.kind == "side_street":
            plate = _floor_plate(plan, floor, _road(plan, floor, shadows, plain=True), "road", 0.0)
            yield replace(plate, depth_key_m=lot.start_m, reach_m=110.0)
            continue
        plate = _floor_plate(plan, floor, _slabs(plan, floor, shadows), "pavement", KERB_M)
        yield replace(plate, depth_key_m=lot.start_m, reach_m=110.0)
        kerb = lots.along(_plain((150.0, 148.0, 142.0)), lot, half, (KERB_M, 0.0), "pavement")
        gain = plan.light.on((-float(lot.side), 0.3, 0.0))
        yield replace(kerb, layer=FLOOR, depth_key_m=lot.start_m - 0.1, gain=gain, reach_m=110.0)


def _road(plan: Plan, floor: Floor, shadows: list[Shadow], plain: bool = False) -> Texture:
    def draw() -> UInt8Array:
        rng = np.random.default_rng((plan.seed, 4, round(floor.start_m * 10) + 1000))
        light = ground.shade(floor, shadows)
        picture = ground.asphalt(rng, floor, plan.asphalt, light)
        if not plain:
            ground.mark(floor, plan.marks, picture, light)
        return opaque(picture)

    return Texture(draw)


def _slabs(plan: Plan, floor: Floor, shadows: list[Shadow]) -> Texture:
    def draw() -> UInt8Array:
        rng = np.random.default_rng((plan.seed, 5, round(floor.start_m * 10) + 1000))
        return opaque(ground.pavement(rng, floor, plan.slabs, ground.shade(floor, shadows)))

    return Texture(draw)


def _clear_of(z: float, margin: float, plan: Plan, row: list[Lot]) -> bool:
    """Whether nothing at this Z would stand in a side street or on a crossing."""
    if any(abs(z - zebra) < margin + 2.5 for zebra in plan.marks.zebras_m):
        return False
    return not any(
        lot.kind == "side_street" and lot.start_m - margin < z < lot.end_m + margin for lot in row
    )


def _kerbside(
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
    for z in _along(rng, length, 0.35):
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


def _moving(rng: np.random.Generator, plan: Plan) -> Iterator[Thing]:
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


def _crossing(rng: np.random.Generator, plan: Plan) -> Iterator[Thing]:
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
