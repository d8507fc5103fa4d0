"""Engines: networks in self-describing files, run by whatever the machine has."""

from __future__ import annotations

from adverse_perception.inference.batching import BatchingEngine, worthwhile_batch
from adverse_perception.inference.engine import (
    NO_MAPS,
    ROLE_MAPS,
    ROLE_OUTPUTS,
    BatchEngine,
    Engine,
    output_sets,
)
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.loading import (
    ON_GPU,
    TOLERATED_LOSS,
    Loaded,
    Variant,
    Wish,
    engine_files,
    engines_folder,
    load_engine,
    open_engine,
    read_variant,
    variant_path,
)
from adverse_perception.inference.metadata import (
    AREA_TOLERANCE,
    FULL,
    METADATA_KEY,
    PRECISIONS,
    ROLE_CLASSES,
    ROLE_VARIANTS,
    EngineMetadata,
    checksum,
    read_engine,
    read_metadata,
    write_metadata,
)
from adverse_perception.inference.plans import PlanSettings, silent

__all__ = [
    "AREA_TOLERANCE",
    "FULL",
    "METADATA_KEY",
    "NO_MAPS",
    "ON_GPU",
    "PRECISIONS",
    "ROLE_CLASSES",
    "ROLE_MAPS",
    "ROLE_OUTPUTS",
    "ROLE_VARIANTS",
    "TOLERATED_LOSS",
    "BatchEngine",
    "BatchingEngine",
    "Engine",
    "EngineError",
    "EngineMetadata",
    "Loaded",
    "PlanSettings",
    "Variant",
    "Wish",
    "checksum",
    "engine_files",
    "engines_folder",
    "load_engine",
    "open_engine",
    "output_sets",
    "read_engine",
    "read_metadata",
    "read_variant",
    "silent",
    "variant_path",
    "worthwhile_batch",
    "write_metadata",
]
