"""Poles, lamps, traffic lights, signs, bollards and fences."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.street import noise
from training.street.plates import premultiplied

Colour = tuple[float, float, float]

FENCES = 9
SIGNS = 16


def _empty(height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    return np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)


def _round(colour: Colour, height: int, width: int) -> UInt8Array:
    """(h, w, 3) shading of an upright cylinder."""
    turn = np.linspace(-1.2, 1.2, width, dtype=np.float32)[None, :]
    return noise.paint(colour, (0.55 + 0.6 * np.cos(turn + 0.5)).repeat(height, 0))


@lru_cache(maxsize=4)
def post(variant: int) -> UInt8Array:
    """(64, 16, 4): a plain round post, as thick as the plate is wide."""
    colour: Colour = ((120, 122, 122), (44, 46, 48), (90, 96, 88), (70, 62, 52))[variant]
    rgb, alpha = _round(colour, 64, 16), np.full((64, 16), 255, np.uint8)
    return premultiplied(rgb, alpha)


@lru_cache(maxsize=4)
def lamp_arm(variant: int) -> UInt8Array:
    """(64, 128, 4): the arm of a street lamp reaching right, its head at the far end."""
    rgb, alpha = _empty(64, 128)
    colour = (96.0 + 12 * variant,) * 3
    for picture, value in ((rgb, colour), (alpha, (255.0,) * 3)):
        cv2.ellipse(picture, (60, 62), (58, 34), 0, 180, 275, value, 4, cv2.LINE_AA)
        cv2.ellipse(picture, (96, 28), (26, 7), 4, 0, 360, value, -1, cv2.LINE_AA)
    cv2.ellipse(rgb, (98, 32), (18, 3), 4, 0, 360, (214, 210, 190), -1, cv2.LINE_AA)
    return premultiplied(rgb, alpha)


@lru_cache(maxsize=3)
def traffic_light(lit: int) -> UInt8Array:
    """(96, 40, 4): the head of a traffic light; 0 is red, 1 amber, 2 green."""
    rgb, alpha = _empty(96, 40)
    rgb[:] = (24, 26, 26)
    alpha[2:94, 3:37] = 255
    lamps = ((255, 60, 40), (255, 180, 40), (60, 255, 150))
    for number, colour in enumerate(lamps):
        centre = (20, 18 + 30 * number)
        shade = colour if number == lit else tuple(value // 6 for value in colour)
        cv2.circle(rgb, centre, 11, shade, -1, cv2.LINE_AA)
        cv2.ellipse(
            rgb, (20, 14 + 30 * number), (13, 10), 0, 190, 350, (10, 10, 10), 3, cv2.LINE_AA
        )
    return premultiplied(rgb, alpha)


def _disc(rng: np.random.Generator, rgb: UInt8Array, alpha: UInt8Array) -> None:
    inside: Colour = ((238, 238, 238), (20, 70, 160), (200, 24, 28))[rng.integers(3)]
    cv2.circle(alpha, (32, 32), 30, 255, -1, cv2.LINE_AA)
    cv2.circle(rgb, (32, 32), 32, (200, 24, 28) if inside[0] > 230 else (235, 235, 235), -1)
    cv2.circle(rgb, (32, 32), 23 if inside[0] > 230 else 28, inside, -1, cv2.LINE_AA)
    if inside == (200, 24, 28):
        cv2.rectangle(rgb, (12, 27), (52, 37), (238, 238, 238), -1)
        return
    ink = (20, 20, 20) if inside[0] > 230 else (240, 240, 240)
    cv2.putText(
        rgb, str(rng.choice(["30", "20", "50", "40"])), (13, 41), 0, 0.85, ink, 3, cv2.LINE_AA
    )


def _triangle(rng: np.random.Generator, rgb: UInt8Array, alpha: UInt8Array) -> None:
    outer, inner = np.array([[32, 3], [62, 58], [2, 58]]), np.array([[32, 17], [50, 51], [14, 51]])
    if rng.random() < 0.3:
        outer, inner = outer * [1, -1] + [0, 62], inner * [1, -1] + [0, 62]
    cv2.fillPoly(alpha, [outer.astype(np.int32)], 255, cv2.LINE_AA)
    rgb[:] = (196, 26, 30)
    cv2.fillPoly(rgb, [inner.astype(np.int32)], (238, 238, 236), cv2.LINE_AA)
    cv2.line(rgb, (32, 30), (32 + int(rng.integers(-6, 7)), 46), (16, 16, 16), 4, cv2.LINE_AA)


def _board(rng: np.random.Generator, rgb: UInt8Array, alpha: UInt8Array) -> None:
    colours: tuple[Colour, ...] = (
        (20, 70, 160),
        (30, 96, 60),
        (235, 235, 232),
        (180, 120, 20),
        (28, 28, 32),
    )
    colour = colours[rng.integers(len(colours))]
    top = int(rng.integers(2, 18))
    alpha[top:60, 3:61] = 255
    rgb[:] = colour
    ink: Colour = (240, 240, 240) if sum(colour) < 400 else (24, 24, 24)
    cv2.rectangle(rgb, (5, top + 2), (58, 57), ink, 1)
    for row in range(top + 8, 54, 11):
        cv2.line(rgb, (10, row), (int(rng.integers(25, 55)), row), ink, 4)


@lru_cache(maxsize=SIGNS)
def sign(variant: int) -> UInt8Array:
    """(64, 64, 4): the face of a traffic sign."""
    rng = np.random.default_rng((variant, 61))
    rgb, alpha = _empty(64, 64)
    (_disc, _triangle, _board, _board)[variant % 4](rng, rgb, alpha)
    dirt = (1 + 0.06 * noise.cut_anywhere(rng, noise.field(61, 2, 64, 0.8), 64, 64)).astype(
        np.float32
    )
    return premultiplied(
        noise.texels(cv2.multiply(rgb, cv2.merge([dirt] * 3), dtype=cv2.CV_8U)), alpha
    )


def _railings(rng: np.random.Generator) -> UInt8Array:
    rgb, alpha = _empty(64, 256)
    rgb[:] = ((34, 36, 38), (110, 112, 112), (40, 62, 46))[rng.integers(3)]
    step = int(rng.integers(6, 11))
    for column in range(2, 256, step):
        alpha[4:62, column : column + 2] = 255
    for column in (0, 128, 252):
        alpha[0:64, column : column + 4] = 255
    alpha[6:9] = alpha[56:59] = 255
    return premultiplied(rgb, alpha)


def _planks(rng: np.random.Generator) -> UInt8Array:
    colour: Colour = ((118, 92, 66), (142, 116, 84), (92, 88, 82), (190, 190, 184))[
        rng.integers(4)
    ]
    tone = (1 + 0.12 * rng.standard_normal((1, 32))).astype(np.float32).repeat(8, 1).repeat(64, 0)
    tone *= 1 + 0.06 * noise.cut_anywhere(rng, noise.field(62, 4, 256, 0.4), 64, 256)
    tone[:, ::8] *= 0.5
    tone[-6:] *= 0.7
    alpha = np.full((64, 256), 255, np.uint8)
    alpha[:3, 3::8] = alpha[0, :] = 0
    return premultiplied(noise.paint(colour, tone.astype(np.float32)), alpha)


def _mesh(rng: np.random.Generator) -> UInt8Array:
    rgb, alpha = _empty(64, 256)
    rgb[:] = int(rng.integers(90, 150))
    rows, columns = np.mgrid[:64, :256]
    alpha[((rows + columns) % 7 < 2) | ((rows - columns) % 7 < 2)] = 190
    for column in (0, 85, 170, 252):
        alpha[:, column : column + 4] = 255
    alpha[:3] = 255
    return premultiplied(rgb, alpha)


@lru_cache(maxsize=FENCES)
def fence(variant: int) -> UInt8Array:
    """(64, 256, 4): a length of railing, plank or wire fence."""
    rng = np.random.default_rng((variant, 62))
    return (_railings, _planks, _mesh)[variant % 3](rng)
