"""How well a key frame's labels are carried to the frames after it.

The paper's protocol ("PDA", propagation distance against accuracy): for every labelled frame t and
distance d the segmenter runs on frame t - d, its result is carried frame by frame to t, and one
confusion matrix is filled for each d. The frames t are the same for every distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from adverse_perception import kernels
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.inference import Engine
from adverse_perception.propagation import Propagation, halved
from adverse_perception.scores import ConfusionMatrix
from adverse_perception.segmenters import to_working_size
from training.datasets import Pack
from training.methods import planes_of
from training.network_engine import NetworkEngine
from training.networks.davss import DistortionAware
from training.networks.guide import Guide
from training.recipes import RECIPES, Recipe

LONGEST = 9
"""Largest distance of the protocol, in frames."""


@dataclass(frozen=True)
class VideoFrame:
    """A frame, as the key network sees it, with its labels.

    Attributes:
        working: (H', W', 3) uint8 RGB at the key network's working size.
        labels: (H, W) uint8 true ids, at the camera's size.
        logits: (K, h, w) float32, what the key network says of it.
        flow: (H, W, 2) float32 pixels back to the frame before, NaN where that is hidden or
            unknown; None where nobody asks for it.
    """

    working: UInt8Array
    labels: UInt8Array
    logits: Float32Array
    flow: Float32Array | None = None


def video_of_pack(pack: Pack, key: Engine) -> list[VideoFrame]:
    """A pack whose pairs are consecutive frames, as CamVid's `val`, through the key network."""
    numbers = tqdm(range(len(pack.pairs)), desc=pack.name, leave=False)
    return [seen(*pack.load(number), key) for number in numbers]


def seen(
    image: UInt8Array, labels: UInt8Array, key: Engine, flow: Float32Array | None = None
) -> VideoFrame:
    """One frame through the key network."""
    working = to_working_size(image, key.metadata)
    logits = np.asarray(key.run(working, ("logits",))["logits"])
    return VideoFrame(working, labels, logits, flow)


class Carrier(Protocol):
    """A way to carry a key frame's labels on."""

    def begin(self, frame: VideoFrame) -> None:
        """Take a key frame."""
        ...

    def carry(self, frame: VideoFrame) -> UInt8Array:
        """Labels (H, W) uint8 of the next frame."""
        ...


class Held:
    """The labels stay where they are."""

    def begin(self, frame: VideoFrame) -> None:
        """See `Carrier.begin`."""
        self._labels = kernels.label(frame.logits, *frame.labels.shape)[0]

    def carry(self, frame: VideoFrame) -> UInt8Array:
        """See `Carrier.carry`."""
        return self._labels


class EveryFrame:
    """The key network runs on every frame."""

    def begin(self, frame: VideoFrame) -> None:
        """See `Carrier.begin`."""

    def carry(self, frame: VideoFrame) -> UInt8Array:
        """See `Carrier.carry`."""
        return kernels.label(frame.logits, *frame.labels.shape)[0]


class FlowOnly:
    """Warped by optical flow and no more, as deep feature flow (DFF) does."""

    def begin(self, frame: VideoFrame) -> None:
        """See `Carrier.begin`."""
        self._propagation = Propagation(halved(frame.working), frame.logits)

    def carry(self, frame: VideoFrame) -> UInt8Array:
        """See `Carrier.carry`."""
        step = self._propagation.step(halved(frame.working))
        return kernels.label(step.warped, *frame.labels.shape)[0]


class LightStep(FlowOnly):
    """Warped, and corrected by an engine of role `correction`."""

    def __init__(self, correction: Engine, *, fed_back: bool = False) -> None:
        """With `fed_back`, what was corrected is what the next frame warps (recurrent)."""
        self._correction, self._fed_back = correction, fed_back
        self.distortions: list[float] = []

    def carry(self, frame: VideoFrame) -> UInt8Array:
        """See `Carrier.carry`."""
        step = self._propagation.step(halved(frame.working))
        found = self._correction.run(step.picture, maps=step.maps)
        correction, distortion = found["correction"], found["distortion"][0]
        self.distortions.append(float(distortion.mean()))
        if self._fed_back:
            blended = step.warped + distortion * (correction - step.warped)
            self._propagation = Propagation(step.picture, blended)
        size = frame.labels.shape
        return kernels.correct_and_label(step.warped, correction, distortion, *size)[0]


def pda(
    video: Sequence[VideoFrame],
    carrier: Carrier,
    longest: int = LONGEST,
    every: int = 1,
) -> dict[int, ConfusionMatrix]:
    """Confusion by distance, 1 to `longest`, over the frames that every distance reaches.

    Args:
        video: consecutive frames, more than `longest`.
        carrier: how labels are carried.
        longest: largest distance.
        every: begin at every so manieth frame only.
    """
    matrices = {distance: ConfusionMatrix() for distance in range(1, longest + 1)}
    for begin in range(0, len(video) - 1, every):
        carrier.begin(video[begin])
        for distance, frame in enumerate(video[begin + 1 : begin + longest + 1], start=1):
            labels = carrier.carry(frame)
            if begin + distance >= longest:
                matrices[distance].add(labels, frame.labels)
    return matrices


class PaperSystem:
    """The paper's flow, distortion map and correction, run by PyTorch.

    Args:
        aware: the trained networks.
        corrected: False leaves the blend out and shows what is propagated.
    """

    def __init__(self, aware: DistortionAware, *, corrected: bool = True) -> None:
        self._aware, self._corrected = aware.eval(), corrected
        self._device = next(aware.parameters()).device

    @torch.no_grad()
    def begin(self, frame: VideoFrame) -> None:
        """See `Carrier.begin`."""
        logits = torch.from_numpy(frame.logits)[None].to(self._device)
        self._memory = self._aware.begin(planes_of(frame.working).to(self._device), logits)

    @torch.no_grad()
    def carry(self, frame: VideoFrame) -> UInt8Array:
        """See `Carrier.carry`."""
        seen = planes_of(frame.working).to(self._device)
        self._memory = self._aware.propagate(self._memory, seen)
        if not self._corrected:
            return kernels.label(self._memory.logits[0].cpu().numpy(), *frame.labels.shape)[0]
        parts = [part[0].cpu().numpy() for part in self._aware.correct(self._memory)]
        propagated, correction, distortion = parts
        return kernels.correct_and_label(
            propagated, correction, distortion[0], *frame.labels.shape
        )[0]


def key_engine(guide: Guide, size: tuple[int, int]) -> Engine:
    """The key network behind the vehicle's interface, for pictures of about (height, width)."""
    return NetworkEngine(replace(RECIPES["clear"], size=size), guide.segmenter)


def carrier_of(recipe: Recipe, network: nn.Module) -> Carrier:
    """How a trained network carries labels."""
    if isinstance(network, DistortionAware):
        return PaperSystem(network)
    return LightStep(NetworkEngine(recipe, network))


def carried_score(
    recipe: Recipe, network: nn.Module, pack: Pack, guide: Guide, distance: int = 5, every: int = 9
) -> float:
    """MIoU some frames after a key frame: what training watches, on a pack that is a video."""
    scale = 2 if recipe.role == "correction" else 1
    key = key_engine(guide, (scale * recipe.size[0], scale * recipe.size[1]))
    carrier = carrier_of(recipe, network)
    return float(pda(video_of_pack(pack, key), carrier, distance, every)[distance].miou())
