"""Labels move with their pixels, light moves nothing, and a record always gives the same."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.labels import UNLABELLED
from training.transforms import (
    Geometry,
    Photometry,
    apply_photometry,
    draw_geometry,
    draw_photometry,
    warp_map,
    warp_picture,
)

STILL = Geometry(scale=1.0, stretch=1.0, tilt_deg=0.0, shift=(0.0, 0.0), mirrored=False)
SAME_LIGHT = Photometry(1.0, 0.0, 1.0, (1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 100, 0)
CAR = 8


def square(
    height: int, width: int, top: int, left: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A white square labelled car on a black road."""
    labels = np.full((height, width), 3, np.uint8)
    labels[top : top + side, left : left + side] = CAR
    return np.where(labels == CAR, 255, 0).astype(np.uint8)[..., None].repeat(3, 2), labels


def picture(seed: int = 0) -> np.ndarray:
    """Soft colours, (48, 64, 3) uint8."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(rough, (64, 48), interpolation=cv2.INTER_CUBIC)


def warped(
    image: np.ndarray, labels: np.ndarray, geometry: Geometry, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    return warp_picture(image, geometry, size), warp_map(labels, geometry, size, UNLABELLED)


def test_nothing_moves_without_geometry() -> None:
    image, labels = square(48, 64, 10, 20, 9)
    for found, expected in zip(
        warped(image, labels, STILL, (48, 64)), (image, labels), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_mirror_changes_left_and_right_exactly() -> None:
    image, labels = square(48, 64, 10, 5, 9)
    found = warped(image, labels, replace(STILL, mirrored=True), (48, 64))
    np.testing.assert_array_equal(found[0], image[:, ::-1])
    np.testing.assert_array_equal(found[1], labels[:, ::-1])


def test_scale_two_doubles_the_middle() -> None:
    image, labels = square(48, 64, 20, 28, 8)
    found = warped(image, labels, replace(STILL, scale=2.0), (48, 64))[1]
    rows, columns = np.nonzero(found == CAR)
    assert (rows.min(), rows.max()) == (16, 31)
    assert (columns.min(), columns.max()) == (24, 39)


def test_shift_takes_the_crop_to_the_edge() -> None:
    image, labels = square(48, 64, 0, 0, 8)
    corner = replace(STILL, scale=2.0, shift=(1.0, 1.0))
    assert (warped(image, labels, corner, (48, 64))[1][:15, :15] == CAR).all()


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.9])
def test_smaller_picture_is_unlabelled_outside(scale: float) -> None:
    image, labels = square(48, 64, 16, 24, 16)
    seen, named = warped(image, labels, replace(STILL, scale=scale), (48, 64))
    assert seen.shape == (48, 64, 3)
    known = named != UNLABELLED
    assert known.mean() == pytest.approx(scale**2, abs=0.06)
    assert known[24, 32]
    assert not known[0].any()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.sampled_from([(48, 64), (33, 70)]), st.sampled_from([0.3, 0.7, 1.6])
)
def test_labels_follow_their_pixels(seed: int, size: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    image, labels = square(96, 128, 24, 32, 40)
    geometry = draw_geometry(rng, (scale, scale * 1.2))
    seen, named = warped(image, labels, geometry, size)
    assert seen.shape == (*size, 3)
    assert named.shape == size
    known = named != UNLABELLED
    as_seen = np.where(seen[..., 0] > 127, CAR, 3)
    wrong = known & (as_seen != named)
    # Only pixels that the square's edge runs through may be read either way.
    edge = cv2.morphologyEx((named == CAR).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    assert not (wrong & (edge == 0)).any()
    assert wrong.sum() <= 0.5 * max(1, edge.sum())  # one of the two pixels that the edge is wide
    assert set(np.unique(named)) <= {3, CAR, UNLABELLED}


@pytest.mark.parametrize("scale", [0.4, 0.8])
def test_depth_moves_without_being_mixed(scale: float) -> None:
    labels = square(48, 64, 10, 5, 9)[1]
    depth = np.where(labels == CAR, 7.5, np.inf).astype(np.float32)
    small = replace(STILL, scale=scale, tilt_deg=3.0)
    found = warp_map(depth, small, (48, 64), np.nan)
    named = warp_map(labels, small, (48, 64), UNLABELLED)
    np.testing.assert_array_equal(found == 7.5, named == CAR)
    np.testing.assert_array_equal(np.isnan(found), named == UNLABELLED)
    assert found.dtype == np.float32


def test_drawn_geometry_stays_within_its_scales() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(rng, (0.5, 2.0)) for _ in range(300)]
    scales = np.array([geometry.scale for geometry in drawn])
    assert 0.5 <= scales.min() < 0.6
    assert 1.8 < scales.max() <= 2.0
    assert 0.4 < np.mean([geometry.mirrored for geometry in drawn]) < 0.6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_strength_zero_changes_nothing(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
    photometry = draw_photometry(np.random.default_rng(seed), 0.0)
    np.testing.assert_array_equal(apply_photometry(image, photometry), image)


def test_record_gives_the_same_picture_again() -> None:
    for seed in range(30):
        photometry, again = (draw_photometry(np.random.default_rng(seed), 1.0) for _ in range(2))
        assert photometry == again
        first, second = (apply_photometry(picture(), photometry) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        geometry = draw_geometry(np.random.default_rng(seed), (0.5, 2.0))
        assert geometry == draw_geometry(np.random.default_rng(seed), (0.5, 2.0))


def test_input_is_left_as_it_was() -> None:
    image = picture()
    before = image.copy()
    for seed in range(20):
        apply_photometry(image, draw_photometry(np.random.default_rng(seed), 1.0))
    np.testing.assert_array_equal(image, before)


def test_gain_brightens_and_clips() -> None:
    found = apply_photometry(np.array([[[10, 100, 200]]], np.uint8), replace(SAME_LIGHT, gain=2.0))
    np.testing.assert_array_equal(found, [[[20, 200, 255]]])


def test_balance_is_in_the_order_red_green_blue() -> None:
    warm = replace(SAME_LIGHT, balance=(1.2, 1.0, 0.8))
    found = apply_photometry(np.full((1, 1, 3), 100, np.uint8), warm)
    np.testing.assert_array_equal(found, [[[120, 100, 80]]])


def test_saturation_zero_is_grey() -> None:
    found = apply_photometry(picture(), replace(SAME_LIGHT, saturation=0.0)).astype(int)
    assert np.ptp(found, axis=2).max() == 0


def test_blur_softens_an_edge() -> None:
    image, _ = square(48, 64, 10, 20, 16)
    found = apply_photometry(image, replace(SAME_LIGHT, blur_px=1.5))
    assert 0 < found[18, 19, 0] < 255


def test_noise_has_the_strength_it_says_and_no_bias() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    found = apply_photometry(image, replace(SAME_LIGHT, noise=8.0, seed=3)).astype(float) - 128
    assert found.std() == pytest.approx(8.0, rel=0.05)
    assert abs(found.mean()) < 0.3


def test_compression_keeps_the_colours() -> None:
    found = apply_photometry(picture(), replace(SAME_LIGHT, jpeg_quality=85)).astype(int)
    difference = np.abs(found - picture())
    assert difference.max() > 0
    assert difference.mean() < 6
