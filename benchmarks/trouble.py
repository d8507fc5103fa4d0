"""What befalls the node in a reliability run: drawn once from a seed, then played."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adverse_perception.frames import Weather

QUIET_S = 6.0
"""The run ends with this much of peace, so that everything must have come to rest."""
_PAUSE_S = (0.3, 1.0)
_WATCHED = ("confidence", "color", "overlay", "restored")
_WEATHERS = (*Weather, Weather.CLEAR, Weather.CLEAR)
"""Clear as often as all others together: only in it are key frames carried on."""
_PICTURES = 8
"""An engine fails on this many pictures in a row, at most."""
_FAILS = ((0,), (1,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2))
"""Colours of the corner: the clear engine, the others and the correction, the weather engine,
several at once."""
PARAMETERS: Mapping[str, Sequence[Any]] = {
    "classifier_interval": (1, 3, 5),
    "smoothing_s": (0.0, 0.3, 0.6),
    "switch_margin": (0.1, 0.3, 0.5),
    "hold_s": (0.0, 0.5),
    "keyframe_interval": (1, 2, 2, 5),
    "condition": ("auto", "auto", "auto", "clear", "clear", "rain", "night"),
    "overlay_opacity": (0.2, 0.8),
    "silent_after_s": (1.0, 3.0),
}
REFUSED: Mapping[str, Any] = {"threads": 7, "smoothing_s": 1e6, "condition": "snow"}
"""Values that the node must refuse while it runs."""


@dataclass(frozen=True)
class Event:
    """One thing that happens: when, to which camera, and what belongs to it.

    Attributes:
        at_s: seconds after the start.
        kind: see `KINDS`; a camera that leaves `come`s back.
        camera: empty where it concerns all.
        value: size, weather, colours and count, (name, value), or (topic, seconds), by kind.
    """

    at_s: float
    kind: str
    camera: str = ""
    value: Any = None


def plan(
    seed: int, duration_s: float, cameras: Sequence[str], sizes: Sequence[tuple[int, int]]
) -> list[Event]:
    """Draw everything that happens, in order; every kind comes equally often.

    Args:
        seed: the same one draws the same.
        duration_s: of the run.
        cameras: their names.
        sizes: sizes that a camera may come back with, (width, height).
    """
    chance = random.Random(seed)
    events = [Event(0.0, "come", camera, chance.choice(sizes)) for camera in cameras]
    back_s = dict.fromkeys(cameras, 0.0)
    at_s = 2.0
    for kind in _shuffled(chance):
        at_s += chance.uniform(*_PAUSE_S)
        if at_s > duration_s - QUIET_S:
            break
        here = [camera for camera in cameras if back_s[camera] <= at_s]
        if not here:
            continue
        camera = chance.choice(here)
        events += KINDS[kind](chance, at_s, camera)
        if kind == "leave":
            back_s[camera] = at_s + chance.uniform(0.5, 3.0)
            events.append(Event(back_s[camera], "come", camera, chance.choice(sizes)))
    rest = Event(duration_s - QUIET_S, "parameter", value=("condition", "auto"))
    return sorted([*events, rest], key=lambda event: event.at_s)


def _shuffled(chance: random.Random) -> Iterator[str]:
    """The kinds again and again, each time in another order."""
    while True:
        yield from chance.sample(list(KINDS), len(KINDS))


def _weather(chance: random.Random, at_s: float, camera: str) -> list[Event]:
    where = chance.choice((camera, ""))
    return [Event(at_s, "weather", where, chance.choice(_WEATHERS))]


def _fail(chance: random.Random, at_s: float, camera: str) -> list[Event]:
    value = chance.choice(_FAILS), chance.randint(1, _PICTURES)
    return [Event(at_s, "fail", camera, value)]


def _parameter(chance: random.Random, at_s: float, camera: str) -> list[Event]:
    name = chance.choice(list(PARAMETERS))
    return [Event(at_s, "parameter", value=(name, chance.choice(PARAMETERS[name])))]


def _refusal(chance: random.Random, at_s: float, camera: str) -> list[Event]:
    return [Event(at_s, "refused", value=chance.choice(list(REFUSED.items())))]


def _listen(chance: random.Random, at_s: float, camera: str) -> list[Event]:
    value = chance.choice(_WATCHED), chance.uniform(1.0, 6.0)
    return [Event(at_s, "listen", camera, value)]


def _plain(kind: str) -> Callable[[random.Random, float, str], list[Event]]:
    return lambda chance, at_s, camera: [Event(at_s, kind, camera)]


KINDS: Mapping[str, Callable[[random.Random, float, str], list[Event]]] = {
    "leave": _plain("leave"),
    "weather": _weather,
    "fail": _fail,
    "spoilt": _plain("spoilt"),
    "late": _plain("late"),
    "parameter": _parameter,
    "refused": _refusal,
    "listen": _listen,
}
"""What can happen: a camera leaves and comes back with another size; its weather changes, or that
of all; it sends pictures that engines fail on, half a picture, or one that is too late; a
parameter is changed, or asked for what must be refused; somebody listens to a topic for a while.
"""
