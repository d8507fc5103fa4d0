"""A video labelled as a drive is: key frames now and then, the frames between carried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.labels import UNLABELLED
from adverse_perception.scores import consistency
from training.video_scores import Carrier, EveryFrame, LightStep, VideoFrame


@dataclass(frozen=True)
class Run:
    """What a way made of a whole video.

    Attributes:
        labels: (H, W) uint8 of every frame.
        keyframes: how many of them were key frames.
    """

    labels: list[UInt8Array]
    keyframes: int


def driven(
    carrier: Carrier, video: Sequence[VideoFrame], interval: int, limit: float = 1.0
) -> Run:
    """Label a video; key frames come by interval or by distortion, and for no other reason."""
    labels: list[UInt8Array] = []
    since, keyframes = interval, 0
    for frame in video:
        carried = carrier.carry(frame) if since < interval else None
        doubtful = isinstance(carrier, LightStep) and carrier.distortions[-1:] > [limit]
        if carried is None or (doubtful and limit < 1):
            carrier.begin(frame)
            carried, since = EveryFrame().carry(frame), 0
            keyframes += 1
        labels.append(carried)
        since += 1
    return Run(labels, keyframes)


def steadiness(labels: Sequence[UInt8Array], video: Sequence[VideoFrame]) -> float:
    """Share of pixels that keep their label along the flow, 0 to 1, mean over the frames."""
    shares = [
        consistency(now, _brought(before, frame.flow))
        for before, now, frame in zip(labels, labels[1:], video[1:], strict=False)
        if frame.flow is not None
    ]
    return float(np.nanmean(shares))


def _brought(labels: UInt8Array, flow: Float32Array) -> UInt8Array:
    """The labels of the frame before, where the flow says they are now; 255 where it is hidden."""
    height, width = labels.shape
    row, column = np.indices((height, width))
    place = np.nan_to_num(flow, nan=-1e6).round().astype(np.int64)
    x, y = column + place[..., 0], row + place[..., 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    brought = labels[y.clip(0, height - 1), x.clip(0, width - 1)]
    return np.where(inside, brought, UNLABELLED).astype(np.uint8)
