"""Show a labelled data set in another light, and keep its labels.

  python -m training.translate ../shared/data/camvid --to night --split train val
  python -m training.translate ../shared/data/camvid --to night --by runs/cyclegan/last.pt
  python -m training.translate /data/cityscapes --as cityscapes --to night --by lookup

What comes out is a pack in our own layout: open it, train on it (--also camvid_to_night=0.3), look
it over. Picture i depends on the seed and i alone. The same command goes on where it was stopped,
and with another --split adds that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from adverse_perception.files import (
    FileError,
    explained,
    write_bytes,
    write_json,
    write_labels,
    write_picture,
)
from training.datasets import LOADERS, DatasetError, Pack, open_dataset, open_pack
from training.datasets.class_lists import described_classes
from training.recipes import NOTICEABLE
from training.translation import WAYS, Show, Translation, way_of

RECORD = "translation.json"
"""What a folder written by this command is known by."""


def open_source(translation: Translation, split: str) -> Pack:
    """The pictures to translate: those by day, or to make days, those by night.

    Raises:
        DatasetError: the set is not laid out as expected, or has no such pictures.
    """
    folder, name = Path(translation.source), translation.data_set
    if _is_ours(folder) and name is not None:
        raise DatasetError(
            f"{folder}: expected no --as for a pack that has its own classes.json, found {name};"
            " leave it out"
        )
    if _is_ours(folder):
        pack = open_pack(folder, split)
    elif name is None:
        raise DatasetError(
            f"{folder}: expected a pack with splits/ and classes.json, found none; name the data "
            f"set with --as, one of {', '.join(sorted(LOADERS))}"
        )
    else:
        pack = open_dataset(name, folder, split)
    wanted = (None, "night") if translation.to == "day" else (None, "clear")
    pairs = [pair for pair in pack.pairs if pair.condition in wanted]
    if not pairs:
        raise DatasetError(
            f"{folder}: expected pictures in {wanted[1]} weather in {split}, found none; "
            "take another split or data set"
        )
    return replace(pack, pairs=pairs)


def _is_ours(folder: Path) -> bool:
    return (folder / "classes.json").is_file()


def claim(out: Path, translation: Translation, *, overwrite: bool = False) -> None:
    """Begin a folder, or go on with one that the same translation has begun.

    Raises:
        FileError: something else is there, or it cannot be written.
    """
    source, target = Path(translation.source).resolve(), out.resolve()
    if source in (target, *target.parents) or target in source.parents:
        raise FileError(
            f"{out}: expected a folder apart from the source, found it at, in or around {source}; "
            "choose another with --out"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _make_way(out, translation, overwrite)
    write_json(out / RECORD, asdict(translation))


def _make_way(out: Path, translation: Translation, overwrite: bool) -> None:
    if not (out / RECORD).is_file():
        raise FileError(
            f"{out}: expected a new folder or one of this command, found something else; "
            "choose another with --out"
        )
    if overwrite:
        with explained(out):
            _remove_pack(out)
    elif _read(out / RECORD) != json.loads(json.dumps(asdict(translation))):
        raise FileError(
            f"{out}: expected what this command makes, found a pack that is made otherwise; "
            "replace it with --overwrite, or choose another folder with --out"
        )


def _remove_pack(out: Path) -> None:
    """What this command writes, and nothing that somebody has laid beside it."""
    for folder in ("images", "labels", "splits"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for file in ("classes.json", RECORD):
        (out / file).unlink(missing_ok=True)


def _read(record: Path) -> Any:
    try:
        return json.loads(record.read_text())
    except ValueError:
        return None


def write_split(pack: Pack, split: str, out: Path, show: Show, translation: Translation) -> None:
    """Write what is missing of a split, and then its list. Raises `DatasetError`, `FileError`."""
    lines = []
    for number, pair in enumerate(tqdm(pack.pairs, desc=f"{split} to {translation.to}")):
        name = f"{split}/{number:05d}_{'_'.join(pair.image.stem.split())}.png"
        lines.append(f"images/{name} labels/{name}\n")
        if (out / "images" / name).is_file():  # the last of the two that is written
            continue
        sample = pack.sample(number, paired=False)
        if _is_ours(Path(translation.source)):
            write_bytes(out / "labels" / name, pair.labels.read_bytes())
        else:
            write_labels(out / "labels" / name, sample.labels)
        rng = np.random.default_rng((translation.seed, number))
        shown = show(sample, pack.label_map.likeliest(sample.labels), rng)
        write_picture(out / "images" / name, shown)
    write_bytes(out / "splits" / f"{split}.txt", "".join(lines).encode())


def write_classes(pack: Pack, out: Path, translation: Translation) -> None:
    """Write what the labels mean, and which weather the pictures now show. Raises `FileError`."""
    path = Path(translation.source) / "classes.json"
    described: dict[str, Any] = (
        json.loads(path.read_text())
        if path.is_file()
        else described_classes(pack.class_names, pack.label_map)
    )
    shown = "clear" if translation.to == "day" else translation.to
    write_json(out / "classes.json", described | {"condition": shown})


def translate(
    translation: Translation,
    splits: Sequence[str],
    out: Path,
    *,
    device: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write these splits of the pack; returns how many pictures they have.

    Raises:
        DatasetError: the source is not as expected.
        FileError: the folder is taken, or cannot be written.
        TranslationError, CheckpointError: it cannot be done that way.
    """
    packs = {split: open_source(translation, split) for split in splits}
    show = way_of(translation, device)
    claim(out, translation, overwrite=overwrite)
    for split, pack in packs.items():
        write_classes(pack, out, translation)
        write_split(pack, split, out, show, translation)
    return sum(len(pack.pairs) for pack in packs.values())


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.translate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the labelled set")
    parser.add_argument(
        "--as", dest="data_set", choices=sorted(LOADERS), metavar="NAME",
        help=f"what it is, if it is no pack of ours: {', '.join(LOADERS)}",
    )  # fmt: skip
    parser.add_argument(
        "--to", required=True, choices=("day", *WAYS["synthesis"]), help="what to show it in"
    )
    parser.add_argument(
        "--by",
        default="synthesis",
        metavar="WAY",
        help="synthesis (default), lookup (the look-up table of NiSeNet's authors), or a "
        "checkpoint of training.train cyclegan",
    )
    parser.add_argument("--split", nargs="+", default=["train"], help="lists (default: train)")
    parser.add_argument("--out", type=Path, help="folder to write (default: FOLDER_to_night, ...)")
    parser.add_argument(
        "--strength",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"of the synthesis, 0 to 1 (default: {NOTICEABLE[0]} {NOTICEABLE[1]})",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other nights")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what this command has written there"
    )
    return parser.parse_args(given)


def translation_of(arguments: argparse.Namespace) -> Translation:
    """What the command line asks for."""
    checkpoint = Path(arguments.by)
    usual = NOTICEABLE if arguments.by == "synthesis" else None
    return Translation(
        str(arguments.folder.resolve()),
        arguments.data_set,
        arguments.to,
        arguments.by if arguments.by in WAYS else str(checkpoint.resolve()),
        tuple(arguments.strength) if arguments.strength else usual,
        arguments.seed,
        hashlib.sha256(checkpoint.read_bytes()).hexdigest() if checkpoint.is_file() else None,
    )


def main(given: list[str] | None = None) -> int:
    """Translate as told; returns the exit code."""
    arguments = arguments_of(given)
    translation = translation_of(arguments)
    source = Path(translation.source)
    out = arguments.out or source.parent / f"{source.name}_to_{translation.to}"
    try:
        count = translate(
            translation,
            arguments.split,
            out,
            device=arguments.device,
            overwrite=arguments.overwrite,
        )
    except (ValueError, FileError) as error:
        print(f"training.translate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{out}: {count} pictures, {translation.to} by {translation.by}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
