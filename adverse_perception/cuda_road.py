"""The road of a frame on a GPU: the picture goes up, labels and confidence come down.

Everything between stays there, but for half the working picture: optical flow is estimated from
it on the CPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from adverse_perception.cuda_lane import DISTORTION, EVIDENCE, LOGITS, Lane, Tools
from adverse_perception.frames import Condition, Frame, Segmentation
from adverse_perception.inference import Engine, EngineError, silent
from adverse_perception.inference.engine import ROLE_OUTPUTS
from adverse_perception.inference.tensorrt_backend import TensorRtEngine
from adverse_perception.inference.tensorrt_execution import Context
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.gpu import MOST_CLASSES
from adverse_perception.kernels.graphs import Recorded
from adverse_perception.kernels.sharing import Gpu
from adverse_perception.propagation import Motion
from adverse_perception.roads import FLOW, stage
from adverse_perception.segmenters import LABELS, SEGMENTERS, Passage, not_finite, working_size


def road_problem(engines: Iterable[Engine]) -> tuple[str, ...]:
    """A line that says why frames do not stay on the GPU although engines lie there, if so."""
    for engine in engines:
        if isinstance(engine, TensorRtEngine):
            try:
                with engine.gpu.device:
                    engine.gpu.kernels()
            except DeviceError as error:
                return (f"frames come down from the GPU to be labelled on the CPU; {error}",)
    return ()


def open_road(
    engine: Engine, correction: Engine | None, tell: Callable[[str], None] = silent
) -> CudaRoad | None:
    """The road through engines that lie on a GPU.

    Args:
        engine: gives logits.
        correction: corrects; None = nothing is corrected.
        tell: is told what does not go as it should, in lines for the user.

    Returns:
        None where an engine lies elsewhere or is to run in batches, and where the road cannot be
        made, which is told.
    """
    if not isinstance(engine, TensorRtEngine):
        return None
    if not (correction is None or isinstance(correction, TensorRtEngine)):
        return None
    try:
        return CudaRoad(engine, correction, tell)
    except (DeviceError, EngineError) as error:
        tell(
            f"engine {engine.name}: its frames come down from the GPU to be labelled on the CPU,"
            f" since the way there cannot be made: {error}"
        )
        return None


class CudaRoad:
    """See `Road`: one camera's, with a stream, contexts and memory of its own.

    Attributes:
        without_graphs: why work is put into the stream piece by piece; empty while CUDA graphs
            are replayed.
    """

    def __init__(
        self,
        engine: TensorRtEngine,
        correction: TensorRtEngine | None,
        tell: Callable[[str], None] = silent,
    ) -> None:
        """Use engines on the same GPU, which may be shared; see `open_road`.

        Raises:
            DeviceError: our kernels cannot be compiled for the GPU.
            EngineError: it has too little memory, or engines speak of what our kernels cannot do.
        """
        self.without_graphs = ""
        self._tell = tell
        self._engine, self._correction = engine, correction
        self._restoring = SEGMENTERS[engine.metadata.role](engine)
        self._gpu = engine.gpu
        # one of each at most, known nowhere else, so that they are gone when they are let go
        self._tool_box = [_tools(self._gpu, engine, correction)]
        self._lanes: dict[tuple[int, ...], Lane] = {}  # by the shape of pictures
        self._passage: Passage
        self._motion: Motion
        weakref.finalize(self, _let_go, self._gpu, self._tool_box, self._lanes)

    def alone(self, frame: Frame, condition: Condition) -> Segmentation:
        """See `Road.alone`."""
        if frame.restore and self._engine.metadata.role == "joint":
            return self._restoring.segment(frame, condition)
        self.enter(frame, condition)
        return self._by_the_whole_network()

    def enter(self, frame: Frame, condition: Condition) -> None:
        """See `Road.enter`."""
        self._passage = Passage(frame, condition, self._engine.name)
        with self._told(), self._gpu.device:
            self._open_lane(frame)
            self._lane.picture.here[...] = frame.image
            self._run(self._lane.look)
        self._passage.ended("resize")

    def whole(self) -> Segmentation:
        """See `Road.whole`."""
        said = self._by_the_whole_network()
        self._motion = Motion(self._lane.half.here, *self._lane.grid)
        return said

    def follow(self, corrected: bool) -> float:
        """See `Road.follow`."""
        lane, passage = self._lane, self._passage
        with stage(passage, "flow", FLOW):
            self._motion.step(lane.half.here)
            self._motion.check()
            lane.flow.here[...] = self._motion.flow
            lane.wandered.here[...] = self._motion.wandered
        culprit = self._correction.name if corrected and self._correction else FLOW
        with stage(passage, "correct" if corrected else "label", culprit), self._gpu.device:
            self._run(lane.corrected if corrected else lane.carried)
        with stage(passage, "flow", FLOW):
            if not lane.verdict(EVIDENCE).finite:
                raise ValueError("expected finite evidence, found nan or infinity")
            return lane.residual

    def distortion(self) -> float:
        """See `Road.distortion`; it is there already."""
        assert self._correction is not None
        name = self._correction.name
        with stage(self._passage, "correct", name):
            for output, place in (("correction", LOGITS), ("distortion", DISTORTION)):
                if not self._lane.verdict(place).finite:
                    raise not_finite(name, output)
            return self._lane.verdict(DISTORTION).mean

    def label(self) -> Segmentation:
        """See `Road.label`; the labels are here already, in memory of the next frame's too."""
        labels, confidence = self._lane.labels.here, self._lane.confidence.here
        return self._passage.said(np.array(labels), np.array(confidence))

    def _by_the_whole_network(self) -> Segmentation:
        with self._told(), self._gpu.device:
            self._run(self._lane.whole)
        self._passage.ended("infer")
        if not self._lane.verdict(LOGITS).finite:
            raise not_finite(self._engine.name, "logits")
        return self.label()

    @property
    def _lane(self) -> Lane:
        return next(iter(self._lanes.values()))

    def _open_lane(self, frame: Frame) -> None:
        """Take memory for pictures of that shape; that for others is given back."""
        shape = frame.image.shape
        if shape not in self._lanes:
            _close(self._lanes)
            size = shape[0], shape[1]
            working = working_size(*size, self._engine.metadata)
            self._lanes[shape] = Lane(self._tool_box[0], size, working)

    def _run(self, work: Recorded) -> None:
        """Do a piece of work and wait for it."""
        device, stream = self._gpu.device, self._tool_box[0].stream
        try:
            work()
        finally:  # also after a failure: the next frame comes into the same memory
            device.synchronise(stream)
        if work.refusal and not self.without_graphs:
            self.without_graphs = work.refusal
            self._tell(
                f"engine {self._engine.name}: no CUDA graph can be made of its work, so each"
                f" piece is started by itself: {work.refusal}"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of what goes wrong with which engine and which picture it did."""
        try:
            yield
        except Exception as error:
            shape = self._passage.frame.image.shape
            raise EngineError(f"engine {self._engine.name} failed on {shape}: {error}") from error


def _tools(gpu: Gpu, engine: TensorRtEngine, correction: TensorRtEngine | None) -> Tools:
    classes = len(engine.metadata.classes)
    if classes > MOST_CLASSES:
        raise EngineError(f"expected up to {MOST_CLASSES} classes, found {classes}")
    with gpu.device:
        flow_warp, frame = gpu.kernels()
        whole = engine.context(LABELS)
        other = correction.context(ROLE_OUTPUTS["correction"]) if correction else None
        for context in filter(None, (whole, other)):
            _check_floats(context)
        return Tools(gpu.device, gpu.device.stream(), flow_warp, frame, whole, other)


def _check_floats(context: Context) -> None:
    for name in context.outputs:
        if context.types[name] != np.float32:
            raise EngineError(
                f"{name}: expected float32, found {context.types[name]}; export the engine with"
                " float32 inputs and outputs"
            )


def _let_go(gpu: Gpu, tool_box: list[Tools], lanes: dict[tuple[int, ...], Lane]) -> None:
    with gpu.device:
        _close(lanes)
        gpu.device.free(tool_box.pop().stream)


def _close(lanes: dict[tuple[int, ...], Lane]) -> None:
    while lanes:
        lanes.popitem()[1].close()
