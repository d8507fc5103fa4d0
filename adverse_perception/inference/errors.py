"""What goes wrong with engines."""

from __future__ import annotations


class EngineError(RuntimeError):
    """An engine file that cannot be used, or an engine that failed."""
