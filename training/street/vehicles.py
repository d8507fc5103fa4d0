"""Cars, vans and buses: a side view drawn out to the vehicle's width."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.street import noise
from training.street.camera import FloatArray
from training.street.plates import premultiplied

Colour = tuple[float, float, float]

TEXELS_PER_M = 72
PAINTS: tuple[Colour, ...] = (
    (40, 42, 46), (150, 154, 158), (196, 198, 200), (120, 24, 26), (34, 54, 104), (70, 76, 84),
    (22, 22, 26), (40, 74, 58), (226, 226, 222), (150, 130, 96), (96, 130, 160), (176, 60, 30),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """The shape of a vehicle, in metres.

    Attributes:
        length: from bumper to bumper.
        width: of the lower body.
        waist: height where glass begins.
        height: of the roof.
        profile: (n, 2) points (from the rear end, height) from the rear bumper over the roof.
        roof_share: width of the roof as a share of the lower body's.
        names: what each stretch of the profile is: "tail", "rear_glass", "roof", "front_glass",
            "bonnet" or "nose".
        wheels: distance of the axles from the rear end.
    """

    length: float
    width: float
    waist: float
    height: float
    profile: tuple[tuple[float, float], ...]
    roof_share: float
    names: tuple[str, ...]
    wheels: tuple[float, float]


_CAR = ("tail", "rear_glass", "roof", "front_glass", "bonnet", "nose")
BODIES: dict[str, Body] = {
    "hatchback": Body(
        3.9, 1.7, 0.92, 1.46,
        ((0, 0.28), (0.02, 0.92), (0.42, 1.42), (2.0, 1.46),
         (2.85, 0.94), (3.82, 0.78), (3.9, 0.28)),
        0.74, _CAR, (0.7, 3.15),
    ),
    "saloon": Body(
        4.5, 1.78, 0.9, 1.42,
        ((0, 0.28), (0.04, 0.94), (0.98, 1.38), (2.5, 1.42),
         (3.3, 0.92), (4.42, 0.74), (4.5, 0.28)),
        0.72, _CAR, (0.95, 3.6),
    ),
    "suv": Body(
        4.5, 1.86, 1.08, 1.74,
        ((0, 0.34), (0.02, 1.08), (0.34, 1.7), (2.6, 1.74),
         (3.25, 1.1), (4.4, 0.98), (4.5, 0.34)),
        0.8, _CAR, (0.85, 3.55),
    ),
    "van": Body(
        5.2, 1.96, 1.15, 2.3,
        ((0, 0.34), (0.02, 1.3), (0.08, 2.26), (3.9, 2.3),
         (4.6, 1.2), (5.1, 1.0), (5.2, 0.34)),
        0.9, _CAR, (0.95, 4.2),
    ),
    "bus": Body(
        9.5, 2.5, 1.3, 3.1,
        ((0, 0.34), (0.02, 1.5), (0.06, 3.06), (9.35, 3.1),
         (9.48, 1.3), (9.49, 1.25), (9.5, 0.34)),
        0.97, _CAR, (2.3, 7.2),
    ),
}  # fmt: skip


def _glass(rng: np.random.Generator, height: int, width: int) -> UInt8Array:
    """Dark glass with the sky in its upper part."""
    down = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    shine = noise.cut_anywhere(rng, noise.field(56, 2, 32, 0.9), height, width)
    mirrored = rng.uniform(0.6, 3.0) * down**1.5 + 0.45 * shine * down
    seats = noise.cut_anywhere(rng, noise.field(58, 8, 32, 0.5), height, width) * (1 - down)
    return noise.paint((30, 34, 38), (1.0 + mirrored + 0.35 * seats).astype(np.float32))


def _metal(rng: np.random.Generator, paint: Colour, height: int, width: int) -> UInt8Array:
    """Paint that mirrors sky above and road below."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    gloss = 1.15 - 0.45 * down + 0.2 * np.exp(-((down - 0.3) ** 2) / 0.006)
    dirt = 0.03 * noise.cut_anywhere(rng, noise.field(57, 2, 64, 0.9), height, width)
    return noise.paint(paint, (gloss + dirt).astype(np.float32))


