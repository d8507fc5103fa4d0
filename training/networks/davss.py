"""Keyframes carried along by flow, and corrected where that distorts them (Zhuang et al. 2020).

What is carried is only ever warped, from frame to frame; the correction is made afresh on each
frame and never fed back (section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from training.networks.deeplab import DeepLabV3Plus
from training.networks.distortion import CorrectionNet, DistortionNet
from training.networks.flownet import FlowNet
from training.networks.warp import quartered, resized, warp
from training.networks.xception import XceptionDeepLab


class Memory(NamedTuple):
    """What is carried from a keyframe to the frame that was seen last.

    Shape: frame (N, 3, H, W) float RGB, 0 to 1, the last one; logits S (N, classes, h, w) and
        small X (N, 3, h, w), the keyframe's at a quarter of the size, warped to that frame.
    """

    frame: Tensor
    logits: Tensor
    small: Tensor


class Parts(NamedTuple):
    """What a frame's answer is blended of; at a quarter of its size until `at` enlarges it.

    Shape: propagated P and corrected C (N, classes, h, w), logits; distortion D (N, 1, h, w), 0 to
        1.
    """

    propagated: Tensor
    corrected: Tensor
    distortion: Tensor

    def at(self, height: int, width: int) -> Parts:
        """The same at that size, which the paper blends at."""
        return Parts(*(resized(part, height, width) for part in self))

    @property
    def blended(self) -> Tensor:
        """Y = (1 - D) P + D C."""
        return (1 - self.distortion) * self.propagated + self.distortion * self.corrected


class Step(NamedTuple):
    """What is made of one frame after the keyframe, as far as it was asked for.

    Shape: flows to the frame before, see `FlowNet`; memory after the frame; distortion
        (N, 1, h, w); corrected (N, classes, h, w).
    """

    flows: tuple[Tensor, ...]
    memory: Memory | None = None
    distortion: Tensor | None = None
    corrected: Tensor | None = None


class DistortionAware(nn.Module):
    """Flow, DMNet and CFNet: all that the stages of the paper's training teach.

    The segmenter of the keyframes is no part of it.

    Args:
        classes: number of logits.
        width: of `CorrectionNet`; 32 is the paper's, whose flow has three quarters of it.
        calibrated: see `DistortionNet`.
    """

    def __init__(self, classes: int, width: int = 32, *, calibrated: bool = False) -> None:
        super().__init__()
        self.flow = FlowNet(3 * width // 4)
        self.distortion = DistortionNet(calibrated=calibrated)
        self.correction = CorrectionNet(classes, width)

    def forward(
        self, frames: Sequence[Tensor], logits: Tensor | None = None, until: str = "correction"
    ) -> tuple[Step, ...]:
        """Every step of a clip, for training.

        Args:
            frames: each (N, 3, H, W) float RGB, 0 to 1; the first is the keyframe.
            logits: (N, classes, h, w) of the keyframe; for the flow alone not needed.
            until: `flow`, `distortion` or `correction`, the last part to compute.
        """
        if until == "flow" or logits is None:
            return tuple(Step(self.flow(now, before)) for before, now in pairwise(frames))
        memory, steps = self.begin(frames[0], logits), []
        for frame in frames[1:]:
            flows = self.flow(frame, memory.frame)
            memory = _moved(memory, frame, flows[0])
            corrected = self.correction(frame) if until == "correction" else None
            steps.append(Step(flows, memory, self._distortion(memory), corrected))
        return tuple(steps)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Step, ...]:
        """See `forward`; said here for the type checker."""
        steps: tuple[Step, ...] = super().__call__(*args, **kwargs)
        return steps

    def begin(self, frame: Tensor, logits: Tensor) -> Memory:
        """At a keyframe (N, 3, H, W), 0 to 1, with its logits (N, classes, h, w)."""
        return Memory(frame, logits, quartered(frame))

    def propagate(self, memory: Memory, frame: Tensor) -> Memory:
        """One frame further: S_t = warp(S_{t-1}, F_t), X_t = warp(X_{t-1}, F_t)."""
        return _moved(memory, frame, self.flow(frame, memory.frame)[0])

    def correct(self, memory: Memory) -> Parts:
        """What the last frame's answer is blended of, at a quarter of its size."""
        corrected = self.correction(memory.frame)
        return Parts(memory.logits, corrected, self._distortion(memory))

    def _distortion(self, memory: Memory) -> Tensor:
        distortion: Tensor = self.distortion(memory.small, quartered(memory.frame))
        return distortion


def _moved(memory: Memory, frame: Tensor, flow: Tensor) -> Memory:
    return Memory(frame, warp(memory.logits, flow), warp(memory.small, flow))


class Davss(nn.Module):
    """The whole system: a frozen segmenter for keyframes, and what carries its answer on.

    It holds nothing between calls; the caller keeps the `Memory` of its camera.

    Shape: pictures (N, H, W, 3) uint8 RGB, of any size and of one size within a clip.

    Args:
        segmenter: any network that gives logits (N, classes, ceil(H/4), ceil(W/4)).
        aware: trained to go with it.
    """

    def __init__(self, segmenter: DeepLabV3Plus | XceptionDeepLab, aware: DistortionAware) -> None:
        super().__init__()
        self.segmenter = segmenter.eval().requires_grad_(False)
        self.aware = aware

    def train(self, mode: bool = True) -> Davss:
        """The segmenter's statistics are part of what it has learnt: it stays as it is."""
        super().train(mode)
        self.segmenter.eval()
        return self

    def begin(self, image: Tensor) -> Memory:
        """Segment a keyframe."""
        return self.aware.begin(_planes(image), self.segmenter(image))

    def propagate(self, memory: Memory, image: Tensor) -> Memory:
        """Go one frame further, without an answer yet."""
        return self.aware.propagate(memory, _planes(image))

    def correct(self, memory: Memory) -> Parts:
        """What the last frame's answer is blended of, at a quarter of its size."""
        return self.aware.correct(memory)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Blended logits of a clip's last picture, (N, classes, H, W); the first is the key."""
        memory = self.begin(images[0])
        for image in images[1:]:
            memory = self.propagate(memory, image)
        return self.correct(memory).at(*images[-1].shape[1:3]).blended


def _planes(image: Tensor) -> Tensor:
    return image.float().permute(0, 3, 1, 2) / 255
