"""The street as a frozen world that can be looked at from a driving car."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.street.camera import Camera, Pose, rotation
from training.street.canvas import NEAR_M, Canvas, Scene, cut, measure
from training.street.layout import lay_out
from training.street.placing import Lamp
from training.street.plan import Plan, draw_plan


@dataclass(frozen=True)
class Light:
    """A lamp in the picture: its pixel, its distance in metres, and what it is.

    `kind` is "street_lamp", "window", "head_lamp", "tail_lamp", "red_light", "amber_light" or
    "green_light".
    """

    x: float
    y: float
    depth_m: float
    kind: str


@dataclass(frozen=True)
class View:
    """One picture of the street and everything that is known about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 class ids.
        depth_m: (H, W) float32 distance along the axis of view in metres; infinite in the sky.
        flow: (H, W, 2) float32: where each pixel's surface lies dt_s later, minus the pixel
            (x, y); far outside the picture for what has passed the camera by then.
        lights: lamps not hidden by anything.
    """

    image: UInt8Array
    labels: UInt8Array
    depth_m: Float32Array
    flow: Float32Array
    lights: tuple[Light, ...] = ()


@dataclass(frozen=True)
class Look:
    """What the camera does to the picture: exposure per colour, gamma, contrast, blur, noise."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0
    blur_px: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True, eq=False)
class Street:
    """A street, everything in it, and the car that drives along it. Made by `Street.draw`."""

    plan: Plan
    camera: Camera
    look: Look
    _scene: Scene = field(repr=False)
    _lamps: tuple[Lamp, ...] = field(repr=False)

    @classmethod
    def draw(
        cls,
        seed: int,
        camera: Camera | None = None,
        *,
        size: tuple[int, int] = (480, 360),
        length_m: float = 460.0,
        speed: float = 9.0,
        look: Look | None = None,
        sharp_to_m: float = math.inf,
    ) -> Street:
        """Draw a street: layout, colours, traffic, weather of the day, camera.

        Args:
            seed: the same seed is the same street.
            camera: the camera; None draws one.
            size: picture (width, height) in pixels for a drawn camera.
            length_m: how far the street goes on.
            speed: of the car in metres per second.
            look: what the camera does to colours; None draws it.
            sharp_to_m: Z up to which the floor is drawn in full detail; less is quicker to draw.
        """
        plan = replace(draw_plan(seed, length_m, speed), sharp_to_m=sharp_to_m)
        rng = np.random.default_rng((seed, 9))
        drawn_camera, drawn_look = _draw_camera(rng, size), _draw_look(rng)
        things = lay_out(plan)
        return cls(
            plan,
            camera or drawn_camera,
            look or drawn_look,
            Scene([plate for thing in things for plate in thing.plates]),
            tuple(lamp for thing in things for lamp in thing.lamps),
        )

    def pose(self, time_s: float) -> Pose:
        """Where the camera is: it follows its lane, swaying and nodding a little."""
        camera, plan = self.camera, self.plan
        lane = plan.traffic * plan.lane_m / 2
        sway = 0.12 * np.sin(0.5 * time_s + plan.seed)
        position = np.array(
            [lane + camera.aside_m + sway, camera.mount_m, plan.ego_speed * time_s]
        )
        nod = 0.1 * np.sin(2.1 * time_s) + 0.05 * np.sin(5.3 * time_s)
        turn = 0.35 * np.cos(0.5 * time_s + plan.seed)
        return Pose(
            position, rotation(camera.pitch_deg + nod, camera.yaw_deg + turn, camera.roll_deg)
        )

    def render(self, time_s: float, dt_s: float = 1 / 15) -> View:
        """Look at the street at one moment; flow leads to the moment `dt_s` later."""
        camera, scene = self.camera, self._scene
        pose, following = self.pose(time_s), self.pose(time_s + dt_s)
        homographies = scene.homographies(camera, pose, time_s)
        canvas = Canvas(camera)
        order = scene.order(homographies, pose, time_s)
        canvas.paint(scene.plates, homographies, cut(homographies, order))
        turned = camera.intrinsics @ following.rotation
        depth, flow = measure(
            canvas.owners,
            scene.nearness(homographies),
            scene.steps(pose, following, dt_s) @ turned.T,
            turned @ pose.rotation.T @ np.linalg.inv(camera.intrinsics),
        )
        return View(
            _develop(canvas.image[..., :3], self.look, round(time_s * 1000)),
            scene.labels.take(canvas.owners),
            depth,
            flow,
            self._lights(pose, time_s, depth),
        )

    def _lights(self, pose: Pose, time_s: float, depth: Float32Array) -> tuple[Light, ...]:
        """Lamps in the picture that nothing hides."""
        if not self._lamps:
            return ()
        places = np.array([lamp.position for lamp in self._lamps])
        places += time_s * np.array([lamp.velocity for lamp in self._lamps])
        seen = (places - pose.position) @ (self.camera.intrinsics @ pose.rotation).T
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        inside = (seen[:, 2] > NEAR_M) & (seen[:, 2] < 150)
        inside &= (x >= 0) & (y >= 0) & (x < depth.shape[1] - 0.5) & (y < depth.shape[0] - 0.5)
        return tuple(
            Light(float(x[i]), float(y[i]), float(seen[i, 2]), self._lamps[i].kind)
            for i in np.flatnonzero(inside)
            if depth[round(y[i]), round(x[i])] > seen[i, 2] * 0.97 - 0.3
        )


def _draw_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    return Camera(
        *size,
        focal=float(rng.uniform(0.7, 1.25)),
        mount_m=float(rng.uniform(1.15, 1.8)),
        aside_m=float(rng.normal(0, 0.3)),
        pitch_deg=float(rng.normal(0.5, 2.0)),
        yaw_deg=float(rng.normal(0, 3.5)),
        roll_deg=float(rng.normal(0, 0.6)),
    )


def _draw_look(rng: np.random.Generator) -> Look:
    warmth = rng.normal(0, 0.04)
    exposure = rng.uniform(0.8, 1.2)
    return Look(
        (float(exposure * (1 + warmth)), float(exposure), float(exposure * (1 - warmth))),
        float(rng.uniform(0.85, 1.35)),
        float(rng.uniform(0.9, 1.25)),
        float(rng.uniform(0.3, 0.8)),
        float(rng.uniform(0.0, 4.0)),
    )


def _develop(scene: UInt8Array, look: Look, noise_seed: int) -> UInt8Array:
    """(H, W, 3) picture as the camera hands it over."""
    levels = np.arange(256)[:, None] / 255 * np.array(look.gain)
    curve = 0.5 + (np.clip(levels, 0, 1.4) ** look.gamma - 0.5) * look.contrast
    table = np.clip(curve * 255, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    picture = cv2.LUT(np.ascontiguousarray(scene), table)
    if look.blur_px > 0:
        picture = cv2.GaussianBlur(picture, (3, 3), look.blur_px)
    if look.noise > 0:
        grain = _grain(noise_seed % 7, picture.shape[0], picture.shape[1])
        picture = cv2.addWeighted(picture, 1.0, grain, look.noise / 12, -128 * look.noise / 12)
    return np.asarray(picture, np.uint8)


@lru_cache(maxsize=16)
def _grain(which: int, height: int, width: int) -> UInt8Array:
    """(H, W, 3) sensor noise of deviation 12 about 128, a little coarser than a pixel."""
    rng = np.random.default_rng((which, 95))
    grain = rng.standard_normal((height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(grain, (3, 3), 0.45) * 16 + 128, 0, 255).astype(np.uint8)
