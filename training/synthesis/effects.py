"""A state of the weather, shown on a picture effect by effect, as light meets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.city_rain import (
    CityRain,
    NoiseStreaks,
    render_city_rain,
    render_noise_streaks,
)
from training.synthesis.damage import Damage, render_damage
from training.synthesis.depth import estimate_depth
from training.synthesis.drops import Drops, drop_alpha, magnified_drops, render_drops
from training.synthesis.fog import Fog, render_fog
from training.synthesis.lamps import Lamp, SeenLight
from training.synthesis.lookup import NightLookup, render_night_lookup
from training.synthesis.metaballs import Metaballs, metaball_alpha, render_metaballs
from training.synthesis.night import Night, render_night
from training.synthesis.overcast import Overcast, render_overcast
from training.synthesis.pasted import (
    IrregularMask,
    Watermark,
    irregular_alpha,
    render_irregular_mask,
    render_watermark,
    watermark_alpha,
)
from training.synthesis.rain import Streaks, render_streaks
from training.synthesis.reflection import Reflection, render_reflection
from training.synthesis.scene import SKY_M, check_depth, check_picture, check_scene
from training.synthesis.sensor import Sensor, render_sensor
from training.synthesis.snow import Flakes, SnowCover, render_flakes, render_snow_cover
from training.synthesis.wet import WetRoad, render_wet_road

Effect = (
    CityRain | Damage | Drops | Flakes | Fog | IrregularMask | Metaballs | Night | NightLookup
    | NoiseStreaks | Overcast | Reflection | Sensor | SnowCover | Streaks | Watermark | WetRoad
)  # fmt: skip
_OF_THE_SCENE = (Night, Overcast, SnowCover, WetRoad)
"""Light and surfaces: what the best camera would still see through clean air and clean glass."""


@dataclass(frozen=True)
class State:
    """A weather: its effects in the order in which they are applied, far to near."""

    effects: tuple[Effect, ...] = ()


def magnified(state: State, zoom: float) -> State:
    """The state as it is seen in a part of the picture that is shown `zoom` times as large.

    Only `Drops` grow; everything else is drawn for the part as if it were a whole picture.
    """
    return State(
        tuple(
            magnified_drops(effect, zoom) if isinstance(effect, Drops) else effect
            for effect in state.effects
        )
    )


@dataclass(frozen=True)
class _Scene:
    """What an effect may look at besides the picture."""

    depth_m: Float32Array
    time_s: float
    labels: UInt8Array | None
    lights: Sequence[Lamp | SeenLight]
    reflected: UInt8Array | None


_RENDERERS: dict[type, Callable[[UInt8Array, Any, _Scene], UInt8Array]] = {
    CityRain: lambda i, e, s: render_city_rain(i, s.depth_m, e, s.time_s),
    Damage: lambda i, e, s: render_damage(i, e),
    Drops: lambda i, e, s: render_drops(i, e, s.time_s),
    Flakes: lambda i, e, s: render_flakes(i, s.depth_m, e, s.time_s),
    Fog: lambda i, e, s: render_fog(i, s.depth_m, e, s.time_s),
    IrregularMask: lambda i, e, s: render_irregular_mask(i, e),
    Metaballs: lambda i, e, s: render_metaballs(i, e),
    Night: lambda i, e, s: render_night(i, s.depth_m, e, s.labels, s.lights),
    NightLookup: lambda i, e, s: render_night_lookup(i, e),
    NoiseStreaks: lambda i, e, s: render_noise_streaks(i, e, s.time_s),
    Overcast: lambda i, e, s: render_overcast(i, s.depth_m, e, s.labels),
    Reflection: lambda i, e, s: render_reflection(i, e, s.reflected),
    Sensor: lambda i, e, s: render_sensor(i, e, s.time_s),
    SnowCover: lambda i, e, s: render_snow_cover(i, s.depth_m, e, s.labels),
    Streaks: lambda i, e, s: render_streaks(i, s.depth_m, e, s.time_s),
    Watermark: lambda i, e, s: render_watermark(i, e),
    WetRoad: lambda i, e, s: render_wet_road(i, s.depth_m, e, s.labels),
}
_ALPHAS: dict[type, Callable[[tuple[int, int], Any, float], Float32Array]] = {
    Drops: drop_alpha,
    IrregularMask: lambda shape, mask, time_s: irregular_alpha(shape, mask),
    Metaballs: lambda shape, drops, time_s: metaball_alpha(shape, drops),
    Watermark: lambda shape, watermark, time_s: watermark_alpha(shape, watermark),
}


def clear_view(state: State | Effect) -> State:
    """The state through clean air and clean glass: what a restoration network should give back.

    Light and surfaces stay (`Overcast`, `WetRoad`, `SnowCover`, `Night`); what hangs in the air,
    sticks to the glass, comes from the sensor or damages the picture goes.
    """
    return State(tuple(e for e in _effects(state) if isinstance(e, _OF_THE_SCENE)))


def occlusion(shape: tuple[int, int], state: State | Effect, time_s: float = 0.0) -> Float32Array:
    """How much of each pixel is hidden by what sticks to the glass or the picture.

    Args:
        shape: height and width of the picture.
        state: a whole weather, or one effect.
        time_s: time in the clip; drops slide with it.

    Returns:
        (H, W) float32, 0 (seen freely) to 1 (hidden); the exact alpha that `render` mixes with.
    """
    hidden = np.zeros(shape, np.float32)
    for effect in _effects(state):
        if type(effect) in _ALPHAS:
            hidden += (1.0 - hidden) * _ALPHAS[type(effect)](shape, effect, time_s)
    return hidden


def render(
    image: UInt8Array,
    depth_m: Float32Array,
    state: State | Effect,
    time_s: float = 0.0,
    labels: UInt8Array | None = None,
    lights: Sequence[Lamp | SeenLight] = (),
    *,
    reflected: UInt8Array | None = None,
) -> UInt8Array:
    """Show a clear picture in a weather. The same arguments always give the same picture.

    Args:
        image: (H, W, 3) uint8 RGB, clear.
        depth_m: (H, W) float32 metres along the camera's axis; infinite is sky. Holes (nan, 0 or
            less) are filled from `estimate_depth`.
        state: a whole weather from `draw`, or one effect.
        time_s: time in the clip; drops fall and fog drifts with it.
        labels: (H, W) uint8 ids of `adverse_perception.labels`, where known.
        lights: lamps in view, `Lamp` or the street renderer's; invented at night if empty.
        reflected: (h, w, 3) uint8 RGB of any size that a `Reflection` shows; without one, the
            picture itself, turned over.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SynthesisError: the arrays do not fit together.
    """
    check_depth(depth_m)
    check_scene(image, depth_m, labels)
    if reflected is not None:
        check_picture("reflected", reflected)
    scene = _Scene(_filled(image, depth_m, labels), time_s, labels, lights, reflected)
    for effect in _effects(state):
        image = _RENDERERS[type(effect)](image, effect, scene)
    return image


def _effects(state: State | Effect) -> tuple[Effect, ...]:
    return state.effects if isinstance(state, State) else (state,)


def _filled(image: UInt8Array, depth_m: Float32Array, labels: UInt8Array | None) -> Float32Array:
    """Depth of every pixel, at most `SKY_M`: what stereo leaves open is guessed."""
    depth = np.minimum(np.asarray(depth_m, np.float32), np.float32(SKY_M))
    known = depth > 0  # also false for nan
    return depth if known.all() else np.where(known, depth, estimate_depth(image, labels))
