"""An engine in less precision: smaller, and faster where the machine multiplies it faster.

  python -m training.precision engines/clear.onnx
  python -m training.precision engines/clear.onnx --precisions int8

Beside engines/clear.onnx come engines/fp16/clear.onnx and engines/int8/clear.onnx, made from it by
ONNX Runtime's tools. All of them are scored on the same frames; each variant says what it loses.
What goes in and comes out stays as it is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnxruntime

from adverse_perception.files import FileError
from adverse_perception.inference import (
    FULL,
    ROLE_VARIANTS,
    TOLERATED_LOSS,
    EngineError,
    EngineMetadata,
    load_engine,
    read_engine,
    variant_path,
    write_metadata,
)
from training.datasets import data_folder
from training.fewer_bits import write_fp16, write_int8, write_rounded
from training.measure import measure, scoring_pack

_MAKERS: dict[str, Callable[[Path, Path, Path], dict[str, str]]] = {
    "fp16": write_fp16,
    "int8": write_int8,
}


class PrecisionError(ValueError):
    """An engine that has no such variant."""


def write_variants(
    path: Path, precisions: Sequence[str], scores: Mapping[str, float], data: Path
) -> list[EngineMetadata]:
    """Write variants of an engine file beside it, each scored.

    Args:
        path: the engine file, in fp32.
        precisions: which, of `ROLE_VARIANTS`.
        scores: what the file itself scores by `measure`.
        data: labelled folder; int8 is calibrated on its training split.

    Returns:
        What they say about themselves.

    Raises:
        PrecisionError: the file is a variant itself, or its role has no such one.
        DatasetError: the data is not there.
    """
    check(read_engine(path).metadata, precisions)
    return [_write_variant(path, precision, scores, data) for precision in precisions]


def check(metadata: EngineMetadata, precisions: Sequence[str]) -> None:
    """Raises `PrecisionError` where an engine has not all of these variants."""
    able = ROLE_VARIANTS[metadata.role] if metadata.precision == FULL else ()
    if unable := [precision for precision in precisions if precision not in able]:
        raise PrecisionError(
            f"engine {metadata.title} of role {metadata.role}: expected precisions of"
            f" {', '.join(able) or 'none'}, found {unable[0]}; leave it out"
        )


def _write_variant(
    path: Path, precision: str, scores: Mapping[str, float], data: Path
) -> EngineMetadata:
    """Made and scored aside, then named: what was there before stays until then."""
    place = variant_path(path, precision)
    place.parent.mkdir(parents=True, exist_ok=True)
    itself = read_engine(path).metadata
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        aside = Path(folder) / path.name
        made_with = _MAKERS[precision](path, aside, data)
        made_with = {**itself.exported_with, "onnxruntime": onnxruntime.__version__, **made_with}
        metadata = replace(
            itself,
            scores={},
            precision=precision,
            reference_scores=dict(scores),
            made_from=itself.weights_sha256,
            exported_with=made_with,
        )
        metadata = write_metadata(aside, metadata)
        judged = load_engine(_as_on_a_gpu(path, aside, metadata))
        own = measure(judged, scoring_pack(itself.role, data))
        metadata = write_metadata(aside, replace(metadata, scores=own))
        aside.replace(place)
    return metadata


def _as_on_a_gpu(path: Path, variant: Path, metadata: EngineMetadata) -> Path:
    """The file that calculates on a CPU what the variant of an engine file does on a GPU."""
    if metadata.precision != "fp16":
        return variant
    rounded = variant.with_name("rounded.onnx")
    write_rounded(path, rounded)
    write_metadata(rounded, metadata)
    return rounded


def line(path: Path, metadata: EngineMetadata) -> str:
    """What came of an engine file or of a variant of it, for the user."""
    told = f"{metadata.name}, {metadata.scores or 'not scored'}"
    if metadata.precision == FULL:
        return f"{path}: {told}"
    lost = f"at most {100 * max(0, metadata.loss):.2f} points below {FULL}"
    much = "" if metadata.loss <= TOLERATED_LOSS else ", too much to run unless asked for"
    return f"{variant_path(path, metadata.precision)}: {told}, {lost}{much}"


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("engine", type=Path, help="an engine file in fp32")
    parser.add_argument(
        "--precisions", nargs="+", choices=tuple(_MAKERS), help="(default: all its role has)"
    )
    parser.add_argument("--data", type=Path, help="labelled folder (default: camvid)")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Make variants as told; returns the exit code."""
    arguments = arguments_of(given)
    path = arguments.engine
    try:
        metadata = read_engine(path).metadata
        precisions = arguments.precisions or ROLE_VARIANTS[metadata.role]
        check(metadata, precisions)
        data = arguments.data or data_folder() / "camvid"
        scores = measure(load_engine(path), scoring_pack(metadata.role, data))
        for variant in write_variants(path, precisions, scores, data):
            print(line(path, variant))
    except (ValueError, EngineError, FileError) as error:
        print(f"training.precision: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
