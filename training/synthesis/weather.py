"""Whole weathers: which effects come together, how strong, and in which order light meets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.city_rain import draw_city_rain, draw_noise_streaks
from training.synthesis.depth import estimate_depth
from training.synthesis.drops import draw_drops
from training.synthesis.effects import Effect, State, render
from training.synthesis.fog import Fog, draw_fog, tint
from training.synthesis.lookup import draw_night_lookup
from training.synthesis.metaballs import draw_metaballs
from training.synthesis.night import draw_night
from training.synthesis.overcast import Overcast, draw_overcast
from training.synthesis.rain import Streaks, draw_streaks, rain_visibility_m
from training.synthesis.reflection import draw_plain_reflection, draw_reflection
from training.synthesis.regular import REGULAR, TID
from training.synthesis.scene import SynthesisError, check_scene
from training.synthesis.sensor import draw_sensor
from training.synthesis.snow import draw_flakes, draw_snow_cover
from training.synthesis.wet import draw_wet_road


def _clear(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    return ()


def _fog(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    fog = draw_fog(rng, strength)
    light = replace(draw_overcast(rng, 0.4 * strength), sky=fog.airlight)
    if sum(fog.airlight) < 330:  # dawn and dusk: the scene is as dim as its air
        light = replace(light, gain=0.55)
    effects: list[Effect] = [light]
    if rng.random() < 0.3:
        effects.append(draw_wet_road(rng, 0.3))
    effects.append(fog)
    if rng.random() < 0.3:
        effects.append(draw_sensor(rng, rng.uniform(0, 0.6)))
    return tuple(effects)


def _rain(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    streaks = draw_streaks(rng, strength)
    light = draw_overcast(rng, 0.3 + 0.7 * strength)
    streaks = replace(streaks, brightness=float(np.mean(light.sky)))
    effects: list[Effect] = [light, draw_wet_road(rng, 0.2 + 0.8 * strength)]
    effects.append(_veil(rng, streaks, light))
    falls = rng.random() < 0.8
    if falls:
        effects.append(streaks)
    if not falls or rng.random() < 0.5:  # rain that is seen neither in the air nor on the glass
        effects.append(draw_drops(rng, strength))  # would be nothing but a wet fog
    if rng.random() < 0.4:
        effects.append(draw_sensor(rng, rng.uniform(0, 0.7)))
    return tuple(effects)


def _veil(rng: np.random.Generator, streaks: Streaks, light: Overcast) -> Fog:
    """Rain's own extinction, often with mist and spray in it."""
    mist = float(np.exp(rng.uniform(np.log(0.12), 0.0)))
    return Fog(
        visibility_m=max(60.0, rain_visibility_m(streaks.rain_mm_per_h) * mist),
        airlight=tint(rng, light.sky, 0.08),
        patchiness=float(rng.uniform(0, 0.6)),
        seed=int(rng.integers(1 << 30)),
    )


