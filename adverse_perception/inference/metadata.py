"""What an engine file says about itself, and the check that it is whole.

The description is JSON under one key of the ONNX file's `metadata_props`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from adverse_perception.files import write_bytes
from adverse_perception.frames import Weather
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.onnx_file import open_content, read_bytes, with_property
from adverse_perception.labels import CLASS_NAMES

METADATA_KEY = "adverse_perception"
FORMAT = 1
WEATHER_NAMES = tuple(weather.value for weather in Weather)
ROLE_CLASSES: dict[str, tuple[str, ...]] = {
    "weather": WEATHER_NAMES,
    "segmentation": CLASS_NAMES,
    "joint": CLASS_NAMES,
    "correction": CLASS_NAMES,
}
"""Role of an engine -> the names of its output channels, in order."""
FULL = "fp32"
"""The precision that networks are trained in; every other is a variant of a file in this one."""
PRECISIONS = (FULL, "fp16", "int8")
ROLE_VARIANTS: dict[str, tuple[str, ...]] = {
    "weather": ("fp16", "int8"),
    "segmentation": ("fp16", "int8"),
    "joint": ("fp16", "int8"),
    "correction": ("fp16",),
}
"""Role of an engine -> the precisions in which variants of it are made.

The correction costs little, and calibrating it would take videos.
"""

AREA_TOLERANCE = 0.1
"""A working picture's area may be below the nominal one by this share, where the picture is made
much faster: scores wander by about as much from one size to the next."""


@dataclass(frozen=True)
class EngineMetadata:
    """The engine's description of itself.

    Attributes:
        name: what diagnostics and reports call it.
        role: "weather", "segmentation", "joint" or "correction".
        conditions: names of the weathers it was made for.
        classes: name of every output channel, in order.
        input_height: nominal picture height in pixels (exact size for the weather role).
        input_width: nominal picture width in pixels.
        stride: picture pixels per logit, each way.
        training_data: name and terms of every data set it learnt from.
        scores: its own scores by weather, 0 to 1.
        weights_sha256: checksum of the graph with its weights, see `checksum`.
        exported_with: versions of what wrote it.
        notes: anything a user should know.
        precision: what it calculates in, of `PRECISIONS`; what it hands out is float32 always.
        reference_scores: of a variant, what the engine it was made from scored on the very same
            frames in the same run.
        made_from: of a variant, `weights_sha256` of the engine it was made from.
        format: version of this description.
    """

    name: str
    role: str
    conditions: tuple[str, ...]
    classes: tuple[str, ...]
    input_height: int
    input_width: int
    stride: int = 4
    training_data: tuple[Mapping[str, str], ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    weights_sha256: str = ""
    exported_with: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    precision: str = FULL
    reference_scores: Mapping[str, float] = field(default_factory=dict)
    made_from: str = ""
    format: int = FORMAT

    @property
    def title(self) -> str:
        """The name, and the precision where that is not the usual one."""
        return self.name if self.precision == FULL else f"{self.name} ({self.precision})"

    @property
    def loss(self) -> float:
        """How much less a variant scores than what it was made from, 0.005 for half a point.

        The largest difference over the weathers it is for; infinite where nobody has measured it.
        """
        if self.precision == FULL:
            return 0.0
        both = self.scores.keys() & self.reference_scores.keys()
        lost = [
            round(self.reference_scores[name] - self.scores[name], 6)
            for name in both & set(self.conditions) or both
        ]
        return max(lost, default=math.inf)

    def to_json(self) -> str:
        """The description as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: str = "engine metadata") -> EngineMetadata:
        """Read a description strictly: every field there, known, and of its type.

        Raises:
            EngineError: names the field, what was expected and what was found.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise EngineError(f"{origin}: expected JSON, found {error}; export it again") from None
        if not isinstance(content, dict):
            raise EngineError(f"{origin}: expected a JSON object; export it again")
        if content.get("format") != FORMAT:
            raise EngineError(
                f"{origin}: expected metadata format {FORMAT}, found {content.get('format')!r};"
                " export it again with this package's version"
            )
        _check_names(content, origin)
        metadata = cls(**{name: _frozen(value) for name, value in content.items()})
        _check_values(metadata, origin)
        return metadata


def _check_names(content: Mapping[str, Any], origin: str) -> None:
    declared = {item.name: item for item in fields(EngineMetadata)}
    unknown = sorted(set(content) - set(declared))
    missing = [
        name
        for name, item in declared.items()
        if name not in content and item.default is MISSING and item.default_factory is MISSING
    ]
    if unknown or missing:
        raise EngineError(
            f"{origin}: missing fields {missing}, unknown fields {unknown}; export it again"
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_KINDS: dict[str, type | tuple[type, ...]] = {
    "tuple": tuple,
    "Mapping": dict,
    "str": str,
    "int": int,
}
"""Start of an annotation -> what JSON gives for it."""


def _check_values(metadata: EngineMetadata, origin: str) -> None:
    for item in fields(metadata):
        kind = str(item.type).partition("[")[0]
        value = getattr(metadata, item.name)
        if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
            raise EngineError(f"{origin}: {item.name} expects {item.type}, found {value!r}")
    _check_role(metadata, origin)
    if metadata.precision not in PRECISIONS:
        raise EngineError(
            f"{origin}: precision expects one of {list(PRECISIONS)}, found {metadata.precision!r};"
            " export it again"
        )
    strange = sorted(set(metadata.conditions) - set(WEATHER_NAMES))
    if strange or not metadata.conditions:
        raise EngineError(
            f"{origin}: conditions expects some of {list(WEATHER_NAMES)},"
            f" found {list(metadata.conditions)}"
        )
    if min(metadata.input_height, metadata.input_width, metadata.stride) < 1:
        raise EngineError(
            f"{origin}: expected a positive input size and stride, found"
            f" {metadata.input_height}x{metadata.input_width}, stride {metadata.stride}"
        )


def _check_role(metadata: EngineMetadata, origin: str) -> None:
    if metadata.role not in ROLE_CLASSES:
        raise EngineError(
            f"{origin}: role expects one of {sorted(ROLE_CLASSES)}, found {metadata.role!r}"
        )
    expected = ROLE_CLASSES[metadata.role]
    if metadata.classes != expected:
        found = ", ".join(map(str, metadata.classes))
        raise EngineError(
            f"{origin} has {len(metadata.classes)} classes ({found}),"
            f" this package expects {len(expected)} ({', '.join(expected)});"
            " export it again or update labels.py"
        )


def read_metadata(path: Path, content: bytes | None = None) -> EngineMetadata:
    """Read and check the description inside an engine file.

    Args:
        path: the ONNX file.
        content: its bytes, where the caller already has them.

    Raises:
        EngineError: the file is missing, truncated, damaged, not ours, or does not fit.
    """
    content = read_bytes(path) if content is None else content
    graph, properties = open_content(content, path)
    if METADATA_KEY not in properties:
        raise EngineError(
            f"{path}: expected an engine of this package (metadata key {METADATA_KEY!r}), found an"
            " ONNX file without it; export it with training/export.py"
        )
    metadata = EngineMetadata.from_json(properties[METADATA_KEY], str(path))
    found = hashlib.sha256(graph).hexdigest()
    if metadata.weights_sha256 != found:
        raise EngineError(
            f"{path} is damaged: expected weights with sha256 {metadata.weights_sha256[:12]}...,"
            f" found {found[:12]}...; copy or export it again"
        )
    return metadata


@dataclass(frozen=True)
class EngineFile:
    """An engine file that has been read and checked.

    Attributes:
        content: its bytes.
        metadata: what it says about itself.
        path: what errors call it.
    """

    content: bytes
    metadata: EngineMetadata
    path: Path


def read_engine(path: Path) -> EngineFile:
    """Read an engine file and check its description, see `read_metadata`. Raises `EngineError`."""
    content = read_bytes(path)
    return EngineFile(content, read_metadata(path, content), path)


def write_metadata(path: Path, metadata: EngineMetadata) -> EngineMetadata:
    """Write the description into an ONNX file, in place of the one it has.

    The checksum is filled in here. The file is written whole or stays as it was.

    Returns:
        The description as written.

    Raises:
        EngineError: the file is no ONNX file, or the description is not valid.
        FileError: it cannot be written.
    """
    content = read_bytes(path)
    metadata = replace(metadata, weights_sha256=checksum(content))
    metadata = EngineMetadata.from_json(metadata.to_json(), str(path))
    write_bytes(path, with_property(content, METADATA_KEY, metadata.to_json(), path))
    return metadata


def checksum(engine: Path | bytes) -> str:
    """Sha256 of the graph (structure and weights) of an ONNX file; its metadata is left out."""
    path = engine if isinstance(engine, Path) else Path("engine")
    content = read_bytes(engine) if isinstance(engine, Path) else engine
    return hashlib.sha256(open_content(content, path)[0]).hexdigest()
