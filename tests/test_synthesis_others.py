"""Generators kept for tests: each is the formula of its source, and no training sees it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.test_synthesis import DEPTH, IMAGE, LABELS, H, W
from training.synthesis import (
    OTHER_GENERATORS,
    SKY_M,
    WEATHERS,
    clear_view,
    degrade,
    draw,
    foggy_cityscapes,
    occlusion,
    render,
)
from training.synthesis.airlight import airlight_of, dark_channel, guided
from training.synthesis.city_rain import SETS, CityRain, NoiseStreaks, streak_layer
from training.synthesis.fog import transmission
from training.synthesis.lookup import NightLookup
from training.synthesis.metaballs import Metaballs

AIR = (180.0, 190.0, 200.0)
OTHERS = {CityRain, Metaballs, NightLookup, NoiseStreaks}
DARK = np.full((H, W, 3), 40, np.uint8)


def test_weathers_never_draw_another_generator() -> None:
    for name in WEATHERS:
        for seed in range(20):
            effects = draw(name, np.random.default_rng(seed)).effects
            assert not {type(e) for e in effects} & OTHERS
            assert all(getattr(e, "model", 2) == 2 for e in effects)


@pytest.mark.parametrize("name", OTHER_GENERATORS)
def test_other_generators_draw_any_size_again_and_again(name: str) -> None:
    for shape in ((16, 20), (97, 131)):
        image = cv2.resize(IMAGE, shape[::-1])
        first, again = (degrade(image, name, np.random.default_rng(3)) for _ in range(2))
        assert first.shape == image.shape
        np.testing.assert_array_equal(first, again)
    assert clear_view(draw(name, np.random.default_rng(0))).effects == ()


@pytest.mark.parametrize(("alpha", "beta", "drop_m"), SETS)
def test_city_rain_is_its_formula(alpha: float, beta: float, drop_m: float) -> None:
    rain = CityRain(alpha, beta, drop_m, AIR, pattern=3)
    depth = np.repeat(np.linspace(2, 150, W, dtype=np.float32)[None], H, axis=0)
    streaks = streak_layer(depth, rain)[..., None].astype(float)
    fog = 1.0 - np.exp(-beta * depth[..., None])
    expected = 255 * ((IMAGE / 255) * (1 - streaks - fog) + streaks + np.array(AIR) / 255 * fog)
    assert np.abs(render(IMAGE, depth, rain) - expected.clip(0, 255)).max() <= 1.0


def test_city_rain_streaks_fade_from_where_a_drop_is_a_pixel_wide() -> None:
    rain = CityRain(0.03, 0.015, 0.002)
    nearest = 2 * 2262 * 0.002
    layers = [streak_layer(np.full((H, W), d, np.float32), rain) for d in (2, nearest, 50)]
    assert 0.05 < layers[0].max() <= np.exp(-0.03 * nearest)
    np.testing.assert_allclose(layers[0], layers[1], rtol=1e-5)
    np.testing.assert_allclose(layers[2], layers[1] * np.exp(-0.03 * (50 - nearest)), rtol=1e-4)


@pytest.mark.parametrize("effect", [CityRain(airlight=AIR, fall=2.0), NoiseStreaks(fall=2.0)])
def test_streaks_of_other_generators_fall(effect: CityRain | NoiseStreaks) -> None:
    near = np.full((H, W), 5.0, np.float32)
    now, soon, later = (
        render(DARK, near, effect, t)[..., 0].astype(np.float32) for t in (0.0, 0.02, 1.3)
    )
    (_, down), sure = cv2.phaseCorrelate(now - now.mean(), soon - soon.mean())
    assert down == pytest.approx(2.0 * 0.02 * H, rel=0.3) and sure > 0.3
    assert later.mean() == pytest.approx(now.mean(), rel=0.2)


def test_metaballs_mix_by_their_exact_alpha() -> None:
    drops = Metaballs(count=60, radius_px=(20.0, 50.0), seed=2)
    alpha = occlusion((H, W), drops)
    shown = render(IMAGE, DEPTH, drops)
    np.testing.assert_array_equal(shown[alpha == 0], IMAGE[alpha == 0])
    assert 0.03 < (alpha > 0.99).mean() < 0.7 and alpha.min() >= 0 and alpha.max() <= 1
    np.testing.assert_array_equal(alpha, occlusion((H, W), drops, time_s=2.0))  # drops stay


def test_a_single_metaball_is_a_disc_of_its_radius_with_a_soft_edge() -> None:
    alpha = occlusion((512, 512), Metaballs(count=1, radius_px=(60.0, 60.0), seed=3))
    radius = 60.0 * 512 / 1024
    full = np.pi * radius**2
    assert 0.95 * full < (alpha > 0.999).sum() < 1.3 * full  # an egg is a little larger
    assert (alpha > 0).sum() < 1.3 * full / 0.7


def test_metaballs_show_the_scene_upside_down() -> None:
    halves = np.full((H, W, 3), 30, np.uint8)
    halves[: H // 2] = 220
    drops = Metaballs(count=40, radius_px=(40.0, 60.0), bend=0.45, seed=2)
    inside = occlusion((H, W), drops) > 0.99
    inside[H // 2 - 6 :] = False
    assert render(halves, DEPTH, drops)[inside].min() < 60  # dark road in the sky


def test_more_metaballs_hide_more() -> None:
    few, many = (occlusion((360, 480), Metaballs(count=n)).mean() for n in (100, 350))
    assert 0 < 2 * few < many < 0.2


def test_foggy_cityscapes_is_its_formula_on_an_even_picture() -> None:
    even = np.full((H, W, 3), 90, np.uint8)
    even[:20] = (200, 210, 220)  # the sky gives the air its colour
    depth = np.full((H, W), 80.0, np.float32)
    fog = foggy_cityscapes(even, 300.0)
    assert fog.airlight == (200.0, 210.0, 220.0)
    share = transmission(fog, depth)
    shown = render(even, depth, fog)[60:]
    expected = 90 * share[60:, :, None] + np.array(fog.airlight) * (1 - share[60:, :, None])
    assert np.abs(shown - expected).max() <= 1.5  # the guided filter evens the ray's slant


def test_airlight_is_the_median_grey_among_the_brightest_dark_channel() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[10:40, 10:60] = 220
    image[60, 60] = 255  # a lamp is bright, but what is about it is not
    greys = np.random.default_rng(0).integers(200, 240, (100, 100))
    image[10:40, 10:60] = greys[10:40, 10:60, None]
    dark = dark_channel(image)
    assert dark[60, 60] == 0 and dark[25, 30] == image[18:33, 23:38].min()
    brightest = np.argsort(dark.ravel())[-10:]
    among = image.reshape(-1, 3)[dark.ravel() >= dark.ravel()[brightest[0]]][:, 0]
    assert airlight_of(image)[0] in among


def test_a_guided_field_follows_the_picture_s_edge_and_keeps_what_is_even() -> None:
    image = np.zeros((40, 800, 3), np.uint8)
    image[:, 100:] = 200
    coarse = np.zeros((40, 800), np.float32)
    coarse[:, 104:] = 1.0  # depth that misses the edge by four pixels
    smooth = guided(coarse, image)
    jump = np.diff(smooth[30])
    assert int(np.argmax(jump)) == 99 and jump.max() > 0.2
    np.testing.assert_allclose(guided(coarse * 0 + 0.4, image), 0.4, atol=1e-4)


def test_night_lookup_darkens_every_colour_by_its_formula_and_nothing_else() -> None:
    kept = IMAGE.copy()
    shown = render(IMAGE, DEPTH, draw("night_lookup", np.random.default_rng(0)))
    expected = 255 * (IMAGE / 255) ** (1 / 0.35)
    assert np.abs(shown - expected).max() <= 0.5
    np.testing.assert_array_equal(IMAGE, kept)  # darkened once, and not in place


def test_foggy_cityscapes_hides_the_far_and_spares_the_near() -> None:
    depth = np.minimum(DEPTH, SKY_M)
    changes = []
    for visibility_m in (600.0, 150.0):
        fog = foggy_cityscapes(IMAGE, visibility_m)
        shown = render(IMAGE, depth, fog, labels=LABELS).astype(int)
        far, near = (depth > 60) & (depth < 300), depth < 8
        away = np.abs(shown - np.array(fog.airlight)).mean(axis=2)
        changes.append(away[far].mean() / away[near].mean())
    assert changes[1] < changes[0]
