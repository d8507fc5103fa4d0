"""What falls between the camera and the scene, drawn in layers of distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from training.synthesis.scene import pixels, stencil

Layer = Callable[[int], tuple[UInt8Array, float]]
"""From a layer's number to its (H, W) uint8 picture and how opaque its 255 is."""


def render_layers(
    image: UInt8Array,
    depth_m: Float32Array,
    layer: Layer,
    distances_m: Sequence[float],
    brightness: float,
    most: int,
) -> UInt8Array:
    """Let layers fall before the scene, each hidden by what stands nearer: (H, W, 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth_m: (H, W) float32 metres.
        layer: draws one layer.
        distances_m: of each layer.
        brightness: display value, 0 to 255, of what falls.
        most: opacity, 0 to 255, that all layers together have at most.
    """
    shape = image.shape[:2]
    total: UInt8Array = np.zeros(shape, np.uint8)
    nearest = float(depth_m.min())
    for number, distance in enumerate(distances_m):
        drawn, opacity = layer(number)
        if distance > nearest:
            drawn = pixels(cv2.bitwise_and(drawn, stencil(depth_m > distance)))
        total = pixels(cv2.addWeighted(total, 1.0, drawn, opacity, 0.0))
    share = np.minimum(total, most) * np.float32(1 / 255)
    light = np.full((*shape, 3), np.uint8(brightness), np.uint8)
    return pixels(cv2.blendLinear(light, image, share, 1.0 - share))
