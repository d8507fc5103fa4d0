"""Distances: the estimate against exact depth, holes, and arrays that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from adverse_perception.frames import Float32Array
from adverse_perception.labels import CLASS_ID
from tests.test_synthesis import DEPTH, IMAGE, LABELS, H, W
from training.street import Camera, Street, View, random_view
from training.synthesis import SKY_M, SynthesisError, degrade, draw, estimate_depth, render
from training.synthesis.depth import CAMERA_HEIGHT_M
from training.synthesis.fog import Fog
from training.synthesis.scene import FOCAL, SMALLEST


def test_holes_in_the_depth_are_filled_from_the_estimate() -> None:
    fog = Fog(80.0, (210.0, 210.0, 210.0))
    holes = DEPTH.copy()
    holes[20:40, 20:40] = np.nan
    holes[60:80, 60:80] = 0.0
    holes[100:110] = -1.0
    np.testing.assert_array_equal(
        render(IMAGE, holes, fog, labels=LABELS), render(IMAGE, DEPTH, fog, labels=LABELS)
    )


def test_infinite_depth_is_sky() -> None:
    depth = DEPTH.copy()
    depth[:30] = np.inf
    shown = render(IMAGE, depth, Fog(80.0, (210.0, 210.0, 210.0)))
    assert np.abs(shown[:28].astype(int) - 210).max() <= 1


@pytest.mark.parametrize(
    ("depth", "found"),
    [
        (None, "found None; where there is none, estimate_depth"),
        (np.full((H, W), "near"), "found .* <U4"),
        (np.full((H, W), np.nan, np.float32), "found only holes"),
        (np.zeros((H, W), np.float32), "found only holes"),
        (DEPTH[:-1], r"expected \(144, 192\) as the image, found \(143, 192\)"),
    ],
)
def test_depth_that_says_nothing_is_refused_with_a_way_out(
    depth: Float32Array, found: str
) -> None:
    with pytest.raises(SynthesisError, match=f"depth_m: .*{found}"):
        render(IMAGE, depth, Fog(80.0))


def test_pictures_too_small_to_hold_a_drop_are_refused() -> None:
    side = SMALLEST - 1
    with pytest.raises(SynthesisError, match=f"image: expected at least 16x16.*{side}x40"):
        degrade(np.zeros((40, side, 3), np.uint8), "fog", np.random.default_rng(0))


def test_misfitting_arrays_are_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SynthesisError, match=r"image: expected \(H, W, 3\) uint8"):
        degrade(IMAGE[..., 0], "fog", rng)
    with pytest.raises(SynthesisError, match="depth_m: expected"):
        degrade(IMAGE, "fog", rng, depth_m=DEPTH[:-1])
    with pytest.raises(SynthesisError, match="labels: expected"):
        render(IMAGE, DEPTH, draw("fog", rng), labels=LABELS[:, :-1])


def test_depth_grows_up_the_road_and_ends_in_the_sky() -> None:
    column = DEPTH[:, 70]
    road = LABELS[:, 70] == CLASS_ID["road"]
    assert (np.diff(column[road]) <= 0).all() and column[road].min() < 6
    assert (DEPTH[CLASS_ID["sky"] == LABELS] == SKY_M).all()
    car = DEPTH[88:103, 102:128]
    assert car.max() - car.min() < 1.0  # a car stands at one distance


def test_depth_without_labels_knows_ground_and_sky() -> None:
    depth = estimate_depth(IMAGE)
    assert depth.shape == (H, W) and depth.dtype == np.float32
    assert (depth[2, 85:105] == SKY_M).all() and depth[-1].max() < 8
    assert estimate_depth((H, W)).shape == (H, W)


def errors(view: View, estimate: Float32Array, *names: str) -> Float32Array:
    """Of the estimate, share of the exact depth, on surfaces of these classes within 100 m."""
    on = np.isin(view.labels, [CLASS_ID[name] for name in names]) & (view.depth_m < 100)
    return np.abs(estimate[on] - view.depth_m[on]) / view.depth_m[on]


@pytest.fixture(scope="module")
def views() -> list[View]:
    """Streets of the renderer, seen by cameras the estimate knows nothing of."""
    return [random_view(np.random.default_rng(seed), (160, 120)) for seed in range(4)]


def test_the_ground_is_right_for_the_camera_that_the_estimate_assumes() -> None:
    camera = Camera(160, 120, focal=FOCAL, mount_m=CAMERA_HEIGHT_M, pitch_deg=1.0)
    view = Street.draw(2, camera, length_m=40.0).render(0.5)
    estimate = estimate_depth(view.image, view.labels)
    assert np.median(errors(view, estimate, "road", "pavement")) < 0.03
    assert np.median(errors(view, estimate, "building")) < 0.4


def test_other_cameras_are_estimated_within_a_third_with_labels(views: list[View]) -> None:
    """No calibration, no distances: focal length and height of the camera remain a guess."""
    estimates = [estimate_depth(view.image, view.labels) for view in views]
    for names, most in ((("road", "pavement"), 0.35), (("building",), 0.45), (("car",), 0.35)):
        found = [errors(v, e, *names) for v, e in zip(views, estimates, strict=True)]
        assert np.median(np.concatenate(found)) < most, names


def test_other_cameras_are_estimated_within_a_half_without_labels(views: list[View]) -> None:
    found = [errors(v, estimate_depth(v.image), "road", "pavement", "building") for v in views]
    assert np.median(np.concatenate(found)) < 0.5


def test_far_and_near_are_told_apart_as_in_the_exact_depth(views: list[View]) -> None:
    for view in views:
        known = (view.depth_m < 120) & (view.labels != CLASS_ID["sky"])
        sample = np.random.default_rng(0).choice(np.flatnonzero(known), 3000)
        for estimate, least in (
            (estimate_depth(view.image, view.labels), 0.7),
            (estimate_depth(view.image), 0.5),
        ):
            ranks = [np.argsort(np.argsort(d.ravel()[sample])) for d in (estimate, view.depth_m)]
            assert np.corrcoef(*ranks)[0, 1] > least
