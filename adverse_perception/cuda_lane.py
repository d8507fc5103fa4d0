"""Everything that is done on the GPU for pictures of one shape, and the memory it is done in.

Four pieces of work, each a CUDA graph from its second time on: `look` begins every frame; then the
picture goes through the whole network, or the last key frame is carried on to it, corrected or
not. A key frame's logits, colours and entropy stay where they are until the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adverse_perception.inference import EngineError
from adverse_perception.inference.engine import INPUT
from adverse_perception.inference.tensorrt_execution import Context
from adverse_perception.kernels.arena import Arena
from adverse_perception.kernels.device import Device, DeviceArray
from adverse_perception.kernels.evidence import COLOURS, ENTROPY, PLANES
from adverse_perception.kernels.frame_gpu import PARTS, FrameKernels, Verdict
from adverse_perception.kernels.gpu import FlowWarp
from adverse_perception.kernels.graphs import Recorded

Size = tuple[int, int]
"""Height and width."""
EVIDENCE, DISTORTION, LOGITS = slice(PLANES), slice(PLANES, PLANES + 1), slice(PLANES + 1, None)
"""Places of what was judged; logits and correction share one."""


@dataclass(frozen=True)
class Tools:
    """What one camera works with.

    Attributes:
        device: the GPU.
        stream: the camera's own.
        flow_warp: our kernels, shared.
        frame: the others, shared.
        whole: the key network, in a context of the camera's own.
        correction: likewise; None = nothing is corrected.
    """

    device: Device
    stream: Any
    flow_warp: FlowWarp
    frame: FrameKernels
    whole: Context
    correction: Context | None


class Lane:
    """Memory for pictures of one shape. Everything here is called inside `with device:`.

    Attributes:
        picture: (H, W, 3) uint8 RGB, the camera's; to be filled before `look`.
        half: (h/2, w/2, 3) uint8 RGB, half the working picture; here after `look`.
        flow: (h/4, w/4, 2) float32, to be filled before anything is carried.
        wandered: (1, h/4, w/4) float32, likewise.
        labels: (H, W) uint8, here after everything but `look`.
        confidence: (H, W) uint8, likewise.
        found: what `verdict` reads, likewise.
        look: brings the picture up and to the sizes that are needed.
        whole: labels it by the whole network and makes it the key frame.
        carried: labels it by the key frame, along the flow.
    """

    def __init__(self, tools: Tools, size: Size, working: Size) -> None:
        """Take memory; nothing is taken later.

        Args:
            tools: of the camera.
            size: of the camera's picture.
            working: of the picture that the key network sees, even numbers.

        Raises:
            EngineError: the network does not take pictures of that size.
            DeviceError: the GPU has too little memory.
        """
        self._tools, self._arena = tools, Arena(tools.device, tools.stream)
        self.classes, *grid = tools.whole.shaped({INPUT: (1, *working, 3)})["logits"][1:]
        self.grid = grid[0], grid[1]
        try:
            self._take(size, working)
        except BaseException:
            self.close()
            raise
        tools.whole.bind({INPUT: self._working, "logits": self._logits})
        self.look = self._arena.recorded(self._look)
        self.whole = self._arena.recorded(self._label_whole)
        self.carried = self._arena.recorded(self._label_carried)

    def _take(self, size: Size, working: Size) -> None:
        arena, grid, classes = self._arena, self.grid, self.classes
        planes = classes + COLOURS + ENTROPY
        self.picture = arena.mirrored((*size, 3), np.uint8)
        self.half = arena.mirrored((working[0] // 2, working[1] // 2, 3), np.uint8)
        self.flow = arena.mirrored((*grid, 2), np.float32)
        self.wandered = arena.mirrored((1, *grid), np.float32)
        self.labels, self.confidence = (arena.mirrored(size, np.uint8) for _ in range(2))
        self.found = arena.mirrored((PLANES + 1 + classes, PARTS, 2), np.float32)
        fits = size == working
        self._working = self.picture.there if fits else arena.there((*working, 3), np.uint8)
        self._small = arena.there((*grid, 3), np.uint8)
        self._planes, self._moved = (arena.there((planes, *grid), np.float32) for _ in range(2))
        self._logits, self._warped = self._planes.part(0, classes), self._moved.part(0, classes)
        self._evidence = arena.there((PLANES, *grid), np.float32)
        self._correction = arena.there((classes, *grid), np.float32)
        self._distortion = arena.there((1, *grid), np.float32)
        self._undistorted = arena.zeros(grid, np.float32)

    def close(self) -> None:
        """Give everything back, with nothing under way."""
        self._arena.close()

    @property
    def residual(self) -> float:
        """Mean difference of the picture from the warped key picture, 0 to 1."""
        return self.verdict(slice(COLOURS)).mean

    def verdict(self, place: slice) -> Verdict:
        """What was found in the planes of one place."""
        return Verdict.read(self.found.here[place], self.grid[0] * self.grid[1])

    @cached_property
    def corrected(self) -> Recorded:
        """Labels the picture by the key frame, along the flow and corrected.

        Raises:
            EngineError: the correction does not take pictures of that size.
        """
        context = self._tools.correction
        assert context is not None
        arrays = {
            INPUT: self.half.there, "warped": self._warped, "evidence": self._evidence,
            "correction": self._correction, "distortion": self._distortion,
        }  # fmt: skip
        shapes = context.shaped({name: (1, *arrays[name].shape) for name in context.inputs})
        for name in context.outputs:
            if shapes[name] != (1, *arrays[name].shape):
                raise EngineError(
                    f"{name}: expected {(1, *arrays[name].shape)}, found {shapes[name]}"
                )
        context.bind(arrays)
        return self._arena.recorded(self._label_corrected)

    def _look(self) -> None:
        tools = self._tools
        self._arena.upload(self.picture)
        if self._working is not self.picture.there:
            tools.frame.resize(self.picture.there, self._working, tools.stream)
        tools.frame.resize(self._working, self.half.there, tools.stream)
        tools.frame.resize(self.half.there, self._small, tools.stream)
        self._arena.download(self.half)

    def _label_whole(self) -> None:
        tools = self._tools
        tools.whole.enqueue(tools.device.handle(tools.stream))
        tools.frame.remember(self._planes, self._small, tools.stream)
        self._judge(self._logits, LOGITS)
        self._label(self._logits, self._logits, self._undistorted)

    def _label_carried(self) -> None:
        self._warp()
        self._label(self._warped, self._warped, self._undistorted)

    def _label_corrected(self) -> None:
        tools = self._tools
        assert tools.correction is not None
        self._warp()
        tools.correction.enqueue(tools.device.handle(tools.stream))
        self._judge(self._correction, LOGITS)
        self._judge(self._distortion, DISTORTION)
        self._label(self._warped, self._correction, self._distortion.shaped(self.grid))

    def _warp(self) -> None:
        tools, motion = self._tools, (self.flow.there, self.wandered.there)
        self._arena.upload(self.flow)
        self._arena.upload(self.wandered)
        tools.flow_warp.warp(self._planes, self.flow.there, self._moved, tools.stream)
        tools.frame.evidence(self._moved, self._small, motion, self._evidence, tools.stream)
        self._judge(self._evidence, EVIDENCE)

    def _label(
        self, warped: DeviceArray, correction: DeviceArray, distortion: DeviceArray
    ) -> None:
        stream, logits = self._tools.stream, (warped, correction)
        labels, confidence = self.labels.there, self.confidence.there
        self._tools.flow_warp.correct_and_label(logits, distortion, labels, confidence, stream)
        for result in (self.labels, self.confidence, self.found):
            self._arena.download(result)

    def _judge(self, values: DeviceArray, rows: slice) -> None:
        first, last, _ = rows.indices(len(self.found.here))
        self._tools.frame.judge(values, self.found.there.part(first, last), self._tools.stream)
