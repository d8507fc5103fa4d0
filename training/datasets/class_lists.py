"""The class lists of the data sets, as data in `classes/*.json`, and how they lead to ours.

A list says what each id on disk is called. `meaning` leads from its names to those of `parent`, a
coarser list, and so on up to `camvid11`, which is ours; a name that is not led anywhere means
nothing there and is unlabelled. `covers` says of a list coarser than ours what each name covers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.labels import CLASS_ID, CLASS_NAMES, UNLABELLED
from training.datasets.label_maps import LabelMap, label_map
from training.datasets.pictures import DatasetError

OURS = "camvid11"
_FOLDER = Path(__file__).parent / "classes"


@dataclass(frozen=True)
class ClassList:
    """What the label ids of a data set are called, and what they mean in a coarser list.

    Attributes:
        name: what the list is called.
        ids: id on disk -> name of the class.
        unlabelled: ids on disk that declare a pixel to be without a class.
        parent: name of the list that `meaning` leads to, if there is one.
        meaning: name here -> name in the parent.
        covers: name here -> several of our names, where this list is coarser than ours.
    """

    name: str
    ids: Mapping[int, str]
    unlabelled: frozenset[int] = frozenset({UNLABELLED})
    parent: str | None = None
    meaning: Mapping[str, str] = field(default_factory=dict)
    covers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of the ids that are trained on."""
        return tuple(self.ids.values())

    def ours(self, name: str) -> tuple[str, ...]:
        """The classes of ours that a class of this list may mean; none if it means nothing."""
        if name in self.covers:
            return tuple(self.covers[name])
        meant = dict(_ancestry(self, name)).get(OURS)
        return () if meant is None else (meant,)


OUR_LIST = ClassList(OURS, dict(enumerate(CLASS_NAMES)))


def class_list(name: str) -> ClassList:
    """The list with that name. Raises `DatasetError` where there is none."""
    if name == OURS:
        return OUR_LIST
    path = _FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join([OURS, *sorted(entry.stem for entry in _FOLDER.glob("*.json"))])
        raise DatasetError(f"classes {name!r}: expected one of {known}; name one of these")
    described = json.loads(path.read_text())
    first = described.get("first_id", 0)
    return ClassList(
        name,
        dict(enumerate(described["classes"], first)),
        frozenset(described["unlabelled"]),
        described.get("parent"),
        described.get("meaning", {}),
        described.get("covers", {}),
    )


def read_as(source: ClassList, target: str) -> tuple[tuple[str, ...], LabelMap]:
    """How to read labels in one list as another: the target's names, and the label map.

    Args:
        source: what is on disk.
        target: the list itself ("own" for short) or one that it leads to.

    Raises:
        DatasetError: the list does not lead to the target.
    """
    lists = {entry.name: entry for entry in _lineage(source)}
    wanted = lists.get(source.name if target == "own" else target)
    if wanted is None:
        raise DatasetError(
            f"classes {target!r}: expected one that {source.name} leads to, "
            f"{', '.join(['own', *lists])}; choose one of these"
        )
    number = {name: place for place, name in enumerate(wanted.names)}
    meant = {at: dict(_ancestry(source, name)).get(wanted.name) for at, name in source.ids.items()}
    table = {at: number[name] for at, name in meant.items() if name is not None}
    meanings = {place: wanted.ours(name) for name, place in number.items()}
    return wanted.names, label_map(table, meanings, {*source.ids, *source.unlabelled})


def _lineage(source: ClassList) -> Iterator[ClassList]:
    yield source
    if source.parent is not None:
        yield from _lineage(class_list(source.parent))


def _ancestry(source: ClassList, name: str) -> Iterator[tuple[str, str]]:
    """What a class is called in its own list and in every list above it."""
    yield source.name, name
    if source.parent is not None and name in source.meaning:
        yield from _ancestry(class_list(source.parent), source.meaning[name])


