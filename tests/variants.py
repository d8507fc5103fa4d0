"""Variants of tiny engines in less precision, as far as their file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adverse_perception.inference import read_metadata, variant_path, write_metadata
from tests.conftest import write_segmentation_engine

OTHER_SEED = 9
"""Of a variant's weights: they label otherwise, so that a test can tell which file ran."""


def write_variant(
    path: Path, precision: str = "fp16", *, loss: float | None = 0.0, made_from: str = ""
) -> Path:
    """Write a variant beside an engine file; it scores less by `loss`, None = nobody knows."""
    told = read_metadata(path)
    place = variant_path(path, precision)
    write_segmentation_engine(place, seed=OTHER_SEED)
    scores = {} if loss is None else {"clear": 0.6 - loss, "rain": 0.1}
    described = replace(
        told,
        precision=precision,
        scores=scores,
        reference_scores={"clear": 0.6, "rain": 0.5} if scores else {},
        made_from=made_from or told.weights_sha256,
    )
    write_metadata(place, described)
    return place
