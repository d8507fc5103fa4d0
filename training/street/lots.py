"""What stands along the street: houses, gardens and side streets, lot after lot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.labels import CLASS_ID
from training.street import facades, furniture, greenery
from training.street.camera import FloatArray
from training.street.daylight import Daylight
from training.street.ground import Floor, Shadow
from training.street.placing import BACKDROP, LOT, Lamp, Thing, stocked, tree
from training.street.plates import Plate, Texture, Vector, opaque, premultiplied


@dataclass(frozen=True)
class Lot:
    """A stretch of one side of the street.

    Attributes:
        side: -1 for the left, 1 for the right.
        start_m: Z of its beginning.
        end_m: Z of its end.
        front_m: distance of the building line from X = 0.
        kind: "house", "garden" or "side_street".
        variant: which front, or which green.
        enclosed: a fence or hedge stands along the pavement.
        seed: for everything else about it.
    """

    side: int
    start_m: float
    end_m: float
    front_m: float
    kind: str
    variant: int
    enclosed: bool
    seed: int

    @property
    def height_m(self) -> float:
        """Height of its building; 0 without."""
        return facades.facade(self.variant).height_m if self.kind == "house" else 0.0


def draw_lots(
    rng: np.random.Generator, side: int, edge_m: float, span_m: tuple[float, float], built: float
) -> Iterator[Lot]:
    """Draw the lots of one side from `span_m[0]` to `span_m[1]`.

    Args:
        rng: source of chance.
        side: -1 for the left, 1 for the right.
        edge_m: distance of the pavement's outer edge from X = 0.
        span_m: first and last Z.
        built: share of lots with a building, 0 to 1.
    """
    start, before = span_m[0], "house"
    while start < span_m[1]:
        shares = [built, 0.94 - built * 0.94, 0.06 + 0.06 * built]
        kind = str(
            rng.choice(["house", "garden", "side_street"], p=np.divide(shares, sum(shares)))
        )
        if before != "house" and kind == "side_street":
            kind = "house"
        variant = int(rng.integers(facades.VARIANTS))
        length = float(rng.uniform(8, 22))
        if kind == "house":
            length = facades.facade(variant).width_m
        if kind == "side_street":
            length = float(rng.uniform(6, 9))
        enclosed = kind == "garden" or bool(kind == "house" and rng.random() < 0.35)
        setback = float(rng.uniform(2.0, 4.5)) if enclosed else float(rng.uniform(0, 0.4))
        seed = int(rng.integers(1 << 31))
        yield Lot(side, start, start + length, edge_m + setback, kind, variant, enclosed, seed)
        start, before = start + length, kind


def along(
    texture: Texture, lot: Lot, x_m: float, heights_m: tuple[float, float], label: str
) -> Plate:
    """An upright plate along the street at X = side * `x_m`, readable from the street."""
    high, low = heights_m
    length = lot.end_m - lot.start_m
    start = lot.end_m if lot.side > 0 else lot.start_m
    return Plate(
        texture,
        (lot.side * x_m, high, start),
        (0.0, 0.0, -lot.side * length),
        (0.0, low - high, 0.0),
        CLASS_ID[label],
        LOT,
        (lot.start_m + lot.end_m) / 2,
    )


def build(lot: Lot, light: Daylight) -> Thing:
    """Everything that stands on a lot."""
    rng = np.random.default_rng(lot.seed)
    plates: list[Plate] = []
    lamps: list[Lamp] = []
    if lot.kind == "house":
        plates += _house(lot, light, rng)
        lamps += _windows(lot, rng)
    else:
        plates += _backdrop(lot, light)
    if lot.kind == "garden":
        plates += _trees(lot, light, rng)
    if lot.enclosed:
        plates.append(_enclosure(lot, light, rng))
    return Thing(tuple(plates), tuple(lamps))


def _trees(lot: Lot, light: Daylight, rng: np.random.Generator) -> Iterator[Plate]:
    """A garden's trees, the farthest first; they are all painted before the lot's fence."""
    middle = (lot.start_m + lot.end_m) / 2
    for z in sorted(rng.uniform(lot.start_m, lot.end_m, rng.integers(1, 4)), reverse=True):
        foot = (lot.side * (lot.front_m + float(rng.uniform(2.0, 6))), 0.1, float(z))
        variant = int(rng.integers(greenery.TREES))
        for plate in tree(variant, foot, float(rng.uniform(4, 10)), light, LOT).plates:
            yield replace(plate, depth_key_m=middle)


def _house(lot: Lot, light: Daylight, rng: np.random.Generator) -> Iterator[Plate]:
    front = facades.facade(lot.variant)
    tint = rng.uniform(0.72, 1.12) * (1 + rng.uniform(-0.05, 0.05, 3))
    wall = _tinted(light.on((-float(lot.side), 0.0, 0.0), 0.9), tint)
    end = _tinted(light.on((0.0, 0.0, -1.0), 0.75), tint * 0.9)
    depth, height = 9.0, front.height_m
    left = lot.front_m if lot.side > 0 else -lot.front_m - depth
    gable = Plate(
        stocked(_opaque_gable, lot.variant % 8),
        (left, height, lot.start_m),
        (depth, 0.0, 0.0),
        (0.0, -height, 0.0),
        CLASS_ID["building"],
        LOT,
        (lot.start_m + lot.end_m) / 2,
        end,
        facing=1,
    )
    yield gable
    if height < 11 and lot.variant % 4:
        yield from _roof(lot, light, height)
    texture = stocked(_opaque_facade, lot.variant)
    yield replace(along(texture, lot, lot.front_m, (height, 0.0), "building"), gain=wall, facing=1)


def _roof(lot: Lot, light: Daylight, height: float) -> Iterator[Plate]:
    texture = stocked(_opaque_tiles, lot.variant % 3)
    flat = along(texture, lot, lot.front_m - 0.25, (height, height), "building")
    x, _, z = flat.origin
    rise, run = 3.4, 4.2
    side = float(lot.side)
    end = light.on((0.0, 0.0, -1.0), 0.7)
    key, wall = flat.depth_key_m, stocked(_opaque_gable, lot.variant % 8)
    ridge = (x + side * run, height + rise)
    for at in (lot.start_m + 0.6, lot.end_m - 1.4):
        for corner, edge, gain in (
            ((ridge[0] - 0.5, ridge[1] + 1.1, at), (1.0, 0.0, 0.0), end),
            (
                (ridge[0] - side * 0.5, ridge[1] + 1.1, at if side < 0 else at + 0.9),
                (0.0, 0.0, -side * 0.9),
                light.on((-side, 0.0, 0.0), 0.8),
            ),
        ):
            down = (0.0, -1.9, 0.0)
            yield Plate(wall, corner, edge, down, CLASS_ID["building"], LOT, key, gain)
    yield Plate(
        stocked(_gable_end, lot.variant % 8),
        (ridge[0] - run, ridge[1], lot.start_m),
        (2 * run, 0.0, 0.0),
        (0.0, -rise, 0.0),
        CLASS_ID["building"],
        LOT,
        key,
        end,
        facing=1,
    )
    yield replace(
        flat,
        origin=(x + lot.side * run, height + rise, z),
        down=(-lot.side * run, -rise, 0.0),
        gain=light.on((-0.6 * lot.side, 0.8, 0.0)),
        facing=1,
    )


def _windows(lot: Lot, rng: np.random.Generator) -> Iterator[Lamp]:
    """Windows somebody is at home behind."""
    front = facades.facade(lot.variant)
    for u, v in front.windows:
        if rng.random() < 0.3:
            share = 1 - u if lot.side > 0 else u
            z = lot.start_m + share * (lot.end_m - lot.start_m)
            position = (lot.side * (lot.front_m - 0.02), (1 - v) * front.height_m, z)
            yield Lamp(position, "window")


def _backdrop(lot: Lot, light: Daylight) -> Iterator[Plate]:
    """Trees far behind, so that a gap does not show the edge of the world."""
    wide = replace(lot, start_m=lot.start_m - 12, end_m=lot.end_m + 26)
    texture = stocked(greenery.wood, lot.variant % 4)
    gain = light.on((-float(lot.side), 0.5, -0.4))
    plate = along(texture, wide, lot.front_m + 24, (9.0, 0.0), "tree")
    yield replace(plate, layer=BACKDROP, gain=gain, cover=60)


def _enclosure(lot: Lot, light: Daylight, rng: np.random.Generator) -> Plate:
    x = lot.front_m - (1.8 if lot.kind == "house" else 0.3)
    gain = light.on((-float(lot.side), 0.2, 0.0))
    if rng.random() < 0.3:
        texture = stocked(greenery.hedge, int(rng.integers(6)))
        height, label = float(rng.uniform(0.9, 2.0)), "tree"
    else:
        variant, copies = (
            int(rng.integers(furniture.FENCES)),
            max(1, round(lot.end_m - lot.start_m) // 4),
        )
        texture = stocked(_fence_row, variant, copies)
        height, label = float(rng.uniform(0.9, 1.9)), "fence"
    plate = along(texture, lot, x, (height + 0.1, 0.1), label)
    return replace(plate, gain=gain, cover=45, reach_m=160.0)


def _fence_row(variant: int, copies: int) -> UInt8Array:
    return np.tile(furniture.fence(variant), (1, copies, 1))


def _opaque_facade(variant: int) -> UInt8Array:
    return opaque(facades.facade(variant).pixels)


def _opaque_gable(variant: int) -> UInt8Array:
    return opaque(facades.gable(variant))


def _gable_end(variant: int) -> UInt8Array:
    """The triangle of wall below a pitched roof."""
    pixels = facades.gable(variant)
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    corners = np.array([[0, 255], [128, 0], [255, 255]], np.int32)
    cv2.fillPoly(alpha, [corners], 255, cv2.LINE_AA)
    return premultiplied(pixels, alpha)


def _opaque_tiles(variant: int) -> UInt8Array:
    return opaque(facades.tiles(variant))


def _tinted(gain: Vector, tint: FloatArray) -> Vector:
    red, green, blue = (float(value) for value in np.multiply(gain, tint))
    return red, green, blue


def shadow_of(lot: Lot, light: Daylight) -> Shadow | None:
    """The shadow of a lot's building on the floor, or None."""
    if lot.height_m == 0 or light.shadow < 0.08:
        return None
    across, forward = light.cast(lot.height_m)
    x = lot.side * lot.front_m
    corners = [
        (x, lot.start_m), (x, lot.end_m),
        (x + across, lot.end_m + forward), (x + across, lot.start_m + forward),
    ]  # fmt: skip
    return Shadow(np.array(corners, np.float32), light.shadow)


def floor_of(lot: Lot, half_m: float) -> Floor:
    """The floor between the kerb and a little behind the building line."""
    reach = lot.front_m + 0.4 if lot.kind == "house" else lot.front_m + 26
    inner, outer = sorted((lot.side * half_m, lot.side * reach))
    return Floor(inner, outer, lot.start_m - 0.1, lot.end_m + 0.1)
