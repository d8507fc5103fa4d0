"""What the street renderer promises: right labels, depth and flow, and the same picture again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adverse_perception.labels import CLASS_ID, CLASSES
from training.street import Camera, Look, Street, View, random_view
from training.street.plates import SHADE

DT_S = 1 / 15
PLAIN = Look()


@pytest.fixture(scope="module")
def street() -> Street:
    camera = Camera(320, 240, focal=0.9, mount_m=1.4, pitch_deg=1.0, yaw_deg=2.0)
    return Street.draw(3, camera, length_m=120.0, look=PLAIN)


@pytest.fixture(scope="module")
def pair(street: Street) -> tuple[View, View]:
    return street.render(2.0, DT_S), street.render(2.0 + DT_S, DT_S)


def warped(picture: np.ndarray, flow: np.ndarray, interpolation: int) -> np.ndarray:
    """The following picture as the flow says it was before."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(picture, x + flow[..., 0], y + flow[..., 1], interpolation)


def staying(view: View) -> np.ndarray:
    """Pixels whose flow leads to a place inside the picture."""
    height, width = view.labels.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    to_x, to_y = x + view.flow[..., 0], y + view.flow[..., 1]
    return (to_x > 1) & (to_y > 1) & (to_x < width - 2) & (to_y < height - 2)


def inside(labels: np.ndarray, names: list[str] | None = None) -> np.ndarray:
    """Pixels away from the outlines of their class."""
    spread = cv2.dilate(labels, np.ones((5, 5))) == cv2.erode(labels, np.ones((5, 5)))
    wanted = np.isin(labels, [CLASS_ID[name] for name in names or []]) if names else spread
    return np.asarray(spread & wanted)


def test_a_view_has_the_promised_shapes_and_types(pair: tuple[View, View]) -> None:
    view = pair[0]
    assert view.image.shape == (240, 320, 3)
    assert view.image.dtype == np.uint8
    assert view.labels.shape == (240, 320)
    assert view.labels.dtype == np.uint8
    assert view.depth_m.dtype == np.float32
    assert view.flow.shape == (240, 320, 2)
    assert view.flow.dtype == np.float32
    assert np.isfinite(view.flow).all()
    assert view.labels.max() < len(CLASSES)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (Street.draw(5, size=(160, 120), length_m=60.0).render(1.0) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.flow, second.flow)
    other = Street.draw(6, size=(160, 120), length_m=60.0).render(1.0)
    assert not np.array_equal(first.image, other.image)


def test_depth_of_the_road_is_that_of_a_plane_below_the_camera(street: Street) -> None:
    view, pose = street.render(2.0), street.pose(2.0)
    height, width = view.labels.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    to_world = pose.rotation.T @ np.linalg.inv(street.camera.intrinsics)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ to_world.T
    expected = -pose.position[1] / np.minimum(rays[..., 1], -1e-6)
    road = view.labels == CLASS_ID["road"]
    assert road.mean() > 0.1
    np.testing.assert_allclose(view.depth_m[road], expected[road], rtol=2e-3)


def test_the_sky_is_infinitely_far_and_nothing_else_is(pair: tuple[View, View]) -> None:
    view = pair[0]
    sky = view.labels == CLASS_ID["sky"]
    assert sky.any()
    assert np.isinf(view.depth_m[sky]).all()
    assert np.isfinite(view.depth_m[~sky]).all()
    assert view.depth_m.min() > 0.2


def test_labels_follow_the_flow(pair: tuple[View, View]) -> None:
    now, then = pair
    seen = staying(now) & inside(now.labels)
    agree = warped(then.labels, now.flow, cv2.INTER_NEAREST) == now.labels
    assert agree[seen].mean() > 0.985


def test_colours_follow_the_flow_where_nothing_comes_between(pair: tuple[View, View]) -> None:
    now, then = pair
    seen = staying(now) & (warped(then.labels, now.flow, cv2.INTER_NEAREST) == now.labels)
    seen &= inside(now.labels)
    error = np.abs(warped(then.image, now.flow, cv2.INTER_LINEAR).astype(float) - now.image).mean(
        axis=2
    )
    still = np.abs(then.image.astype(float) - now.image).mean(axis=2)
    assert error[seen].mean() < 4.0
    for name in ("road", "building", "car"):
        part = seen & (now.labels == CLASS_ID[name])
        assert error[part].mean() < 0.75 * still[part].mean() + 0.5, name


