"""The sample drive: 40 s along a street, from clear weather through rain and fog into night.

Example:
    >>> [frame.weather.value for frame in frames(rate_hz=0.1, size=(64, 48))]
    ['clear', 'rain', 'fog', 'night']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array, Weather
from training.street import Camera, Light, Street, View
from training.synthesis import State, draw, render
from training.synthesis.lamps import Lamp

SECONDS = 40.0
SCHEDULE = (Weather.CLEAR, Weather.RAIN, Weather.FOG, Weather.NIGHT)
"""Weathers in the order in which they come; each lasts equally long."""
STRENGTHS = {
    Weather.CLEAR: (0.0, 0.0),
    Weather.RAIN: (0.6, 0.8),
    Weather.FOG: (0.5, 0.7),
    Weather.NIGHT: (0.5, 0.7),
}

_CHANGE_S = 1.0  # how long one weather takes to turn into the next
_STREET = 0x5EED
_LAMPS: dict[str, tuple[tuple[float, float, float], float, float]] = {
    # kind: colour, radius in metres, power against a white surface
    "street_lamp": ((1.0, 0.78, 0.5), 0.16, 6.0),
    "head_lamp": ((1.0, 0.95, 0.85), 0.09, 6.0),
    "tail_lamp": ((1.0, 0.07, 0.04), 0.09, 1.8),
    "red_light": ((1.0, 0.1, 0.05), 0.1, 2.5),
    "amber_light": ((1.0, 0.6, 0.1), 0.1, 2.5),
    "green_light": ((0.2, 1.0, 0.6), 0.1, 2.5),
}


@dataclass(frozen=True)
class DriveFrame:
    """One picture of the drive and everything that is known about it.

    Attributes:
        image: (H, W, 3) uint8 RGB, with the weather.
        labels: (H, W) uint8 class ids.
        depth_m: (H, W) float32 metres along the axis of view; infinite in the sky.
        flow: (H, W, 2) float32 pixels (x, y) to where the surface lies one frame later.
        weather: what the weather is; halfway through a change it is the coming one.
        stamp_s: seconds since the drive began.
    """

    image: UInt8Array
    labels: UInt8Array
    depth_m: Float32Array
    flow: Float32Array
    weather: Weather
    stamp_s: float


@dataclass(frozen=True)
class Drive:
    """A drive whose frames can be looked at in any order.

    Attributes:
        street: where it leads.
        states: how each weather looks.
        seconds: how long it takes.
    """

    street: Street
    states: Mapping[Weather, State]
    seconds: float = SECONDS

    @classmethod
    def draw(
        cls, seed: int = 0, size: tuple[int, int] = (480, 360), seconds: float = SECONDS
    ) -> Drive:
        """Draw a drive.

        Args:
            seed: the same seed is the same drive.
            size: picture (width, height) in pixels.
            seconds: how long it takes; the weathers share it equally.
        """
        camera = Camera(*size, focal=0.9, mount_m=1.4, pitch_deg=0.6)
        rng = np.random.default_rng((seed, _STREET))
        states = {weather: draw(weather, rng, STRENGTHS[weather]) for weather in SCHEDULE}
        return cls(Street.draw(seed + _STREET, camera), states, seconds)

    def frame(self, stamp_s: float, dt_s: float = 1 / 15) -> DriveFrame:
        """The picture at one moment; its flow leads to the moment `dt_s` later."""
        view = self.street.render(stamp_s, dt_s)
        before, after, share = self._weathers(stamp_s)
        image = self.in_weather(before, view, stamp_s)
        if share > 0:
            image = _mix(image, self.in_weather(after, view, stamp_s), share)
        weather = after if share >= 0.5 else before
        return DriveFrame(image, view.labels, view.depth_m, view.flow, weather, stamp_s)

    def _weathers(self, stamp_s: float) -> tuple[Weather, Weather, float]:
        """The weather, the next one, and how far the one has turned into the other, 0 to 1."""
        each = self.seconds / len(SCHEDULE)
        change = min(_CHANGE_S, each / 4)
        current = min(int((stamp_s + change / 2) / each), len(SCHEDULE) - 1)
        share = (stamp_s + change / 2 - current * each) / change
        if current == 0 or share >= 1:
            return SCHEDULE[current], SCHEDULE[current], 0.0
        return SCHEDULE[current - 1], SCHEDULE[current], share

    def in_weather(self, weather: Weather, view: View, stamp_s: float) -> UInt8Array:
        """A view of the street as the drive's weather shows it: (H, W, 3) uint8 RGB."""
        if not self.states[weather].effects:
            return view.image
        lamps = _lamps(view) if weather is Weather.NIGHT else ()
        return render(view.image, view.depth_m, self.states[weather], stamp_s, view.labels, lamps)


def frames(
    rate_hz: float = 15.0,
    size: tuple[int, int] = (480, 360),
    seed: int = 0,
    seconds: float = SECONDS,
) -> Iterator[DriveFrame]:
    """Look at a whole drive, frame after frame.

    Args:
        rate_hz: pictures per second.
        size: picture (width, height) in pixels.
        seed: which drive.
        seconds: how long it takes.
    """
    drive = Drive.draw(seed, size, seconds)
    for number in range(max(1, round(seconds * rate_hz))):
        yield drive.frame(number / rate_hz, 1 / rate_hz)


def _mix(before: UInt8Array, after: UInt8Array, share: float) -> UInt8Array:
    return np.asarray(cv2.addWeighted(before, 1 - share, after, share, 0), np.uint8)


def _lamps(view: View) -> tuple[Lamp, ...]:
    """The street's lamps as the night knows them."""
    height, width = view.labels.shape
    return tuple(_lamp(light, width, height) for light in view.lights if light.kind in _LAMPS)


def _lamp(light: Light, width: int, height: int) -> Lamp:
    colour, radius_m, power = _LAMPS[light.kind]
    dimmed = power * min(1.0, 60.0 / light.depth_m)
    return Lamp(light.x / width, light.y / height, radius_m * 0.9 / light.depth_m, colour, dimmed)
