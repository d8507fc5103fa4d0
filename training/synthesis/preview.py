"""The contact sheet: everything the synthesis can do to one picture, by strength."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from adverse_perception.frames import UInt8Array
from training.synthesis.depth import estimate_depth
from training.synthesis.effects import render
from training.synthesis.fog import foggy_cityscapes
from training.synthesis.regular import REGULAR, TID
from training.synthesis.scene import SynthesisError, pixels
from training.synthesis.weather import EFFECTS, OTHER_GENERATORS, WEATHERS, degrade

FOGGY = "foggy_cityscapes"
_VISIBILITIES_M = (600.0, 300.0, 150.0)
SECTIONS: dict[str, tuple[str, ...]] = {
    "weathers": tuple(name for name in WEATHERS if name != "clear"),
    "other generators, for tests only": (*OTHER_GENERATORS, FOGGY),
    "effects alone": tuple(EFFECTS),
    "regular degradations": tuple(REGULAR),
    "the rest of the TID list": tuple(TID),
}
NAMES = tuple(name for names in SECTIONS.values() for name in names)


def contact_sheet(
    image: UInt8Array,
    labels: UInt8Array | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    columns: int = 5,
    reflected: UInt8Array | None = None,
) -> UInt8Array:
    """Everything by strength, one row each under a caption: (H', W', 3) uint8 RGB.

    Args:
        image: (H, W, 3) uint8 RGB, clear; it stands first in each row.
        labels: (H, W) uint8 ids of `adverse_perception.labels`, if known.
        only: names to show, in this order; all of `NAMES` if empty.
        seed: of all chance.
        columns: strengths in a row.
        reflected: (h, w, 3) uint8 RGB that windows show; the picture turned over if None.

    Raises:
        SynthesisError: an unknown name.
    """
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        known = ", ".join(NAMES)
        raise SynthesisError(f"preview: expected names of {known}; found {', '.join(unknown)}")
    rows = []
    for name in only or NAMES:
        tiles = list(_row(_Subject(image, labels, reflected), name, seed, columns))
        tiles += [("", np.zeros_like(image))] * (columns - len(tiles))
        shown = [("clear", image), *tiles[:columns]]
        rows.append(np.hstack([_captioned(tile, caption) for caption, tile in shown]))
    return pixels(np.vstack(rows))


@dataclass(frozen=True)
class _Subject:
    """What is shown in every weather."""

    image: UInt8Array
    labels: UInt8Array | None
    reflected: UInt8Array | None


def _row(
    subject: _Subject, name: str, seed: int, columns: int
) -> Iterator[tuple[str, UInt8Array]]:
    """Captions and pictures of one name, light to heavy."""
    image, labels = subject.image, subject.labels
    if name == FOGGY:
        depth = estimate_depth(image, labels)
        for far in _VISIBILITIES_M:
            yield f"{name} {far:.0f} m", render(image, depth, foggy_cityscapes(image, far))
        return
    leveled = REGULAR.get(name) or TID.get(name)
    steps = columns if leveled is None else leveled.levels
    for step in range(steps):
        share = step / max(1, steps - 1)
        rng = np.random.default_rng([seed, NAMES.index(name), 0 if leveled else step])
        caption = f"{name} {share:.2f}" if leveled is None else f"{name} level {step + 1}"
        yield (
            caption,
            degrade(
                image,
                name,
                rng,
                labels=labels,
                strength=(share, share),
                reflected=subject.reflected,
            ),
        )


def _captioned(tile: UInt8Array, caption: str) -> UInt8Array:
    """The tile under its caption on a dark bar, with a thin frame."""
    width = tile.shape[1]
    high = max(14, width // 16)
    bar: UInt8Array = np.full((high, width, 3), 24, np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, high / 36
    wide = cv2.getTextSize(caption, font, scale, 1)[0][0]
    scale *= min(1.0, (width - 8) / max(1, wide))
    place = (4, round(0.72 * high))
    cv2.putText(bar, caption, place, font, scale, (240, 240, 240), 1, cv2.LINE_AA)
    framed = tile.copy()
    framed[:, -1] = framed[-1] = 24
    return pixels(np.vstack([bar, framed]))
