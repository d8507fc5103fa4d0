"""Recordings down the road of the vehicle: every frame, in order, through its own pipeline."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from adverse_perception.annotations import condition_json, label_info_json
from adverse_perception.bag_writer import BagWriter, write_bag
from adverse_perception.bags import BagFrame
from adverse_perception.drawing import caption, overlay, write_text
from adverse_perception.files import write_labels, write_picture
from adverse_perception.frames import Segmentation, UInt8Array
from adverse_perception.pipeline import Pipeline, PipelineError
from adverse_perception.recordings import Drops, Source, SourceError, SourceFrame
from adverse_perception.report import Report

LABELLED_BAG = "labelled"
REPORT = "report.json"

OpenPipeline = Callable[[], Pipeline]
"""Makes a fresh pipeline; all of them share the engines."""


@dataclass(frozen=True)
class Labelled:
    """A frame of a recording and what the pipeline said about it."""

    source: SourceFrame
    segmentation: Segmentation

    def overlay(self) -> UInt8Array:
        """(H, W, 3) uint8 RGB: the picture under its labels, the condition written on it."""
        picture = overlay(self.source.image, self.segmentation.labels)
        return write_text(picture, caption(self.segmentation.condition))

    def drawings(self) -> dict[str, UInt8Array]:
        """Pictures to look at by name, (H, W, 3) uint8 RGB: overlay; restored, where it is."""
        restored = self.segmentation.restored
        return {"overlay": self.overlay()} | ({} if restored is None else {"restored": restored})


class LabellingRun:
    """Labels the frames of one recording and keeps the account of it.

    Iterating does the work frame by frame. Videos and bags keep one pipeline per camera, so that
    its memory of the road helps; still pictures have nothing to do with each other and get a
    fresh one each.
    """

    def __init__(
        self, source: Source, open_pipeline: OpenPipeline, *, restore: bool = False
    ) -> None:
        """Label `source` with pipelines made by `open_pipeline`; `restore` pictures on the way."""
        self.report = Report(source.name)
        self.drops = Drops()
        self._source = source
        self._open_pipeline = open_pipeline
        self._restore = restore
        self._pipelines: dict[str, Pipeline] = {}
        self._failures: dict[str, tuple[int, str]] = {}
        self._digest = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Labelled]:
        started = time.perf_counter()
        for frame in self._source:
            labelled = self._label(frame)
            if labelled is not None:
                yield labelled
        self._close_account(time.perf_counter() - started)

    def _label(self, frame: SourceFrame) -> Labelled | None:
        pipeline = self._pipeline(frame.camera)
        try:
            segmentation = pipeline.process(replace(frame.frame, restore=self._restore))
        except PipelineError as error:
            self.drops.add("engine", f"{frame.name}: {error}")
            return None
        finally:
            if not self._source.continuous:
                self._note_failures(pipeline)
        self.report.add(segmentation, frame.labels)
        self._digest.update(segmentation.labels.tobytes())
        return Labelled(frame, segmentation)

    def _pipeline(self, camera: str) -> Pipeline:
        if not self._source.continuous:
            return self._open_pipeline()
        if camera not in self._pipelines:
            self._pipelines[camera] = self._open_pipeline()
        return self._pipelines[camera]

    def _note_failures(self, pipeline: Pipeline) -> None:
        for name, failure in pipeline.errors.items():
            count = self._failures.get(name, (0, ""))[0]
            self._failures[name] = (count + failure.count, failure.message)

    def _close_account(self, duration_s: float) -> None:
        for cause, count in self._source.drops.counts.items():
            self.drops.counts[cause] += count
        self.drops.messages.update(self._source.drops.messages)
        for pipeline in self._pipelines.values():
            self._note_failures(pipeline)
        report = self.report
        report.dropped.update(self.drops.counts)
        report.frames["read"] = report.frames["labelled"] + self.drops.total
        report.details["duration_s"] = round(duration_s, 3)
        report.details["labels_sha256"] = self._digest.hexdigest()
        report.details["engine_failures"] = {
            name: {"frames": count, "message": message}
            for name, (count, message) in self._failures.items()
        }
        if not report.frames["labelled"]:
            reasons = "; ".join(self.drops.messages.values()) or "it holds no frames"
            raise SourceError(f"no frame of {self._source.name} could be labelled: {reasons}")


def segment(run: LabellingRun, frames: Iterable[Labelled], out: Path) -> Report:
    """Write label pictures (`out/labels/NAME.png`) and overlays (`out/overlay/NAME.jpg`).

    Pictures that a route restored go to `out/restored/NAME.jpg`.

    Args:
        run: the run, for its report.
        frames: the run itself, or something that follows its progress.
        out: folder to write to; files appear whole or not at all.

    Raises:
        SourceError: not one frame could be labelled.
        FileError: a file could not be written.
    """
    for labelled in frames:
        name = labelled.source.name
        write_labels(out / "labels" / f"{name}.png", labelled.segmentation.labels)
        for kind, picture in labelled.drawings().items():
            write_picture(out / kind / f"{name}.jpg", picture)
    return run.report


def replay(
    run: LabellingRun,
    frames: Iterable[Labelled],
    out: Path,
    *,
    jpeg: bool = False,
    originals: bool = False,
) -> Report:
    """Write a labelled bag (`out/labelled`) and `out/report.json`, whole or not at all.

    Args:
        run: a run over a `Bag`, for its report.
        frames: the run itself, or something that follows its progress.
        out: folder to write to.
        jpeg: overlays and restored pictures as CompressedImage (small, lossy) instead of Image.
        originals: copy the camera's messages into the bag.

    Raises:
        SourceError: the bag is damaged, or not one frame could be labelled.
        FileError: something could not be written.
    """
    cameras: set[str] = set()
    with write_bag(out / LABELLED_BAG) as bag:
        for labelled in frames:
            if labelled.source.camera not in cameras:
                cameras.add(labelled.source.camera)
                _write_classes(bag, labelled.source)
            _write_labelled(bag, labelled, jpeg)
            if originals and isinstance(labelled.source, BagFrame):
                bag.copy(labelled.source)
    run.report.write(out / REPORT)
    return run.report


def _write_classes(bag: BagWriter, source: SourceFrame) -> None:
    topic = f"/{source.camera}/label_info_json"
    bag.text(topic, label_info_json(), source.logged_ns, latched=True)


def _write_labelled(bag: BagWriter, labelled: Labelled, jpeg: bool) -> None:
    source, segmentation = labelled.source, labelled.segmentation
    bag.image(f"/{source.camera}/labels", segmentation.labels, source)
    for name, picture in labelled.drawings().items():
        if jpeg:
            bag.jpeg(f"/{source.camera}/{name}/compressed", picture, source)
        else:
            bag.image(f"/{source.camera}/{name}", picture, source)
    # without its durations, which differ from run to run: the same bag in gives the same bag out
    said = condition_json(segmentation, {}, bag.header(source))
    bag.text(f"/{source.camera}/condition", said, source.logged_ns)
