"""What labels the night in a study: engines and checkpoints by name, and the best of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adverse_perception.frames import Condition, Frame, UInt8Array, Weather
from adverse_perception.labels import UNLABELLED
from adverse_perception.segmenters import SEGMENTERS, Segmenter
from training.evaluate import open_engine
from training.networks.fusion import PATCH
from training.studies.spearman import StudyError

_CONDITION = Condition(Weather.NIGHT)


class Answer(NamedTuple):
    """Labels (H, W) uint8 of a picture, and their confidence (H, W) uint8, 0 to 255."""

    labels: UInt8Array
    confidence: UInt8Array


@dataclass(frozen=True)
class Way:
    """An engine or a checkpoint over the road that a frame takes on the vehicle."""

    name: str
    path: Path
    segmenter: Segmenter

    @property
    def runtime(self) -> str:
        """What runs the network; times by two runtimes do not compare."""
        return "ONNX Runtime" if self.path.suffix == ".onnx" else "PyTorch"

    def answer(self, image: UInt8Array) -> Answer:
        """Label a picture, (H, W, 3) uint8 RGB. Raises `EngineError`."""
        said = self.segmenter.segment(Frame(image), _CONDITION)
        return Answer(said.labels, said.confidence)


def ways_of(given: Sequence[str]) -> list[Way]:
    """The ways that a command line names, one thread each.

    Args:
        given: NAME=PATH, where the path is one of an engine (.onnx) or a checkpoint (.pt).

    Raises:
        StudyError: an argument is not of that form, a name comes twice, or it labels nothing.
        EngineError: an engine is missing or broken.
        CheckpointError: a checkpoint is.
    """
    ways: dict[str, Way] = {}
    for argument in given:
        way = _way(argument)
        if way.name in ways:
            raise StudyError(
                f"{argument}: expected every name once, found {way.name} twice; rename one"
            )
        ways[way.name] = way
    return list(ways.values())


def _way(argument: str) -> Way:
    name, _, where = argument.partition("=")
    if not name or not where:
        raise StudyError(
            f"ways: expected NAME=PATH, found {argument!r}; say clear=engines/clear.onnx"
        )
    path = Path(where)
    engine = open_engine(path, "onnxruntime", threads=1)
    role = engine.metadata.role
    if role not in SEGMENTERS:
        raise StudyError(
            f"{path}: expected a network of role {' or '.join(SEGMENTERS)}, found one of {role}, "
            "which labels nothing; name another"
        )
    return Way(name, path, SEGMENTERS[role](engine))


def told(ways: Sequence[Way]) -> str:
    """The ways as a command line names them, each by its file and folder."""
    return " ".join(f"{way.name}={way.path.parent.name}/{way.path.name}" for way in ways)


def best_patches(one: Answer, other: Answer, truth: UInt8Array, patch: int = PATCH) -> Answer:
    """For each patch the answer with more right pixels there; `one` where they are equal.

    No choice between the two, patch by patch, has more right pixels. Patches are counted from
    the top left; the last ones may be cut by the picture's border.

    Args:
        one: of a picture.
        other: of the same picture.
        truth: (H, W) uint8 class ids; pixels of 255 do not count.
        patch: side in pixels.
    """
    lead = (other.labels == truth).astype(np.int32) - (one.labels == truth)
    lead[truth == UNLABELLED] = 0
    rows, columns = (np.arange(0, side, patch) for side in truth.shape)
    leads = np.add.reduceat(np.add.reduceat(lead, rows, axis=0), columns, axis=1)
    height, width = truth.shape
    trusted = (leads > 0).repeat(patch, axis=0).repeat(patch, axis=1)[:height, :width]
    return Answer(
        np.where(trusted, other.labels, one.labels),
        np.where(trusted, other.confidence, one.confidence),
    )
