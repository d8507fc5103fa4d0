"""The pinhole camera that looks down the street.

World axes in metres: X right, Y up, Z along the street. Camera axes: x right, y down, z forward.
Pixel (0, 0) is the centre of the upper left pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """How the camera is built and mounted.

    Attributes:
        width: image width in pixels.
        height: image height in pixels.
        focal: focal length in image widths (0.9 is a field of view of 58 degrees).
        mount_m: height above the road.
        aside_m: offset to the right of the lane's middle.
        pitch_deg: downward tilt.
        yaw_deg: turn to the right.
        roll_deg: turn about the axis of view, clockwise.
    """

    width: int = 480
    height: int = 360
    focal: float = 0.9
    mount_m: float = 1.4
    aside_m: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    roll_deg: float = 0.0

    @property
    def intrinsics(self) -> FloatArray:
        """(3, 3) matrix from camera axes to pixels times depth."""
        focal_px = self.focal * self.width
        return np.array(
            [
                [focal_px, 0.0, (self.width - 1) / 2],
                [0.0, focal_px, (self.height - 1) / 2],
                [0.0, 0.0, 1.0],
            ]
        )


@dataclass(frozen=True)
class Pose:
    """Where the camera is: position (3,) in metres, rotation (3, 3) from world to camera."""

    position: FloatArray
    rotation: FloatArray


def rotation(pitch_deg: float, yaw_deg: float, roll_deg: float) -> FloatArray:
    """(3, 3) rotation from world axes to camera axes."""
    pitch, yaw, roll = np.radians([pitch_deg, yaw_deg, roll_deg])
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, -1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    lean = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(lean @ tilt @ turn, np.float64)
