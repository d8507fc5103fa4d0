"""Where the package's own files lie: in the checkout, or in the `share` of an installation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_MANIFEST = "package.xml"
"""Lies in every such folder, and in no other `config` or `engines` of site-packages."""


def shares(package: Path = _PACKAGE) -> Iterator[Path]:
    """Folders that hold `config`, `engines` and so on, the nearest first.

    Args:
        package: folder of the modules. Around it lies the checkout, or colcon's or pip's prefix.
    """
    named = [Path(word) for word in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if word]
    prefixes = [*package.parents, *named, Path(sys.prefix)]
    folders = [package.parent, *(prefix / "share" / "adverse_perception" for prefix in prefixes)]
    return (folder for folder in folders if (folder / _MANIFEST).is_file())
