"""The weather of the whole car: night and fog by the majority of its cameras, drops by each.

Night falls and fog lies on every camera alike, so one camera that says otherwise is mistaken: it
is covered, dazzled, or looks into a tunnel. Rain on the glass is each camera's own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from adverse_perception.frames import Condition, Weather

SHARED = (Weather.FOG, Weather.NIGHT)
"""Weathers that all cameras of a car are in together; the others are each camera's own."""
FRESH_S = 5.0
"""What a camera has said longer ago than this, or ahead, by the stamps, no longer counts."""


@dataclass(frozen=True)
class _Opinion:
    weather: Weather
    stamp_ns: int


class Vote:
    """What the cameras of one car say of the weather. Safe between threads.

    A shared weather begins when more than half of the cameras that have looked lately are in it,
    and ends when less than half still are; a tie changes nothing. One camera alone is its own
    majority. A camera in rain keeps its own route, and counts among those in no shared weather.
    """

    def __init__(self) -> None:
        """Begin with a car of which nothing is known."""
        self._opinions: dict[str, _Opinion] = {}
        self._held: Weather | None = None
        self._lock = threading.Lock()

    def cast(self, camera: str, alone: Condition, stamp_ns: int) -> Condition:
        """Take what one camera makes of a frame by itself, and give what the car makes of it.

        Args:
            camera: its name.
            alone: what it says by itself.
            stamp_ns: of the frame.

        Returns:
            The condition whose route the frame is to take; `alone` of it says what the camera
            would have said where it was outvoted.
        """
        with self._lock:
            self._opinions[camera] = _Opinion(alone.weather, stamp_ns)
            self._count(stamp_ns)
            held = self._held
        weather = Weather.RAIN if alone.weather is Weather.RAIN else held or _own(alone)
        if weather is alone.weather:
            return alone
        return replace(alone, weather=weather, alone=alone.weather)

    def withdraw(self, camera: str) -> None:
        """Forget what a camera has said."""
        with self._lock:
            self._opinions.pop(camera, None)
            if not self._opinions:
                self._held = None

    def _count(self, now_ns: int) -> None:
        fresh = [
            opinion.weather
            for opinion in self._opinions.values()
            if abs(opinion.stamp_ns - now_ns) <= FRESH_S * 1e9
        ]
        if self._held and 2 * fresh.count(self._held) < len(fresh):
            self._held = None
        for weather in SHARED:
            if 2 * fresh.count(weather) > len(fresh):
                self._held = weather


def _own(alone: Condition) -> Weather:
    """The best of the weathers that a camera decides by itself."""
    if alone.weather not in SHARED:
        return alone.weather
    own = [weather for weather in Weather if weather not in SHARED]
    return max(own, key=lambda weather: alone.scores.get(weather, 0.0))
