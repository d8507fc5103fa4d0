"""The command line as tests use it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np

from adverse_perception.cli import main


def command(*words: object) -> tuple[int, str, str]:
    """Run the command line in this process; gives exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def is_one_line(err: str, *said: str) -> bool:
    """Whether a command complained in one line that holds every word expected."""
    lines = err.strip().splitlines()
    good = len(lines) == 1 and lines[0].startswith("adverse-perception: error: ")
    return good and all(word in err for word in said)


def save(path: Path, image: np.ndarray) -> Path:
    """Write a picture, (H, W, 3) uint8 RGB or (H, W) uint8, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path
