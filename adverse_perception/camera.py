"""One camera of the node, free of ROS: from a message to a segmentation, or to a counted drop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from adverse_perception import transport
from adverse_perception.config import NodeConfig
from adverse_perception.diagnostics import CameraHealth, Status, Surroundings, Trouble
from adverse_perception.frames import Frame, Segmentation
from adverse_perception.messages import MessageError, compressed_to_frame, stamp_ns, to_frame
from adverse_perception.pipeline import Pipeline

DECODERS: dict[str, Callable[[Any, str], Frame]] = {
    "raw": to_frame,
    "compressed": compressed_to_frame,
}
"""How a picture message becomes a frame, by `image_transport`."""


@dataclass(frozen=True)
class Arrival:
    """A picture message and when it came in, by `time.perf_counter`."""

    message: Any
    arrived_s: float


@dataclass(frozen=True)
class Labelled:
    """A frame with its labels; durations by stage in milliseconds."""

    frame: Frame
    segmentation: Segmentation
    durations_ms: dict[str, float]


class Camera:
    """Remembers one camera: its pipeline, its last stamp, its health.

    `receive` is called by the thread that listens, `label` by the one that works.
    """

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        complain: Callable[[str, Trouble, str], None],
        image_transport: str = "raw",
    ) -> None:
        """Begin with an empty memory.

        Args:
            name: the camera's name.
            pipeline: what labels its frames.
            complain: told (camera, cause, reason) whenever a frame cannot be labelled.
            image_transport: `raw` or `compressed`.
        """
        self.name = name
        self.health = CameraHealth(name)
        self.pipeline = pipeline
        self._complain = complain
        self._decode = DECODERS[image_transport]
        self._last_stamp_ns = 0

    def receive(self, message: Any) -> Arrival:
        """Note that a picture message has come in."""
        now_s = time.perf_counter()
        self.health.received(stamp_ns(message.header), now_s)
        return Arrival(message, now_s)

    def superseded(self) -> None:
        """Note that a picture was replaced by a newer one before its turn came."""
        reason = "a newer picture came before this one's turn"
        self.health.note(Trouble.SUPERSEDED, time.perf_counter(), reason)

    def lost(self, count: int) -> None:
        """Note that the transport has lost some pictures."""
        self.health.note(Trouble.LOST, time.perf_counter(), transport.advice(), count)

    def status(self, around: Surroundings) -> Status:
        """How the camera fares; what is wrong is complained of as well."""
        status = self.health.status(time.perf_counter(), around)
        for cause, text in status.findings.items():
            self._complain(self.name, cause, text)
        return status

    def label(
        self, arrival: Arrival, config: NodeConfig, *, restore: bool = False
    ) -> Labelled | None:
        """Label a picture message; None when it cannot be, for a reason that is counted.

        Args:
            arrival: the message.
            config: the configuration that holds now.
            restore: somebody looks at the restored picture.
        """
        begun_s = time.perf_counter()
        if self._comes_late(arrival.message, config.late_frame_s):
            return None
        try:
            frame = replace(self._decode(arrival.message, self.name), restore=restore)
            decoded_s = time.perf_counter()
            segmentation = self._process(frame)
        except MessageError as error:
            self._note(Trouble.UNUSABLE, str(error))
            return None
        except Exception as error:  # whatever an engine raises: the next frame may be fine
            self._note(Trouble.FAILED, f"{type(error).__name__}: {error}")
            return None
        durations_ms = {
            "wait": (begun_s - arrival.arrived_s) * 1e3,
            "decode": (decoded_s - begun_s) * 1e3,
            **segmentation.timing_ms,
        }
        return Labelled(frame, segmentation, durations_ms)

    def _process(self, frame: Frame) -> Segmentation:
        """Label a frame; what failed and was stood in for is reported."""
        before = self.pipeline.errors
        segmentation = self.pipeline.process(frame)
        for engine, failure in self.pipeline.errors.items():
            if failure != before.get(engine):
                reason = f"{engine} failed on {failure.count} frame(s): {failure.message}"
                between = engine in segmentation.failures
                self._note(Trouble.UNCORRECTED if between else Trouble.RESCUED, reason)
        return segmentation

    def _comes_late(self, message: Any, late_s: float) -> bool:
        """Drop a frame that others have overtaken; a longer way back is a new drive."""
        stamp = stamp_ns(message.header)
        back_s = (self._last_stamp_ns - stamp) / 1e9
        if 0 < back_s <= late_s:
            self._note(
                Trouble.OUT_OF_ORDER, f"a frame is {back_s:.3f} s older than the one before"
            )
            return True
        if back_s > late_s:
            self._note(Trouble.NEW_DRIVE, f"stamps went back by {back_s:.1f} s")
            self.pipeline.forget()
        self._last_stamp_ns = stamp
        return False

    def _note(self, cause: Trouble, reason: str) -> None:
        self.health.note(cause, time.perf_counter(), reason)
        self._complain(self.name, cause, reason)
