"""What the working size is worth: mIoU of engines that see pictures at neighbouring sizes.

  python -m training.studies.sizes --data ../shared/data/kitti_semantic --out docs/results/sizes.md

Every labelled picture gives three crops of 16:9, at its left, middle and right. They are brought
to areas about the engine's nominal one; the labels are counted at the crop's own size.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adverse_perception import kernels
from adverse_perception.files import FileError
from adverse_perception.frames import UInt8Array
from adverse_perception.inference import Engine, EngineError, load_engine
from adverse_perception.scores import ConfusionMatrix
from adverse_perception.segmenters import working_side
from training.datasets import DatasetError, Pack, open_pack
from training.studies.restorers import plain_parser
from training.studies.spearman import StudyError
from training.studies.tables import Row, table, write_results

SHARES = (0.86, 0.92, 0.96, 1.0, 1.04, 1.08)
"""Areas by the nominal one."""
_SHAPE = 16 / 9

Size = tuple[int, int]
"""Height and width."""


def crops(image: UInt8Array, truth: UInt8Array) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Three parts of a camera's shape of a picture (H, W, 3) and its labels (H, W).

    Raises:
        StudyError: the picture is narrower than that.
    """
    height, width = truth.shape
    across = int(height * _SHAPE)
    if across > width:
        raise StudyError(
            f"a picture of {width}x{height}: expected one at least {across} wide; take a data set"
            " of wider pictures"
        )
    for left in (0, (width - across) // 2, width - across):
        part = slice(left, left + across)
        yield np.ascontiguousarray(image[:, part]), truth[:, part]


def sizes(area: int) -> list[Size]:
    """Sizes of 16:9 about an area."""
    heights = [math.sqrt(share * area / _SHAPE) for share in SHARES]
    return sorted({(working_side(one), working_side(one * _SHAPE)) for one in heights})


def scores(engine: Engine, pack: Pack, every: int) -> dict[str, float]:
    """Size as `WIDTHxHEIGHT` -> mIoU of a segmenter, 0 to 1."""
    metadata, coarse = engine.metadata, pack.label_map.coarse_of()
    seen_at = sizes(metadata.input_height * metadata.input_width)
    counts = {size: ConfusionMatrix(len(pack.class_names)) for size in seen_at}
    for number in tqdm(range(0, len(pack.pairs), every), desc=f"{pack.name}, {engine.name}"):
        for image, truth in crops(*pack.load(number)):
            for size, matrix in counts.items():
                matrix.add(coarse[_labels(engine, image, size)], truth)
    return {f"{size[1]}x{size[0]}": float(matrix.miou()) for size, matrix in counts.items()}


def _labels(engine: Engine, image: UInt8Array, size: Size) -> UInt8Array:
    logits = engine.run(kernels.resize(image, *size), ("logits",))["logits"]
    return kernels.label(logits, *image.shape[:2])[0]


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = plain_parser("sizes", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="a labelled folder")
    parser.add_argument("--splits", nargs="+", default=["val", "train"], help="its splits")
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="folder of engines")
    parser.add_argument("--names", nargs="+", default=["clear", "all_weather"], help="of engines")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth picture")
    parser.add_argument("--out", type=Path, default=Path("sizes.md"), help="file to write")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Score and write the table; returns the exit code."""
    arguments = arguments_of(given)
    try:
        engines = [load_engine(arguments.engines / f"{name}.onnx") for name in arguments.names]
        packs = {split: open_pack(arguments.data, split) for split in arguments.splits}
        found = {
            f"{engine.name}, {split}": scores(engine, pack, arguments.every)
            for split, pack in packs.items()
            for engine in engines
        }
        rows: list[Row] = [{"engine, split": name, **row} for name, row in found.items()]
        text = (
            "mIoU by the size at which an engine sees 16:9 crops of labelled pictures. Made by"
            f" `python -m training.studies.sizes --data FOLDER/{arguments.data.name} --every"
            f" {arguments.every}`; splits {', '.join(packs)}.\n\n{table(rows)}"
        )
        write_results(arguments.out, "Working sizes", text, found)
    except (StudyError, DatasetError, EngineError, FileError) as error:
        print(f"training.studies.sizes: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
