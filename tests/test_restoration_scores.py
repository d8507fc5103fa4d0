"""Scores of restored pictures, held against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from adverse_perception.frames import UInt8Array
from adverse_perception.scores import ConfusionMatrix, ScoreError

pytest.importorskip("skimage")

from training.restoration_scores import luma_psnr, psnr, score_picture, ssim


def plain(*rgb: int) -> UInt8Array:
    return np.full((16, 20, 3), rgb, np.uint8)


def noise(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (16, 20, 3), np.uint8)


def test_psnr_is_the_formula() -> None:
    found = psnr(plain(100, 100, 100), plain(110, 110, 110))
    assert found == pytest.approx(10 * np.log10(255**2 / 100))


def test_psnr_of_colours_is_of_their_mean_error_and_that_of_luma_is_not() -> None:
    red, black = plain(60, 0, 0), plain(0, 0, 0)
    assert psnr(red, black) == pytest.approx(10 * np.log10(255**2 / (60**2 / 3)))
    assert luma_psnr(red, black) == pytest.approx(10 * np.log10(255**2 / 18**2))  # 0.299 of 60


def test_equal_pictures_have_a_finite_psnr_and_whole_structure() -> None:
    picture = noise(0)
    assert 300 < psnr(picture, picture) < 400
    assert 300 < luma_psnr(picture, picture) < 400
    assert ssim(picture, picture) == 1.0


def test_ssim_of_plain_pictures_is_that_of_their_light() -> None:
    c = (0.01 * 255) ** 2
    expected = (2 * 100 * 200 + c) / (100**2 + 200**2 + c)
    assert ssim(plain(100, 100, 100), plain(200, 200, 200)) == pytest.approx(expected)


def test_ssim_is_the_formula_in_even_windows() -> None:
    x, y = noise(0)[:7, :7], noise(1)[:7, :7]  # one window
    grey = [np.round(p @ np.array([0.299, 0.587, 0.114])) for p in (x, y)]
    (a, b), (c1, c2) = grey, ((0.01 * 255) ** 2, (0.03 * 255) ** 2)
    covariance = np.cov(a.ravel(), b.ravel())
    expected = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
    expected *= (2 * covariance[0, 1] + c2) / (covariance.trace() + c2)
    assert ssim(x, y) == pytest.approx(expected, abs=2e-3)  # OpenCV rounds grey a little otherwise


def test_turned_colours_are_another_picture() -> None:
    red = plain(200, 30, 30)
    assert luma_psnr(red, np.ascontiguousarray(red[:, :, ::-1])) < 30


@pytest.mark.parametrize(
    ("restored", "expected"),
    [
        (np.zeros((16, 20, 3), np.float32), "expected .H, W, 3. uint8 RGB"),
        (np.zeros((16, 20), np.uint8), "expected .H, W, 3. uint8 RGB"),
        (np.zeros((16, 21, 3), np.uint8), "expected two of one shape"),
    ],
)
@pytest.mark.parametrize("score", [psnr, luma_psnr, ssim])
def test_pictures_that_cannot_be_compared_are_named(score, restored, expected) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScoreError, match=expected):
        score(restored, plain(0, 0, 0))


def test_picture_smaller_than_the_window_is_refused() -> None:
    small = np.zeros((6, 20, 3), np.uint8)
    with pytest.raises(ScoreError, match="sides of at least 7"):
        ssim(small, small)


def test_picture_is_scored_over_the_classes_of_its_labels() -> None:
    truth = np.array([[0, 0, 0, 0, 1, 1, 255, 255]], np.uint8)
    predicted = np.array([[0, 0, 0, 2, 1, 0, 2, 2]], np.uint8)
    scores = score_picture(predicted, truth, classes=3)
    assert scores.pixel_accuracy == pytest.approx(4 / 6)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    # IoU 3/5, 1/2 and 0 of class 2, which only the prediction has: three seen, two in the labels.
    assert scores.miou == pytest.approx((3 / 5 + 1 / 2 + 0) / 2)
    assert scores.weighted_iou == pytest.approx((4 * 3 / 5 + 2 * 1 / 2) / 6)


def test_score_of_a_picture_is_not_that_of_the_set() -> None:
    truth = np.array([[0, 0, 0, 0]], np.uint8)
    predicted = np.array([[0, 0, 0, 1]], np.uint8)
    matrix = ConfusionMatrix(2)
    matrix.add(predicted, truth)
    assert matrix.miou() == pytest.approx(3 / 8)
    assert score_picture(predicted, truth, classes=2).miou == pytest.approx(3 / 4)


def test_picture_without_labels_has_no_score() -> None:
    nothing = np.full((2, 2), 255, np.uint8)
    scores = score_picture(np.zeros((2, 2), np.uint8), nothing, classes=2)
    assert np.isnan([scores.pixel_accuracy, scores.miou, scores.weighted_iou]).all()
