"""Where a data set keeps its files, as templates, and one way to open whatever is laid out so.

A template is a path below the data set's folder: `{split}` is the split, every other `{field}`
stands for a part of a name. Fields found in a picture's path fill the templates of its labels, its
depth and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.datasets.class_lists import OURS, ClassList, class_list, read_as, vistas_classes
from training.datasets.depth import DepthFile, Disparity, Transmittance
from training.datasets.packs import Pack, Pair
from training.datasets.pictures import DatasetError

Fields = Mapping[str, str]
_FIELD = re.compile(r"\{(\w+)\}")
_AROUND = [*range(-19, 0), *range(1, 11)]
"""Cityscapes labels the 20th frame of every snippet of 30."""


@dataclass(frozen=True)
class Labels:
    """Where labels are, and which class list they are in (a list's name, or a Vistas config)."""

    path: str
    classes: str


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps its files: every `str` that is a path is a template.

    Attributes:
        pictures: the pictures.
        labels: their labels; the first kind that is there is taken.
        listing: a text file with the names of the split; without one, every picture is in it.
        splits: our word for a split -> the data set's.
        condition: the weather of all of it; where none is given, that in the field `weather`.
        clear: the same view in clear weather.
        reference: the same place in clear weather.
        disparity: 16-bit disparity, with the `camera` that belongs to it.
        camera: its calibration as JSON.
        transmittance: of fog with the field `beta`; used where there is no disparity.
        sequence: frames around, whose `name` ends in a number of as many digits.
        columns: see `Pair`.
        fit: see `Pair`.
        read_as: class list that labels are read as unless the caller wants another.
    """

    pictures: str
    labels: tuple[Labels, ...]
    listing: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    condition: str | None = None
    clear: str | None = None
    reference: str | None = None
    disparity: str | None = None
    camera: str | None = None
    transmittance: str | None = None
    sequence: str | None = None
    columns: tuple[int, int] | None = None
    fit: bool = False
    read_as: str = OURS


def open_layout(
    name: str,
    layouts: Sequence[Layout],
    folder: Path,
    split: str,
    classes: str | None = None,
) -> Pack:
    """Open a split that is laid out as one of the layouts says.

    Args:
        name: of the data set.
        layouts: the first one whose pictures are there is taken.
        folder: the root of the data set.
        split: our word for it: train, val or test.
        classes: list to read the labels as, `own` for the data set's; its usual one by default.

    Raises:
        DatasetError: there are no such pictures or labels; the message says what was expected.
    """
    for layout in layouts:
        found = _pictures(folder, layout, split)
        if found:
            kind = _kind_of_labels(name, folder, layout, found)
            names, label_map = read_as(_classes(folder, kind.classes), classes or layout.read_as)
            pairs = list(_pairs(folder, layout, kind, found))
            return Pack(name, pairs, label_map, names)
    wanted = [_asked(layout.pictures, layout, split) for layout in layouts]
    raise DatasetError(
        f"{folder}: expected the root of {name}, with pictures as {' or '.join(wanted)}; found "
        f"none{_holds(folder, wanted[0])}; give the folder that holds "
        f"{wanted[0].split('/')[0]}/, or another split"
    )


def _asked(template: str, layout: Layout, split: str) -> str:
    return template.replace("{split}", layout.splits.get(split, split))


def _holds(folder: Path, wanted: str) -> str:
    """What there is instead, in the deepest folder that is there."""
    if not folder.is_dir():
        return ", nor that folder"
    fixed = folder / wanted.split("{")[0].rpartition("/")[0]
    deepest = next(path for path in [fixed, *fixed.parents] if path.is_dir())
    entries = sorted(path.name for path in deepest.iterdir())[:8]
    return f" ({deepest} holds {', '.join(entries) or 'nothing'})"


def _pictures(folder: Path, layout: Layout, split: str) -> list[Fields]:
    """The fields of every picture of a split, in the order of the listing or of the names."""
    called = layout.splits.get(split, split)
    listing = None if layout.listing is None else folder / layout.listing.format(split=called)
    if listing is not None:
        if not listing.is_file():
            return []
        lines = [line.split()[0] for line in listing.read_text().splitlines() if line.strip()]
        return [{"split": called, "name": Path(line).stem} for line in lines]
    return [
        {"split": called, **has} for has in find(folder, _asked(layout.pictures, layout, split))
    ]


def find(folder: Path, template: str) -> Iterator[Fields]:
    """The fields of every file that a template fits, sorted by path."""
    parts = _FIELD.split(template)  # text, field, text, field, ..., text
    seen: set[str] = set()
    pattern = re.escape(parts[0])
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        pattern += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
        pattern += re.escape(text)
        seen.add(name)
    for path in sorted(folder.glob(_FIELD.sub("*", template))):
        match = re.fullmatch(pattern, path.relative_to(folder).as_posix())
        if match is not None:
            yield match.groupdict()


def _kind_of_labels(name: str, folder: Path, layout: Layout, found: Sequence[Fields]) -> Labels:
    for kind in layout.labels:
        if any((folder / kind.path.format(**has)).is_file() for has in found):
            return kind
    wanted = " or ".join(kind.path.format(**found[0]) for kind in layout.labels)
    raise DatasetError(
        f"{folder}: expected labels of {name} as {wanted}; found none"
        f"{_holds(folder, layout.labels[0].path.format(**found[0]))}; unpack them there, or take "
        "a split that has labels"
    )


def _classes(folder: Path, name: str) -> ClassList:
    return vistas_classes(folder / name) if name.endswith(".json") else class_list(name)


def _pairs(folder: Path, layout: Layout, kind: Labels, found: Sequence[Fields]) -> Iterator[Pair]:
    around = _sequence(folder, layout, found[0]["split"])
    for has in found:
        yield Pair(
            folder / layout.pictures.format(**has),
            folder / kind.path.format(**has),
            condition=layout.condition or has.get("weather"),
            clear=_beside(folder, layout.clear, has),
            reference=_beside(folder, layout.reference, has),
            depth=_depth(folder, layout, has),
            neighbours=_neighbours(around, has["name"]),
            tags={name: value for name, value in has.items() if name != "split"},
            columns=layout.columns,
            fit=layout.fit,
        )


def _beside(folder: Path, template: str | None, has: Fields) -> Path | None:
    """The file of a picture, where that part of the data set is unpacked at all."""
    if template is None or not (folder / template.split("/")[0]).is_dir():
        return None
    return folder / template.format(**has)


def _depth(folder: Path, layout: Layout, has: Fields) -> DepthFile | None:
    disparity = _beside(folder, layout.disparity, has)
    if disparity is not None:
        return Disparity(disparity, _beside(folder, layout.camera, has))
    transmittance = _beside(folder, layout.transmittance, has)
    if transmittance is not None:
        return Transmittance(transmittance, float(has["beta"]))
    return None


def _sequence(folder: Path, layout: Layout, split: str) -> dict[str, Path]:
    """Every frame of a split's videos by its name."""
    if layout.sequence is None:
        return {}
    template = layout.sequence.replace("{split}", split)
    return {has["name"]: folder / template.format(**has) for has in find(folder, template)}


def _neighbours(around: Mapping[str, Path], name: str) -> dict[int, Path]:
    head, _, frame = name.rpartition("_")
    if not around or not frame.isdigit():
        return {}
    digits = len(frame)
    names = {distance: f"{head}_{int(frame) + distance:0{digits}d}" for distance in _AROUND}
    return {distance: around[at] for distance, at in names.items() if at in around}
