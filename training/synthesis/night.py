"""Night: the day's picture taken as paint, lit anew by sky glow, street lamps and our own beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.depth import CAMERA_HEIGHT_M, horizon_of
from training.synthesis.lamps import (
    LAMP_COLOURS,
    Colour,
    Lamp,
    SeenLight,
    car_lamps,
    distant_lamps,
    glow,
    lit_windows,
    seen_lamp,
    street_lamps,
)
from training.synthesis.noise import clouds
from training.synthesis.overcast import even_out
from training.synthesis.scene import (
    FOCAL,
    class_mask,
    floats,
    pixels,
    sky_matte,
    to_image,
    to_light,
)


@dataclass(frozen=True)
class Night:
    """Light of a night street.

    Attributes:
        ambient_lux: light of the sky on everything: dusk 20, city 2, country 0.05.
        ambient: its RGB colour.
        street_lux: light under a street lamp; 0 = unlit road.
        street: RGB colour of the street lamps.
        spacing_m: distance from lamp to lamp.
        beam_candela: our low beam; 0 = parking lights.
        beam: its RGB colour.
        windows: share of windows lit.
        sky: RGB light of the sky at the horizon against a lit white wall.
        traffic: share of vehicles with lights on.
        bloom: scattered light around lamps.
        mean_luma: mean display value the camera's exposure aims at, 0 to 255.
        saturation: colour left in what is lit, 0 to 1.
        seed: places of lamps and windows.
    """

    ambient_lux: float
    ambient: Colour
    street_lux: float
    street: Colour
    spacing_m: float
    beam_candela: float
    beam: Colour
    windows: float
    sky: Colour
    traffic: float
    bloom: float
    mean_luma: float
    saturation: float
    seed: int


@dataclass(frozen=True)
class _Kind:
    """Ranges of one kind of night."""

    ambient_lux: tuple[float, float]
    street_lux: tuple[float, float]
    windows: tuple[float, float]
    sky: tuple[float, float]
    mean_luma: tuple[float, float]
    ambient: Colour


_KINDS = {
    "dusk": _Kind((15, 50), (0, 10), (0.05, 0.3), (0.3, 0.9), (55, 95), (0.75, 0.9, 1.15)),
    "city": _Kind((1, 5), (12, 45), (0.15, 0.6), (0.003, 0.05), (48, 95), (1.0, 0.85, 0.7)),
    "suburb": _Kind((0.3, 2), (5, 15), (0.03, 0.2), (0.003, 0.05), (26, 60), (1.0, 0.85, 0.7)),
    "unlit": _Kind((0.02, 0.4), (0, 0), (0.0, 0.06), (0.0, 0.01), (5, 28), (0.8, 0.9, 1.1)),
}


def draw_night(rng: np.random.Generator, strength: float, kind: str | None = None) -> Night:
    """Draw a night from dusk (strength 0) over lit streets to an unlit road (1)."""
    if kind is None:
        place = np.clip(strength + rng.normal(0, 0.12), 0.0, 0.999)
        kind = ("dusk", "city", "city", "city", "suburb", "unlit")[int(6 * place)]
    ranges = _KINDS[kind]

    def between(bounds: tuple[float, float]) -> float:
        return float(rng.uniform(*bounds))

    street = LAMP_COLOURS[list(LAMP_COLOURS)[int(rng.choice(5, p=[0.4, 0.22, 0.2, 0.13, 0.05]))]]
    balance = rng.uniform(0.0, 0.35)  # how far the camera corrects the lamps' colour
    sky = np.array(ranges.ambient) * (0.5 + 0.5 * np.array(street)) * between(ranges.sky)
    return Night(
        ambient_lux=between(ranges.ambient_lux),
        ambient=ranges.ambient,
        street_lux=between(ranges.street_lux),
        street=_towards_white(street, balance),
        spacing_m=float(rng.uniform(18, 45)),
        beam_candela=float(rng.choice([0.3, 1.0]) * rng.uniform(2000, 14000)),
        beam=_towards_white(((1.0, 0.8, 0.55), (0.95, 1.0, 1.06))[int(rng.integers(2))], balance),
        windows=between(ranges.windows),
        sky=(float(sky[0]), float(sky[1]), float(sky[2])),
        traffic=float(rng.uniform(0.2, 0.9)),
        bloom=float(rng.uniform(0.1, 1.0) ** 2),
        mean_luma=between(ranges.mean_luma),
        saturation=float(rng.uniform(0.4, 1.0)),
        seed=int(rng.integers(1 << 30)),
    )


def _towards_white(colour: Colour, share: float) -> Colour:
    red, green, blue = (share + (1 - share) * channel for channel in colour)
    return red, green, blue


def render_night(
    image: UInt8Array,
    depth_m: Float32Array,
    night: Night,
    labels: UInt8Array | None = None,
    lights: Sequence[Lamp | SeenLight] = (),
) -> UInt8Array:
    """Show the scene at night: (H, W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB by day.
        depth_m: (H, W) float32 metres.
        night: the light.
        labels: (H, W) uint8 ids; windows, cars and sky are then found exactly.
        lights: lamps known to be in view (those of the street renderer fit); invented where none
            are given, which is not steady over a clip.
    """
    height, width = image.shape[:2]
    horizon = 0.45 if labels is None else horizon_of(labels)
    half = (width // 2, height // 2)
    near = floats(cv2.resize(depth_m, half, interpolation=cv2.INTER_NEAREST))
    lux, above = _illumination(night, near, horizon)
    paint = to_light(pixels(cv2.transform(even_out(image, 0.55), _pale(night.saturation))))
    sky = sky_matte(image, depth_m, labels)
    light = paint * cv2.resize(lux, (width, height), interpolation=cv2.INTER_LINEAR)
    dark = _night_sky(night, height, width, horizon)
    light = floats(cv2.blendLinear(dark, light, sky, 1.0 - sky))
    if night.windows > 0:
        shops = 1.0 + 1.2 * ((above > 0.3) & (above < 3.8)).astype(np.float32)
        small = pixels(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
        light += cv2.resize(_windows(small, near, night, labels, shops), (width, height))
    exposure = _exposure(light, night)
    light *= exposure
    lamps = [seen_lamp(light, (height, width), night.street) for light in lights]
    lamps = lamps or _lamps(night, horizon, labels)
    light += cv2.resize(glow(half[::-1], lamps, night.bloom, night.seed), (width, height))
    return to_image(light)


def _illumination(
    night: Night, depth_m: Float32Array, horizon: float
) -> tuple[Float32Array, Float32Array]:
    """Light on every pixel's surface, (h, w, 3) float32 lux, and its height, (h, w) metres."""
    height, width = depth_m.shape
    x, y = (np.arange(size, dtype=np.float32) + 0.5 for size in (width, height))
    across = (x[None, :] / width - 0.5) / FOCAL
    down = (y[:, None] / height - horizon) * height / width / FOCAL
    aside, above = across * depth_m, CAMERA_HEIGHT_M - down * depth_m
    # Low beam: a wide flat cone, cut off just under the horizon, falling with the square.
    cone = np.exp(-((across / 0.42) ** 2)) * (0.08 + 0.92 / (1.0 + np.exp(-(down - 0.015) / 0.02)))
    beam = night.beam_candela * cone / np.maximum(depth_m, 6.0) ** 2
    beam *= np.where(above < 0.3, 0.35, 1.0)  # the road lies almost along the beam
    phase = (depth_m / night.spacing_m + night.seed % 97 / 97.0) % 1.0 - 0.5
    pool = 0.18 + np.exp(-((phase / 0.2) ** 2))
    reach = np.exp(
        -np.maximum(above - 5.0, 0.0) / 3.0 - np.maximum(np.abs(aside) - 6.0, 0.0) / 9.0
    )
    street = night.street_lux * pool * reach
    layers = ((night.ambient_lux, night.ambient), (street, night.street), (beam, night.beam))
    channels = [floats(np.asarray(sum(lux * hue[c] for lux, hue in layers))) for c in range(3)]
    return floats(cv2.merge(channels)), floats(above)


def _night_sky(night: Night, height: int, width: int, horizon: float) -> Float32Array:
    """Glow of the town on the sky, strongest at the horizon: (H, W, 3) float32 lux."""
    white = night.ambient_lux + 0.6 * night.street_lux + 1.0
    rows = (np.arange(0, height, 4, dtype=np.float32) / max(1.0, horizon * height)).clip(0, 1)
    shape = (len(rows), width // 4)
    field = (0.35 + 0.65 * rows[:, None] ** 1.5) * (0.6 + 0.8 * clouds(shape, night.seed, 0.4))
    layers = cv2.merge([field * np.float32(white * channel) for channel in night.sky])
    return floats(cv2.resize(layers, (width, height)))


def _windows(
    image: UInt8Array,
    depth_m: Float32Array,
    night: Night,
    labels: UInt8Array | None,
    shops: Float32Array,
) -> Float32Array:
    """Light out of houses, more of it at street level: (H, W, 3) float32 lux."""
    if labels is not None:
        small = cv2.resize(labels, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        houses = class_mask(pixels(small), "building")
    else:
        houses = ((depth_m > 6.0) & (depth_m < 150.0)).astype(np.float32)
        houses[len(houses) // 2 :] = 0.0
    houses *= shops * np.float32(12.0 * night.windows**0.5)
    return lit_windows(image, houses, night.seed, night.windows)


def _exposure(light: Float32Array, night: Night) -> float:
    """Factor that brings the picture's mean to the exposure the camera aims at."""
    small = cv2.resize(light, (48, 36), interpolation=cv2.INTER_AREA)
    shown = float(np.sqrt(small).mean())
    return (night.mean_luma / 255.0 / max(shown, 1e-4)) ** 2


def _lamps(night: Night, horizon: float, labels: UInt8Array | None) -> list[Lamp]:
    lamps = distant_lamps(night.seed + 1, horizon, int(14 * night.traffic))
    if night.street_lux > 0:
        lamps += street_lamps(night.seed, horizon, night.spacing_m, night.street)
    if labels is not None:
        lamps += car_lamps(night.seed + 2, labels, night.traffic)
    return lamps


def _pale(saturation: float) -> Float32Array:
    """Colour matrix: in little light the eye and the camera see less colour; lamps keep theirs."""
    grey = (1 - saturation) * np.array([0.3, 0.55, 0.15], np.float32)
    return np.asarray(saturation * np.eye(3) + grey, np.float32)
