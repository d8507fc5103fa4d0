"""What the synthesis promises: exact effects, untouched geometry, the same picture again."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from adverse_perception.frames import Weather
from adverse_perception.labels import CLASS_ID
from training.synthesis import (
    SKY_M,
    WEATHERS,
    SynthesisError,
    degrade,
    draw,
    estimate_depth,
    render,
)
from training.synthesis.drops import Drops, drop_alpha
from training.synthesis.fog import Fog, transmission
from training.synthesis.lamps import Lamp
from training.synthesis.night import Night, draw_night
from training.synthesis.rain import Streaks, fall_speed_m_s
from training.synthesis.sensor import Sensor
from training.synthesis.snow import Flakes, SnowCover
from training.synthesis.wet import WetRoad

H, W = 144, 192
BAD = sorted(set(WEATHERS) - {"clear"})


def street() -> tuple[np.ndarray, np.ndarray]:
    """Sky, houses on both sides, pavement, road, a car."""
    labels = np.full((H, W), CLASS_ID["sky"], np.uint8)
    left = np.array([[0, 10], [80, 60], [80, 70], [0, 120]])
    for side in (left, [W - 1, 0] + left * [-1, 1]):
        cv2.fillPoly(labels, [side], CLASS_ID["building"])
    ground = np.array([[0, H - 1], [0, 120], [85, 68], [W - 86, 68], [W - 1, 120], [W - 1, H - 1]])
    cv2.fillPoly(labels, [ground], CLASS_ID["pavement"])
    road = np.array([[20, H - 1], [88, 68], [W - 89, 68], [W - 21, H - 1]])
    cv2.fillPoly(labels, [road], CLASS_ID["road"])
    labels[85:105, 100:130] = CLASS_ID["car"]
    colours = np.random.default_rng(5).integers(60, 200, (256, 3)).astype(np.uint8)
    colours[CLASS_ID["sky"]] = (150, 190, 240)
    grain = np.random.default_rng(6).integers(-20, 20, (H, W, 1))
    return np.clip(colours[labels] + grain, 0, 255).astype(np.uint8), labels


IMAGE, LABELS = street()
DEPTH = estimate_depth(IMAGE, LABELS)


@pytest.mark.parametrize("weather", BAD)
def test_weather_changes_the_picture_but_not_its_geometry(weather: str) -> None:
    before = IMAGE.copy()
    shown = degrade(IMAGE, weather, np.random.default_rng(1), labels=LABELS, strength=(0.5, 0.9))
    assert shown.shape == IMAGE.shape and shown.dtype == np.uint8
    changed = np.abs(shown.astype(int) - IMAGE).max(axis=2) > 12
    assert changed.mean() > (0.015 if weather == "drops" else 0.25)  # drops leave gaps
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("weather", BAD)
def test_same_draw_gives_the_same_picture(weather: str) -> None:
    first = degrade(IMAGE, weather, np.random.default_rng(2), labels=LABELS)
    np.testing.assert_array_equal(
        degrade(IMAGE, weather, np.random.default_rng(2), labels=LABELS), first
    )
    other = degrade(IMAGE, weather, np.random.default_rng(3), labels=LABELS)
    assert not np.array_equal(other, first)


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("shape", [(97, 131), (48, 64), (200, 640)])
def test_any_size_with_and_without_labels(weather: str, shape: tuple[int, int]) -> None:
    image = cv2.resize(IMAGE, shape[::-1])
    labels = cv2.resize(LABELS, shape[::-1], interpolation=cv2.INTER_NEAREST)
    for seed, given in enumerate((labels, None)):
        shown = degrade(image, weather, np.random.default_rng(seed), labels=given)
        assert shown.shape == (*shape, 3)


def test_weather_is_named_or_a_condition() -> None:
    named, condition = (draw(name, np.random.default_rng(1)) for name in ("fog", Weather.FOG))
    assert named == condition


def test_clear_leaves_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(degrade(IMAGE, "clear", np.random.default_rng(0)), IMAGE)


def test_fog_leaves_a_twentieth_of_the_light_at_its_visibility() -> None:
    depth = np.full((H, W), 150.0, np.float32)
    share = transmission(Fog(visibility_m=150.0), depth)
    assert share[H // 2, W // 2] == pytest.approx(0.05, rel=0.01)
    assert share[0, 0] < share[H // 2, W // 2]  # longer way along the ray to the corner


@pytest.mark.parametrize(("beta", "visibility"), [(0.005, 600), (0.01, 300), (0.02, 150)])
def test_fog_has_foggy_cityscapes_densities(beta: float, visibility: float) -> None:
    depth = np.full((3, 3), 80.0, np.float32)
    share = transmission(Fog(visibility_m=visibility), depth)[1, 1]
    assert share == pytest.approx(np.exp(-beta * 80.0), rel=0.02)


def test_fog_hides_the_far_more_than_the_near() -> None:
    shown = render(IMAGE, DEPTH, Fog(100.0, (200.0, 200.0, 200.0)))
    changed = np.abs(shown.astype(int) - 200).mean(axis=2)
    assert changed[DEPTH > 100].mean() < 0.3 * changed[DEPTH < 8].mean()


def test_fog_drifts_steadily_with_time() -> None:
    fog = Fog(60.0, patchiness=0.9, wind_m_s=5.0, seed=3)
    now, soon, later = (render(IMAGE, DEPTH, fog, t).astype(int) for t in (0.0, 0.04, 3.0))
    assert 0 < np.abs(soon - now).mean() < 0.3 * np.abs(later - now).mean()


def test_streaks_fall() -> None:
    black, far = np.zeros((H, W, 3), np.uint8), np.full((H, W), SKY_M, np.float32)
    rain = Streaks(rain_mm_per_h=5.0, exposure_s=1 / 200, seed=1)
    now, soon = (render(black, far, rain, t)[..., 0].astype(np.float32) for t in (0.0, 0.002))
    down = cv2.phaseCorrelate(cv2.blur(now, (5, 5)), cv2.blur(soon, (5, 5)))[0][1]
    assert 0.0 < down < 2.0 * fall_speed_m_s(5.0) * 0.002 * 0.8 * W / 2.5
    assert soon.mean() == pytest.approx(now.mean(), rel=0.25)


def test_more_rain_shows_more_streaks() -> None:
    black, far = np.zeros((H, W, 3), np.uint8), np.full((H, W), SKY_M, np.float32)
    light, heavy = (render(black, far, Streaks(rate)).mean() for rate in (1.0, 60.0))
    assert heavy > 2 * light > 0


def test_streaks_fall_behind_what_is_near() -> None:
    black = np.zeros((H, W, 3), np.uint8)
    near, far = (
        render(black, np.full((H, W), d, np.float32), Streaks(20.0)).mean() for d in (1.0, 500.0)
    )
    assert near == 0 < far


def test_drops_change_only_what_their_mask_says() -> None:
    drops = Drops(count=40, radius=0.02, seed=4)
    alpha = drop_alpha((H, W), drops)
    shown = render(IMAGE, DEPTH, drops)
    np.testing.assert_array_equal(shown[alpha == 0], IMAGE[alpha == 0])
    assert 0.01 < (alpha > 0.5).mean() < 0.6


def test_drops_show_the_scene_upside_down() -> None:
    halves = np.full((H, W, 3), 30, np.uint8)
    halves[: H // 2] = 220
    drops = Drops(count=30, radius=0.03, sliding=0.0, bend=0.45, seed=2)
    clear = drop_alpha((H, W), drops) > 0.9
    shown = render(halves, DEPTH, drops)
    upper = clear.copy()
    upper[H // 2 - 6 :] = False
    assert shown[upper].min() < 100  # dark road in the sky


def test_drops_stay_and_slide_over_a_clip() -> None:
    still = Drops(count=60, sliding=0.0, seed=1)
    np.testing.assert_array_equal(drop_alpha((H, W), still, 0.0), drop_alpha((H, W), still, 2.0))
    running = dataclasses.replace(still, sliding=0.5, slide=0.3)
    now, later = drop_alpha((H, W), running, 0.0), drop_alpha((H, W), running, 2.0)
    assert not np.array_equal(now, later)


def test_wet_road_leaves_everything_above_it() -> None:
    shown = render(IMAGE, DEPTH, WetRoad(wetness=1.0, puddles=0.5), labels=LABELS)
    ground = np.isin(LABELS, [CLASS_ID["road"], CLASS_ID["pavement"]]).astype(np.uint8)
    dry = cv2.dilate(ground, np.ones((5, 5), np.uint8)) == 0
    np.testing.assert_array_equal(shown[dry], IMAGE[dry])
    assert np.abs(shown.astype(int) - IMAGE)[ground > 0].mean() > 10


def night(kind: str, seed: int = 0) -> Night:
    return draw_night(np.random.default_rng(seed), 0.5, kind)


@pytest.mark.parametrize("kind", ["dusk", "city", "suburb", "unlit"])
def test_night_is_dark_and_its_sky_too(kind: str) -> None:
    shown = render(IMAGE, DEPTH, night(kind), labels=LABELS)
    assert shown.mean() < 0.75 * IMAGE.mean()
    if kind != "dusk":
        sky = CLASS_ID["sky"] == LABELS
        assert np.median(shown[sky]) < 0.4 * np.median(IMAGE[sky])


def test_nights_reach_from_dusk_to_an_unlit_road() -> None:
    means = [
        degrade(IMAGE, "night", np.random.default_rng(n), labels=LABELS, strength=(s, s)).mean()
        for s in (0.0, 1.0)
        for n in range(4)
    ]
    assert np.median(means[:4]) > 2 * np.median(means[4:])
    assert min(means) < 25


def test_night_shows_the_lamps_it_is_given() -> None:
    lamp = Lamp(0.5, 0.2, 0.01, (1.0, 0.9, 0.7), 8.0)
    shown = render(IMAGE, DEPTH, night("unlit"), labels=LABELS, lights=[lamp])
    assert shown[int(0.2 * H), W // 2].min() > 200


def test_night_takes_the_lights_of_the_street_renderer() -> None:
    street_room = pytest.importorskip("training.street")
    light = street_room.Light(x=40.0, y=30.0, depth_m=15.0, kind="red_light")
    shown = render(IMAGE, DEPTH, night("unlit"), labels=LABELS, lights=[light])
    assert shown[30, 40, 0] > 180 > shown[30, 40, 1]


def test_few_electrons_are_noisy() -> None:
    grey = np.full((H, W, 3), 60, np.uint8)
    clean, noisy = (render(grey, DEPTH, Sensor(electrons)).std() for electrons in (5000.0, 150.0))
    assert noisy > 3 * clean


def test_snow_whitens_the_ground_and_falls() -> None:
    dark = (IMAGE * 0.4).astype(np.uint8)
    shown = render(dark, DEPTH, SnowCover(cover=1.0, road=0.8, tracks=0.0), labels=LABELS)
    assert shown[CLASS_ID["pavement"] == LABELS].mean() > 150
    np.testing.assert_array_equal(shown[:8, 80:110], dark[:8, 80:110])
    flakes = [render(dark, DEPTH, Flakes(2.0), t) for t in (0.0, 0.1)]
    assert not np.array_equal(*flakes) and flakes[0].mean() > dark.mean()


def test_unknown_weather_and_strength_are_refused() -> None:
    with pytest.raises(SynthesisError, match=r"expected one of clear, .*found 'hail'"):
        draw("hail", np.random.default_rng(0))
    with pytest.raises(SynthesisError, match="strength"):
        draw("fog", np.random.default_rng(0), strength=(0.5, 2.0))
