"""Degradations: exact rules on tiny pictures, the paper's levels, exact masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adverse_perception.frames import UInt8Array
from tests.test_synthesis import DEPTH, IMAGE, H, W
from training.synthesis import (
    REGULAR,
    TID,
    SynthesisError,
    clear_view,
    degrade,
    draw,
    occlusion,
    regular,
    render,
)
from training.synthesis.damage import LEVELS, Damage, render_damage
from training.synthesis.pasted import IrregularMask, Watermark
from training.synthesis.regular import Degradation

ALL = [*REGULAR, *TID]
GREY = np.full((H, W, 3), 128, np.uint8)


def damaged(image: UInt8Array, kind: str, value: float, seed: int = 0) -> UInt8Array:
    return render_damage(image, Damage(kind, value, seed))


def show(image: UInt8Array, effect: Degradation) -> UInt8Array:
    return render(image, DEPTH, effect)


def error(shown: UInt8Array) -> float:
    return float(np.abs(shown.astype(int) - IMAGE).mean())


@pytest.mark.parametrize("name", ALL)
def test_every_level_damages_more_and_keeps_the_size(name: str) -> None:
    levels = 5 if name in ("blocks", "dither") else 4
    # Chance differs from level to level in what is pasted; elsewhere one seed is enough.
    seeds = range(12) if name in ("watermark", "irregular_mask", "blocks") else range(1)
    errors = []
    for level in (1, levels):
        shown = [show(IMAGE, regular(name, level, seed)) for seed in seeds]
        assert all(one.shape == IMAGE.shape and one.dtype == np.uint8 for one in shown)
        errors.append(np.mean([error(one) for one in shown]))
    assert 0 < errors[0] < errors[1]


@pytest.mark.parametrize("name", ALL)
def test_a_seed_is_a_picture(name: str) -> None:
    before = IMAGE.copy()
    first, again = (show(IMAGE, regular(name, 2, seed=7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("name", ALL)
def test_any_size_and_a_whole_picture_to_restore(name: str) -> None:
    for shape in ((97, 131), (17, 16)) if name != "jpeg2000" else ((97, 131),):
        image = cv2.resize(IMAGE, shape[::-1])
        shown = degrade(image, name, np.random.default_rng(0), strength=(1.0, 1.0))
        assert shown.shape == (*shape, 3)
    assert clear_view(draw(name, np.random.default_rng(0))).effects == ()


def test_strength_gives_each_level_an_equal_part() -> None:
    rng = np.random.default_rng(0)
    for strength, level in ((0.0, 1), (0.24, 1), (0.26, 2), (0.6, 3), (1.0, 4)):
        state = draw("jpeg", rng, (strength, strength))
        assert isinstance(state.effects[0], Damage)
        assert state.effects[0].value == LEVELS["jpeg"][level - 1]


@pytest.mark.parametrize("variance", LEVELS["noise"][:3])
def test_noise_has_the_variance_it_says(variance: float) -> None:
    noise = damaged(GREY, "noise", variance) / 255.0 - 128 / 255
    assert noise.var() == pytest.approx(variance, rel=0.05)


def test_high_frequency_noise_has_nothing_smooth_in_it() -> None:
    noise = damaged(GREY, "high_frequency_noise", 0.005)[..., 0] - 128.0
    power = np.abs(np.fft.fft2(noise)) ** 2
    low = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n) * n for n in (H, W)], indexing="ij")) <= 10
    assert power[low].mean() < 0.02 * power[~low].mean()


def test_impulses_are_salt_and_pepper_in_equal_parts() -> None:
    shown = damaged(GREY, "impulse_noise", 0.1)
    assert (shown == 0).mean() == pytest.approx(0.05, rel=0.1)
    assert (shown == 255).mean() == pytest.approx(0.05, rel=0.1)
    assert np.isin(shown, [0, 128, 255]).all()


def test_quantisation_leaves_multiples_of_the_step() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = damaged(ramp, "quantisation", 55)
    assert set(np.unique(shown)) == {0, 55, 110, 165, 220, 255}
    assert np.abs(shown.astype(int) - ramp).max() <= 30


def test_blur_is_a_gaussian_of_a_sixth_of_its_kernel() -> None:
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    shown = damaged(point, "blur", 15)[..., 0].astype(float)
    assert shown[30, :22].max() == 0  # nothing beyond the kernel
    offsets = np.arange(-7, 8)
    weights = np.exp(-0.5 * (offsets / 2.5) ** 2)
    expected = 255 * np.outer(weights, weights) / weights.sum() ** 2
    assert np.abs(shown[23:38, 23:38] - expected).max() <= 1


def test_jpeg_and_jpeg2000_reach_their_size() -> None:
    jpeg = cv2.imencode(".jpg", IMAGE[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 12])[1]
    np.testing.assert_array_equal(
        damaged(IMAGE, "jpeg", 12), cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    )
    assert error(damaged(IMAGE, "jpeg2000", 4.0)) < error(damaged(IMAGE, "jpeg2000", 0.1))


@pytest.mark.parametrize(
    ("level", "red", "green"), [(2, 1, 0), (6, 5, 2), (10, 9, 4), (14, 13, 6)]
)
def test_chromatic_aberration_is_the_paper_s_rule_pixel_by_pixel(
    level: int, red: int, green: int
) -> None:
    image = np.random.default_rng(level).integers(0, 256, (20, 31, 3), np.uint8)
    moved = image.copy()
    for y in range(20):
        for x in range(31):
            moved[y, x, 0] = image[y, x - red if x >= red else x, 0]
            moved[y, x, 1] = image[y, x - green if x >= green else x, 1]
    side = np.exp(-0.5 / 0.5**2)
    weights = np.array([side, 1.0, side]) / (1.0 + 2.0 * side)
    padded = np.pad(moved, ((1, 1), (1, 1), (0, 0)), "symmetric").astype(float)
    expected = sum(
        weights[v] * weights[u] * padded[v : v + 20, u : u + 31]
        for v in range(3)
        for u in range(3)
    )
    assert np.abs(damaged(image, "chromatic_aberration", level) - expected).max() <= 0.51


def test_values_move_by_their_rules() -> None:
    image = np.array([[[10, 100, 250]]], np.uint8)
    assert damaged(image, "mean_shift", 30).tolist() == [[[40, 130, 255]]]
    assert damaged(image, "contrast", 0.5).tolist() == [[[5, 50, 125]]]
    grey = damaged(image, "saturation", 0.0)[0, 0]
    assert np.ptp(grey) == 0 and abs(int(grey[0]) - (0.299 * 10 + 58.7 + 0.114 * 250)) <= 1
    noise = damaged(GREY, "multiplicative_noise", 0.05) / 128.0 - 1.0
    assert noise.var() == pytest.approx(0.05, rel=0.05)
    assert not damaged(GREY * 0, "multiplicative_noise", 0.2).any()  # black stays black


def test_dither_shows_few_colours_that_are_right_from_afar() -> None:
    shown = damaged(IMAGE, "dither", 16)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 16
    far = [cv2.resize(p, (8, 6), interpolation=cv2.INTER_AREA).astype(int) for p in (shown, IMAGE)]
    assert np.abs(far[0] - far[1]).mean() < 12


def test_denoising_takes_noise_and_detail_but_leaves_means() -> None:
    assert damaged(GREY, "denoising", 0.001).std() < 0.4 * damaged(GREY, "noise", 0.001).std()
    assert abs(damaged(IMAGE, "denoising", 0.005).mean() - IMAGE.mean()) < 1.5


def test_patches_and_blocks_change_as_much_as_they_may() -> None:
    changed = (damaged(IMAGE, "blocks", 4) != IMAGE).any(axis=2)
    assert 2 * 32 * 32 < changed.sum() <= 4 * 32 * 32
    changed = (damaged(IMAGE, "eccentric_patches", 30) != IMAGE).any(axis=2)
    assert 0 < changed.sum() <= 30 * 15 * 15


@pytest.mark.parametrize(
    "pasted",
    [
        Watermark(seed=1),
        Watermark(seed=2, width=0.12, spread=True, opacity=0.5),
        IrregularMask(seed=3),
    ],
)
def test_what_is_pasted_is_mixed_by_its_exact_alpha(pasted: Watermark | IrregularMask) -> None:
    alpha = occlusion((H, W), pasted)[..., None]
    ink = pasted.grey if isinstance(pasted, Watermark) else pasted.colour
    expected = alpha * ink + (1.0 - alpha) * IMAGE
    assert np.abs(show(IMAGE, pasted) - expected).max() <= 1.0
    assert 0.01 < alpha.mean() < 0.6
    most = pasted.opacity if isinstance(pasted, Watermark) else 1.0
    assert alpha.max() == pytest.approx(most, rel=0.05)


def test_holes_are_all_or_nothing_and_scale_with_the_picture() -> None:
    small, large = (occlusion((H * n, W * n), IrregularMask(seed=5)) for n in (1, 3))
    assert set(np.unique(small)) == {0.0, 1.0}
    shrunk = cv2.resize(large, (W, H), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small).mean() < 0.03


def test_a_watermark_has_its_width_and_turns_about_the_middle() -> None:
    flat = occlusion((400, 400), Watermark(width=0.5, angle_deg=0.0, seed=4))
    columns = np.flatnonzero(flat.any(axis=0))
    assert 0.4 * 400 < np.ptp(columns) <= 0.5 * 400
    turned = occlusion((400, 400), Watermark(width=0.5, angle_deg=180.0, seed=4))
    assert np.abs(turned[1:, 1:] - flat[::-1, ::-1][:-1, :-1]).mean() < 0.01


def test_a_spread_watermark_is_everywhere() -> None:
    alpha = occlusion((360, 480), Watermark(width=0.08, angle_deg=0.0, spread=True, seed=6))
    quarters = [alpha[y : y + 180, x : x + 240].mean() for y in (0, 180) for x in (0, 240)]
    assert min(quarters) > 0.3 * max(quarters) > 0


def test_a_picture_smaller_than_its_code_is_refused() -> None:
    with pytest.raises(SynthesisError, match=r"jp2: .* found 16x16; take a larger picture"):
        damaged(IMAGE[:16, :16], "jpeg2000", 0.04)


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(SynthesisError, match=r"degradation: expected one of .*found 'rust'"):
        regular("rust", 1)
    with pytest.raises(SynthesisError, match="jpeg: expected level 1 to 4, found 5"):
        regular("jpeg", 5)
    with pytest.raises(SynthesisError, match=r"damage: expected one of .*found 'rust'"):
        Damage("rust", 1.0)