def vistas_classes(config: Path) -> ClassList:
    """The class list that a release of Mapillary Vistas brings along.

    Its names have parts, `object--vehicle--car`; the longest beginning that `classes/vistas.json`
    knows says what a class means, so that one table serves the 66 classes of v1.2 and the 124 of
    v2.0. Classes that the release itself does not score are unlabelled.

    Args:
        config: `config_v1.2.json` or alike, with a list `labels` of entries with a `name`.

    Raises:
        DatasetError: the file is missing or says something else.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(config.read_text())["labels"]
        named = {number: str(entry["name"]) for number, entry in enumerate(entries)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{config}: expected the class list of the release, JSON with a list 'labels' of "
            f"entries with a 'name', found {type(error).__name__}; copy it anew"
        ) from error
    scored = {n: name for n, name in named.items() if entries[n].get("evaluate", True)}
    table = json.loads((_FOLDER / "vistas.json").read_text())
    meaning = {name: _by_beginning(name, table["meaning"]) for name in scored.values()}
    return ClassList(
        config.stem,
        scored,
        frozenset(named) - frozenset(scored),
        table["parent"],
        {name: meant for name, meant in meaning.items() if meant is not None},
    )


def _by_beginning(name: str, table: Mapping[str, str | None]) -> str | None:
    parts = name.split("--")
    beginnings = ("--".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((table[beginning] for beginning in beginnings if beginning in table), None)


def read_classes(path: Path) -> tuple[tuple[str, ...], LabelMap]:
    """Reads `classes.json`: the names that are scored, and how the ids are to be read.

    The classes are ours, finer ones (with `*_to_camvid11`) or coarser (with `camvid11_to_*`).
    """
    described = _described(path)
    entries = described["classes"]
    names = tuple(entry["name"] for entry in entries)
    known = {entry.get("id", number) for number, entry in enumerate(entries)}
    known |= {UNLABELLED, described.get("ignore_index", UNLABELLED)}
    if names == CLASS_NAMES:
        return CLASS_NAMES, _fine({number: number for number in range(len(names))}, known)
    for key, mapping in described.items():
        if key.endswith("_to_camvid11"):
            return CLASS_NAMES, _fine(_numbers(mapping), known)
        if key.startswith("camvid11_to_"):
            return names, _coarse(_numbers(mapping), known)
    raise DatasetError(
        f"{path}: expected the classes {', '.join(CLASS_NAMES)}, or a mapping '*_to_camvid11' or "
        f"'camvid11_to_*'; found classes {', '.join(names) or 'none'}; add a mapping"
    )


def read_condition(path: Path) -> str | None:
    """The weather that all pictures of a pack show, where its `classes.json` says so."""
    condition = _described(path).get("condition")
    return None if condition is None else str(condition)


def described_classes(names: Sequence[str], read: LabelMap) -> dict[str, Any]:
    """What `read_classes` reads as these names and this label map, from ids that are trained on.

    Labels in classes of their own, finer than ours or beside them, are read as ours.

    Args:
        names: the classes in the order of their ids.
        read: what they mean.
    """
    described: dict[str, Any] = {
        "ignore_index": UNLABELLED,
        "classes": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    if tuple(names) == CLASS_NAMES:
        return described
    if (read.groups.sum(1) > 1).any():
        ours = read.coarse_of()[: len(CLASS_NAMES)]
        return described | {"camvid11_to_own": [int(number) for number in ours]}
    labels = np.arange(len(names), dtype=np.uint8)
    return described | {"own_to_camvid11": [int(number) for number in read.likeliest(labels)]}


def _described(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DatasetError(f"{path}: expected the pack's class list, found none; write one")
    try:
        described: dict[str, Any] = json.loads(path.read_text())
        if all("name" in entry for entry in described["classes"]):
            return described
        problem = "an entry without a name"
    except (ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise DatasetError(
        f"{path}: expected JSON with a list 'classes' of entries with a 'name', found {problem}; "
        "write it as camvid/classes.json"
    )


def _numbers(mapping: Mapping[str, int] | Sequence[int]) -> dict[int, int]:
    pairs = mapping.items() if isinstance(mapping, Mapping) else enumerate(mapping)
    return {int(source): int(target) for source, target in pairs}


def _fine(mapping: Mapping[int, int], known: set[int]) -> LabelMap:
    return label_map(mapping, {CLASS_ID[name]: (name,) for name in CLASS_NAMES}, known)


def _coarse(group_of: Mapping[int, int], known: set[int]) -> LabelMap:
    meanings: dict[int, list[str]] = {}
    for fine, coarse in group_of.items():
        if coarse != UNLABELLED:
            meanings.setdefault(coarse, []).append(CLASS_NAMES[fine])
    return label_map({coarse: coarse for coarse in meanings}, meanings, known)
