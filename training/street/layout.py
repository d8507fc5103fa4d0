"""Putting a whole street together from its plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID
from training.street import facades, greenery, ground, lots
from training.street.ground import Colour, Floor, Shadow
from training.street.lots import Lot
from training.street.placing import BACKDROP, FLOOR, Thing, stocked
from training.street.plan import BEHIND_M, KERB_M, Plan
from training.street.plates import Plate, Texture, opaque
from training.street.sky import SPREAD, sky
from training.street.traffic import crossing, kerbside, moving


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
        thing for side in (-1, 1) for thing in kerbside(rng, plan, side, sides[side], shadows)
    ]
    things = [Thing(tuple(_background(plan))), Thing(tuple(_floors(plan, both, shadows)))]
    things += [lots.build(lot, plan.light) for lot in both]
    things += standing
    things += [*moving(rng, plan), *crossing(rng, plan)]
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
    fronts = [facades.facade((variant * 5 + k) % facades.VARIANTS).pixels for k in range(5)]
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
        floor = _detailed(plan, floor)
        plate = _floor_plate(plan, floor, _road(plan, floor, shadows), "road", 0.0)
        yield replace(plate, depth_key_m=float(start), reach_m=110.0)
    for lot in both:
        half = plan.half_m(lot.side)
        floor = _detailed(plan, lots.floor_of(lot, half))
        if lot.kind == "side_street":
            plate = _floor_plate(plan, floor, _road(plan, floor, shadows, plain=True), "road", 0.0)
            yield replace(plate, depth_key_m=lot.start_m, reach_m=110.0)
            continue
        plate = _floor_plate(plan, floor, _slabs(plan, floor, shadows), "pavement", KERB_M)
        yield replace(plate, depth_key_m=lot.start_m, reach_m=110.0)
        kerb = lots.along(_plain((150.0, 148.0, 142.0)), lot, half, (KERB_M, 0.0), "pavement")
        gain = plan.light.on((-float(lot.side), 0.3, 0.0))
        yield replace(kerb, layer=FLOOR, depth_key_m=lot.start_m - 0.1, gain=gain, reach_m=110.0)


def _detailed(plan: Plan, floor: Floor) -> Floor:
    return replace(floor, texels_per_m=8) if floor.start_m > plan.sharp_to_m else floor


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