def test_flow_agrees_with_the_depth_of_the_following_picture(street: Street) -> None:
    now, then = street.render(2.0, DT_S), street.render(2.0 + DT_S)
    ground = staying(now) & inside(now.labels, ["road", "building"])
    ahead = warped(then.depth_m, now.flow, cv2.INTER_LINEAR)
    ground &= (now.depth_m < 25) & np.isfinite(ahead)
    nearer = now.depth_m[ground] - ahead[ground]
    assert np.median(nearer) == pytest.approx(street.plan.ego_speed * DT_S, abs=0.03)


def test_flow_holds_each_cars_own_motion() -> None:
    speeds = np.concatenate([closing_speeds_of_cars(seed) for seed in (1, 2, 3)])
    ahead, parked = abs(speeds) < 1, abs(speeds - 9) < 1
    oncoming = (speeds > 15.5) & (speeds < 20.5)
    assert (ahead | parked | oncoming).mean() > 0.95
    assert parked.mean() > 0.05
    assert oncoming.mean() > 0.05


def closing_speeds_of_cars(seed: int) -> np.ndarray:
    """Metres per second at which cars come nearer, from flow and the depth it leads to."""
    street = Street.draw(seed, Camera(320, 240), length_m=80.0, look=PLAIN)
    now, then = street.render(0.5, DT_S), street.render(0.5 + DT_S)
    car = staying(now) & inside(now.labels, ["car"]) & (now.depth_m < 30)
    car &= warped(then.labels, now.flow, cv2.INTER_NEAREST) == CLASS_ID["car"]
    ahead = warped(then.depth_m, now.flow, cv2.INTER_NEAREST)
    jump = cv2.morphologyEx(now.depth_m, cv2.MORPH_GRADIENT, np.ones((5, 5))) > 1.0
    moved = car & ~jump
    return np.asarray((now.depth_m[moved] - ahead[moved]) / DT_S)


@pytest.mark.filterwarnings("error")
def test_what_passes_the_camera_flows_out_of_the_picture(street: Street) -> None:
    view = street.render(2.0, dt_s=2.0)  # 18 m on: the road in view is behind us by then
    passed = (view.labels == CLASS_ID["road"]) & (view.depth_m < 15)
    assert passed.any()
    assert np.isfinite(view.flow).all()
    assert not staying(view)[passed].any()


def test_without_time_nothing_flows(street: Street) -> None:
    assert np.abs(street.render(1.0, 0.0).flow).max() < 1e-2


def test_random_views_differ_and_contain_every_class() -> None:
    rng = np.random.default_rng(4)
    views = [random_view(rng, (160, 120)) for _ in range(24)]
    shares = np.bincount(np.concatenate([v.labels.ravel() for v in views]), minlength=11)
    assert (shares > 0).all()
    assert len({view.image.tobytes() for view in views}) == len(views)


def test_lamps_lie_on_what_carries_them(pair: tuple[View, View]) -> None:
    view = pair[0]
    assert view.lights
    for light in view.lights:
        depth = view.depth_m[round(light.y), round(light.x)]
        assert depth > light.depth_m * 0.95 - 0.4


def opaque_depths(street: Street, time_s: float, points: np.ndarray) -> np.ndarray:
    """Depth of the nearest plate that is solid at each of the points (n, 2), by brute force."""
    scene, pose = street._scene, street.pose(time_s)
    matrices = scene.homographies(street.camera, pose, time_s)
    homogeneous = np.column_stack([points, np.ones(len(points))])
    nearest = np.full(len(points), np.inf)
    for number in scene.order(matrices, pose, time_s):
        plate = scene.plates[number]
        if plate.label == SHADE or plate.far_away:
            continue
        u, v, inverse = np.linalg.inv(matrices[number]) @ homogeneous.T
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = u / inverse, v / inverse
        hit = np.flatnonzero((inverse > 0) & (u > 0.01) & (u < 0.99) & (v > 0.01) & (v < 0.99))
        if not len(hit):
            continue
        width, height = plate.texture.size
        alpha = plate.texture.level(0, 0)[..., 3]
        solid = cv2.erode(alpha, np.ones((5, 5)))[
            (v[hit] * height).astype(int), (u[hit] * width).astype(int)
        ]
        hit = hit[solid > 250]
        nearest[hit] = np.minimum(nearest[hit], 1 / inverse[hit])
    return nearest


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_what_is_painted_is_what_is_nearest(seed: int) -> None:
    street = Street.draw(seed, Camera(160, 120), length_m=90.0, look=PLAIN)
    view = street.render(1.0)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(2, 158, 4), np.arange(2, 118, 4)))
    nearest = opaque_depths(street, 1.0, np.column_stack([x, y]))
    painted = view.depth_m[y, x]
    wrong = (nearest < painted * 0.97 - 0.3) & (nearest < 60)
    assert wrong.mean() < 0.01
