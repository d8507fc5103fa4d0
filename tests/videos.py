"""A drawn video whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np

from training.video_scores import VideoFrame


def textured_video(count: int, shift: int) -> list[VideoFrame]:
    """A world of stripes that moves to the left by so many pixels a frame, exactly labelled."""
    rng = np.random.default_rng(0)
    world = cv2.resize(rng.integers(0, 255, (24, 90, 3), np.uint8), (720, 192))
    labels = (np.arange(720) // 60 % 3).astype(np.uint8)
    frames = []
    for number in range(count):
        columns = slice(number * shift, number * shift + 256)
        truth = np.repeat(labels[None, columns], 192, 0)
        logits = 8.0 * (truth[::4, ::4] == np.arange(11)[:, None, None])
        flow = np.zeros((192, 256, 2), np.float32)
        flow[..., 0] = shift
        flow[:, 256 - shift :] = np.nan  # not there yet in the frame before
        seen = np.ascontiguousarray(world[:, columns])
        frames.append(VideoFrame(seen, truth, logits.astype(np.float32), flow))
    return frames