def _polygon(target: UInt8Array, points: FloatArray, value: Colour) -> None:
    cv2.fillPoly(target, [np.round(points * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


@lru_cache(maxsize=64)
def side(kind: str, paint: int) -> UInt8Array:
    """The whole side view, (h, w, 4); front to the right, wheels at the bottom."""
    body, rng = BODIES[kind], np.random.default_rng((paint, 57))
    height, width = round(body.height * TEXELS_PER_M), round(body.length * TEXELS_PER_M)
    outline = np.array(body.profile) * [1, -1] + [0, body.height]
    rgb, alpha = _metal(rng, PAINTS[paint], height, width), np.zeros((height, width), np.uint8)
    _polygon(alpha, outline * TEXELS_PER_M, (255,) * 3)
    waist = round((body.height - body.waist) * TEXELS_PER_M)
    middle = outline[2:4].mean(axis=0)
    windows = np.zeros((height, width), np.uint8)
    inner = middle + (outline[1:5] - middle) * [0.9, 0.8]
    inner[:, 1] = np.minimum(inner[:, 1], body.height - body.waist - 0.03)
    _polygon(windows, inner * TEXELS_PER_M, (255,) * 3)
    pillars = max(2, round(body.length / 1.7))
    for pillar in np.linspace(inner[0, 0], inner[3, 0], pillars + 1)[1:-1]:
        at = round(pillar * TEXELS_PER_M)
        windows[:, at - 2 : at + 3] = 0
        cv2.line(
            rgb, (at, waist), (at, round((body.height - 0.35) * TEXELS_PER_M)), (20, 20, 20), 1
        )
    if kind == "van":
        windows[:, : round(width * 0.6)] = 0
    cv2.copyTo(_glass(rng, height, width), windows, rgb)
    _wheels(rgb, alpha, body, height)
    return premultiplied(rgb, alpha)


def _wheels(rgb: UInt8Array, alpha: UInt8Array, body: Body, height: int) -> None:
    radius = 0.32 * TEXELS_PER_M if body.height < 2 else 0.4 * TEXELS_PER_M
    sill = round((body.height - 0.36) * TEXELS_PER_M)
    cv2.rectangle(rgb, (0, sill), (rgb.shape[1], height), (24, 24, 26), -1)
    for axle in body.wheels:
        centre = (round(axle * TEXELS_PER_M * 16), round((height - radius) * 16))
        cv2.circle(rgb, centre, round(radius * 1.15 * 16), (14, 14, 15), -1, cv2.LINE_AA, 4)
        cv2.circle(alpha, centre, round(radius * 16), (255,) * 3, -1, cv2.LINE_AA, 4)
        cv2.circle(rgb, centre, round(radius * 16), (26, 26, 27), -1, cv2.LINE_AA, 4)
        cv2.circle(rgb, centre, round(radius * 0.62 * 16), (132, 134, 136), -1, cv2.LINE_AA, 4)
        cv2.circle(rgb, centre, round(radius * 0.2 * 16), (60, 60, 62), -1, cv2.LINE_AA, 4)


@lru_cache(maxsize=256)
def stretch(kind: str, paint: int, name: str) -> UInt8Array:
    """One stretch of the profile across the width, (h, w, 4), its upper edge the roof's side."""
    body, rng = BODIES[kind], np.random.default_rng((paint, 58))
    width = round(body.width * TEXELS_PER_M)
    height = {"tail": 48, "nose": 40, "roof": 48, "bonnet": 64}.get(name, 48)
    alpha = np.zeros((height, width), np.uint8)
    inset = (1 - body.roof_share) / 2 * width
    above = inset if name in ("rear_glass", "front_glass", "roof") else 0.0
    below = inset if name == "roof" else 0.0
    corners = [(above, 0), (width - above, 0), (width - below, height), (below, height)]
    _polygon(alpha, np.array(corners, np.float64), (255,) * 3)
    if name == "tail" and kind in ("van", "bus"):
        alpha[:] = 255
    rgb = _metal(rng, PAINTS[paint], height, width)
    {"tail": _tail, "nose": _nose}.get(name, _plain)(rgb)
    if name in ("rear_glass", "front_glass"):
        pane = np.zeros((height, width), np.uint8)
        shrunk = [
            (above + 7, 3),
            (width - above - 7, 3),
            (width - below - 6, height - 3),
            (below + 6, height - 3),
        ]
        _polygon(pane, np.array(shrunk, np.float64), (255,) * 3)
        cv2.copyTo(_glass(rng, height, width), pane, rgb)
    return premultiplied(rgb, alpha)


def _plain(rgb: UInt8Array) -> None:
    """Nothing but paint."""


def _number_plate(rgb: UInt8Array, row: int, colour: Colour) -> None:
    width = rgb.shape[1]
    left = width // 2 - 18
    cv2.rectangle(rgb, (left, row), (left + 36, row + 8), colour, -1)
    cv2.putText(rgb, "KX51 VDR", (left + 2, row + 7), 0, 0.22, (20, 20, 20), 1, cv2.LINE_AA)


def _tail(rgb: UInt8Array) -> None:
    height, width = rgb.shape[:2]
    for left in (3, width - 19):
        cv2.rectangle(rgb, (left, 5), (left + 15, 20), (170, 22, 20), -1)
        cv2.rectangle(rgb, (left + 2, 14), (left + 13, 19), (214, 120, 60), -1)
    cv2.rectangle(rgb, (0, 30), (width, 36), (40, 40, 42), 1)
    cv2.rectangle(rgb, (0, height - 8), (width, height), (26, 26, 28), -1)
    _number_plate(rgb, 20, (226, 196, 70))


def _nose(rgb: UInt8Array) -> None:
    height, width = rgb.shape[:2]
    cv2.rectangle(rgb, (26, 5), (width - 27, 14), (24, 24, 26), -1)
    for left in (4, width - 25):
        cv2.rectangle(rgb, (left, 3), (left + 20, 14), (222, 224, 224), -1)
        cv2.rectangle(rgb, (left + 5, 5), (left + 14, 12), (150, 154, 158), -1)
    cv2.rectangle(rgb, (18, 24), (width - 19, height - 6), (30, 30, 32), -1)
    cv2.rectangle(rgb, (0, height - 5), (width, height), (22, 22, 24), -1)
    _number_plate(rgb, 17, (226, 226, 222))


@lru_cache(maxsize=1)
def contact_shadow() -> UInt8Array:
    """(64, 64, 4): the soft dark patch below a vehicle or a person."""
    alpha = np.zeros((64, 64), np.float32)
    alpha[9:55, 9:55] = 215
    soft = noise.texels(cv2.GaussianBlur(alpha, (0, 0), 5).astype(np.uint8))
    return premultiplied(np.zeros((64, 64, 3), np.uint8), soft)