def _night(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    night = draw_night(rng, strength)
    effects: list[Effect] = [night]
    air = (
        0.35
        * night.mean_luma
        * np.array(night.street if night.street_lux > 0 else night.ambient, np.float32)
    )
    if rng.random() < 0.35:
        effects.append(draw_wet_road(rng, rng.uniform(0.2, 1.0)))
        if rng.random() < 0.6:
            streaks = draw_streaks(rng, rng.uniform(0.0, 0.9))
            light = replace(draw_overcast(rng, 0.5), sky=tint(rng, air, 0.2))
            effects.append(_veil(rng, streaks, light))
            effects.append(replace(streaks, brightness=float(night.mean_luma * 1.6)))
        if rng.random() < 0.5:
            effects.append(draw_drops(rng, rng.uniform(0.0, 0.8)))
    elif rng.random() < 0.12:
        fog = draw_fog(rng, rng.uniform(0.2, 0.7))
        effects.append(replace(fog, airlight=tint(rng, air * 1.6, 0.2)))
    effects.append(draw_sensor(rng, rng.uniform(0.2, 1.0)))
    return tuple(effects)


def _snow(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    light = draw_overcast(rng, 0.5 * strength)
    light = replace(light, gain=0.5 + 0.5 * light.gain)
    effects: list[Effect] = [light]
    if rng.random() < 0.4:
        effects.append(draw_wet_road(rng, rng.uniform(0.1, 0.7)))
    if rng.random() < 0.85:
        effects.append(draw_snow_cover(rng, strength))
    snowfall = rng.random() < 0.75
    visibility = np.exp(rng.uniform(np.log(150), np.log(3000))) * (0.5 if snowfall else 2.0)
    effects.append(Fog(float(visibility), tint(rng, light.sky, 0.06), seed=light.seed))
    if snowfall:
        effects.append(draw_flakes(rng, strength))
    if rng.random() < 0.2:
        effects.append(draw_drops(rng, 0.4 * strength))
    return tuple(effects)


def _drops(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    if rng.random() < 0.6:
        effects.append(draw_overcast(rng, 0.5 * strength))
    if rng.random() < 0.25:
        effects.append(draw_streaks(rng, rng.uniform(0.0, 0.3)))
    drops = draw_drops(rng, 0.3 + 0.7 * strength)  # here they are the weather: more and larger
    effects.append(replace(drops, radius=1.5 * drops.radius))
    return tuple(effects)


def _metaballs(rng: np.random.Generator, strength: float) -> tuple[Effect, ...]:
    drops = draw_metaballs(rng, strength)
    return (draw_noise_streaks(rng, strength), drops) if rng.random() < 0.5 else (drops,)


def _alone(
    draw_effect: Callable[[np.random.Generator, float], Effect],
) -> Callable[[np.random.Generator, float], tuple[Effect, ...]]:
    return lambda rng, strength: (draw_effect(rng, strength),)


Recipe = Callable[[np.random.Generator, float], tuple[Effect, ...]]
"""From chance and strength, 0 to 1, to effects in the order in which light meets them."""

WEATHERS: dict[str, Recipe] = {
    "clear": _clear,
    "rain": _rain,
    "fog": _fog,
    "night": _night,
    "snow": _snow,
    "drops": _drops,
    "reflection": _alone(draw_reflection),
}
"""By name. Mixtures are inside: rain brings wet road, mist and drops; night may be wet, rainy or
foggy and is still called night. Snow, drops and reflection are no conditions of the classifier:
they teach segmentation and restoration, which meet them on real roads."""

OTHER_GENERATORS: dict[str, Recipe] = {
    "rain_cityscapes": _alone(draw_city_rain),
    "metaball_drops": _metaballs,
    "plain_reflection": _alone(draw_plain_reflection),
    "night_lookup": _alone(draw_night_lookup),
}
"""The same weathers by methods that share nothing with ours: never train on them, test on them.
Fog's is `foggy_cityscapes`, which looks at the picture."""

EFFECTS: dict[str, Recipe] = {
    "Overcast": _alone(draw_overcast),
    "WetRoad": _alone(draw_wet_road),
    "SnowCover": _alone(draw_snow_cover),
    "Night": _alone(draw_night),
    "Fog": _alone(draw_fog),
    "Streaks": _alone(draw_streaks),
    "Flakes": _alone(draw_flakes),
    "Drops": _alone(draw_drops),
    "Sensor": _alone(draw_sensor),
}
"""Each effect alone, by the name of its class."""


def draw(
    weather: str, rng: np.random.Generator, strength: tuple[float, float] = (0.0, 1.0)
) -> State:
    """Draw a weather.

    Args:
        weather: a member of `adverse_perception.frames.Weather`, or a name of `WEATHERS`,
            `OTHER_GENERATORS`, `EFFECTS`, `REGULAR` or `TID`.
        rng: source of all chance.
        strength: range from which the strength is drawn, 0 (light) to 1 (heavy); degradations
            with levels give each an equal part of it.

    Raises:
        SynthesisError: unknown weather, or a range outside 0 to 1.
    """
    name = str(getattr(weather, "value", weather))
    if name not in _DRAWN:
        raise SynthesisError(f"weather: expected one of {', '.join(_DRAWN)}, found {name!r}")
    if not 0.0 <= strength[0] <= strength[1] <= 1.0:
        raise SynthesisError(f"strength: expected 0 <= low <= high <= 1, found {strength}")
    return State(_DRAWN[name](rng, float(rng.uniform(*strength))))


_DRAWN: dict[str, Recipe] = {**WEATHERS, **OTHER_GENERATORS, **EFFECTS, **REGULAR, **TID}


def degrade(
    image: UInt8Array,
    weather: str,
    rng: np.random.Generator,
    depth_m: Float32Array | None = None,
    labels: UInt8Array | None = None,
    strength: tuple[float, float] = (0.0, 1.0),
    *,
    reflected: UInt8Array | None = None,
) -> UInt8Array:
    """Draw a weather and show a clear picture in it; depth is estimated where there is none.

    Args:
        image: (H, W, 3) uint8 RGB, clear.
        weather: any name that `draw` knows.
        rng: source of all chance.
        depth_m: (H, W) float32 metres, if known.
        labels: (H, W) uint8 ids of `adverse_perception.labels`, if known; they make it better.
        strength: range of strengths, 0 (light) to 1 (heavy).
        reflected: (h, w, 3) uint8 RGB that a window shows, for "reflection".

    Returns:
        (H, W, 3) uint8 RGB, the same geometry, so that labels stay true.
    """
    check_scene(image, depth_m, labels)
    state = draw(weather, rng, strength)
    if not state.effects:
        return image.copy()
    depth = estimate_depth(image, labels) if depth_m is None else depth_m
    return render(image, depth, state, labels=labels, reflected=reflected)
