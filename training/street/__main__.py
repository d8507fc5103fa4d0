"""`python -m training.street --out sheet.png --seed 1`: a contact sheet of a street."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.files import write_picture
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import palette
from training.street import Street, View, random_view


def sheet(views: list[View]) -> UInt8Array:
    """One row per view: picture, labels, depth, flow; uint8 RGB."""
    rows = [
        np.hstack([view.image, palette()[view.labels], _depth(view.depth_m), _flow(view.flow)])
        for view in views
    ]
    return np.vstack(rows)


def _depth(depth_m: Float32Array) -> UInt8Array:
    near = np.clip(255 * 4 / np.maximum(depth_m, 4), 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(near, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _flow(flow: Float32Array) -> UInt8Array:
    length, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    hsv = np.dstack([angle / 2, np.full_like(length, 255), np.clip(length * 16, 0, 255)])
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def main() -> None:
    """Write the contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default="sheet.png", help="PNG file to write")
    parser.add_argument("--seed", type=int, default=1, help="which street")
    parser.add_argument("--rows", type=int, default=4, help="pictures, evenly over 40 s")
    parser.add_argument("--random", action="store_true", help="a different street in every row")
    options = parser.parse_args()
    if options.random:
        rng = np.random.default_rng(options.seed)
        views = [random_view(rng) for _ in range(options.rows)]
    else:
        street = Street.draw(options.seed)
        views = [street.render(time) for time in np.linspace(0, 39, options.rows)]
    write_picture(options.out, sheet(views))


if __name__ == "__main__":
    main()
