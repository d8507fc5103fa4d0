"""Engines: networks in self-describing files, run by whatever the machine has."""

from __future__ import annotations

from adverse_perception.inference.engine import (
    NO_MAPS,
    ROLE_MAPS,
    ROLE_OUTPUTS,
    Engine,
    output_sets,
)
from adverse_perception.inference.errors import EngineError
from adverse_perception.inference.loading import engine_files, engines_folder, load_engine
from adverse_perception.inference.metadata import (
    METADATA_KEY,
    ROLE_CLASSES,
    EngineMetadata,
    checksum,
    read_metadata,
    write_metadata,
)

__all__ = [
    "METADATA_KEY",
    "NO_MAPS",
    "ROLE_CLASSES",
    "ROLE_MAPS",
    "ROLE_OUTPUTS",
    "Engine",
    "EngineError",
    "EngineMetadata",
    "checksum",
    "engine_files",
    "engines_folder",
    "load_engine",
    "output_sets",
    "read_metadata",
    "write_metadata",
]
