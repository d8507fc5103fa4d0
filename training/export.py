"""Turn a checkpoint into an engine that says what it is.

  python -m training.export runs/clear/last.pt --out engines/clear.onnx

The module that was trained is what is exported, picture in, logits out. The engine is refused if
ONNX Runtime and PyTorch disagree on it. Its scores are measured here, on CamVid's test split, and
with them those of its variants in less precision (training.precision).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from adverse_perception import __version__
from adverse_perception.files import FileError
from adverse_perception.inference import (
    FULL,
    PRECISIONS,
    ROLE_VARIANTS,
    BatchEngine,
    EngineError,
    EngineMetadata,
    load_engine,
    write_metadata,
)
from training.checkpoints import Checkpoint, open_checkpoint, save_weights
from training.datasets import TERMS, data_folder
from training.losses import class_weights
from training.measure import measure, scoring_pack
from training.network_engine import NetworkEngine, describe_engine
from training.networks.deeplab import DeepLabV3Plus
from training.networks.joint import JointNet
from training.onnx_graph import OPSET, example_maps, write_onnx
from training.precision import check, line, write_variants
from training.recipes import Recipe

TOLERANCE = 1e-3
"""Largest difference between the two runtimes, relative to the largest logit."""
OTHER_TERMS = "not known to this package: as its owner says"
CARRIED = (
    "scored on CamVid's val, five frames after key frames of the shipped clear engine, which has"
    " learnt from val: training.studies.propagation has a key network that has not"
)
STAND_IN = "stands in on every route that has no network of its own"


class ExportError(ValueError):
    """The engine would not be what was trained."""


def export(checkpoint: Checkpoint, out: Path, scores: Mapping[str, float]) -> EngineMetadata:
    """Write the engine aside, check it, describe it, and only then give it its name.

    Args:
        checkpoint: the trained network with its recipe.
        out: the engine file.
        scores: what it scored, by weather.

    Raises:
        ExportError: ONNX Runtime disagrees with PyTorch.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        aside = Path(folder) / out.name
        write_onnx(checkpoint.recipe, checkpoint.network, aside)
        metadata = write_metadata(aside, describe(checkpoint, scores))
        compare(checkpoint, aside)
        aside.replace(out)
    return metadata


def export_scored(
    checkpoint: Checkpoint, out: Path, data: Path, precisions: Sequence[str] | None = None
) -> list[EngineMetadata]:
    """Write the engine, and its variants in the folders beside it, with their scores.

    Args:
        checkpoint: the trained network with its recipe.
        out: the engine file.
        data: labelled folder to score on.
        precisions: of the variants; None = all that there are for its role.

    Raises:
        ExportError: ONNX Runtime disagrees with PyTorch.
        PrecisionError: the role has no such variant.
        DatasetError: the data is not there.
    """
    metadata = describe_engine(checkpoint.recipe)
    wanted = ROLE_VARIANTS[metadata.role] if precisions is None else precisions
    variants = [precision for precision in wanted if precision != FULL]
    check(metadata, variants)
    pack = scoring_pack(metadata.role, data)
    metadata = export(checkpoint, out, {})
    metadata = write_metadata(out, replace(metadata, scores=measure(load_engine(out), pack)))
    return [metadata, *write_variants(out, variants, metadata.scores, data)]


def describe(checkpoint: Checkpoint, scores: Mapping[str, float]) -> EngineMetadata:
    """The engine's description of itself: what it learnt from, on whose terms, and how well."""
    recipe = checkpoint.recipe
    return replace(
        describe_engine(recipe),
        training_data=tuple(
            {"name": name, "terms": TERMS.get(name, OTHER_TERMS)}
            for name in checkpoint.learnt_from
        ),
        scores=dict(scores),
        exported_with={
            "adverse_perception": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "opset": str(OPSET),
            "step": str(checkpoint.step),
        },
        notes=_note(recipe),
    )


def _note(recipe: Recipe) -> str:
    if recipe.role == "correction":
        return CARRIED
    return STAND_IN if recipe.name.startswith("all_weather") else ""


def compare(checkpoint: Checkpoint, path: Path) -> None:
    """Both runtimes on the same pictures, at the engine's size and at another.

    The engine sees each as the second of two: what it says must not depend on the first.

    Raises:
        ExportError: they differ by more than `TOLERANCE`.
    """
    torch_engine = NetworkEngine(checkpoint.recipe, checkpoint.network)
    engine = load_engine(path)
    assert isinstance(engine, BatchEngine)
    rng = np.random.default_rng(0)
    height, width = checkpoint.recipe.size
    for shape in ((height, width, 3), (height // 16 * 8, width // 16 * 24, 3)):
        image = rng.integers(0, 256, shape, np.uint8)
        maps = example_maps(checkpoint.recipe, shape[:2], rng)
        pairs = {name: np.stack([one[:, ::-1], one]) for name, one in maps.items()}
        expected = torch_engine.run(image, maps=maps)
        found = engine.run_batch(np.stack([image[::-1], image]), maps=pairs)
        for output, array in expected.items():
            difference = _difference(array, found[output][1])
            if difference > TOLERANCE:
                raise ExportError(
                    f"{path.name}: expected {output} of ONNX Runtime {onnxruntime.__version__} "
                    f"within {TOLERANCE} of PyTorch at {shape}, found {difference:.2g}; "
                    "the graph is not the network"
                )


def _difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """Relative to the largest value; a grey value may be rounded the other way."""
    difference = np.abs(expected.astype(np.float32) - found.astype(np.float32))
    if expected.dtype == np.uint8:
        difference = np.maximum(difference - 1, 0)
    return float(difference.max() / max(1e-6, np.abs(expected).max()))


def adjusted(checkpoint: Checkpoint, share: float) -> Checkpoint:
    """Take back a share of the weight that training gave to rare classes (Menon et al. 2021).

    Weighted training shifts a class's logit by the logarithm of its weight: recall for precision.

    Raises:
        ExportError: the network is no segmenter.
    """
    network = checkpoint.network
    segmenter = network.segmenter if isinstance(network, JointNet) else network
    if not isinstance(segmenter, DeepLabV3Plus):
        raise ExportError(
            f"recipe {checkpoint.recipe.name}: expected a segmenter to adjust, found "
            f"{type(segmenter).__name__}; leave --adjust out"
        )
    weights = class_weights(checkpoint.recipe.rare_class_power)
    bias = segmenter.classify.bias
    assert bias is not None
    bias.data -= share * weights.log()
    return checkpoint


def sized(checkpoint: Checkpoint, size: tuple[int, int]) -> Checkpoint:
    """The same network for pictures of another nominal (height, width)."""
    return replace(checkpoint, recipe=replace(checkpoint.recipe, size=size))


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of training.train, e.g. runs/clear/last.pt")
    parser.add_argument("--out", type=Path, required=True, help="the engine file to write")
    parser.add_argument("--data", type=Path, help="labelled folder to score on (default: camvid)")
    parser.add_argument("--weights", type=Path, help="also write what --init begins with, here")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="nominal size (default: the recipe's)",
    )
    parser.add_argument(
        "--adjust",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the rare classes' weight in training to take back; choose it on val",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        help="fp32 and which variants beside it (default: all that its role has)",
    )
    parser.add_argument(
        "--no-scores",
        action="store_true",
        help="leave them out, and the variants, which nobody runs unscored",
    )
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Export as told; returns the exit code."""
    arguments = arguments_of(given)
    try:
        checkpoint = open_checkpoint(arguments.checkpoint)
        if arguments.size:
            checkpoint = sized(checkpoint, tuple(arguments.size))
        if arguments.adjust:
            checkpoint = adjusted(checkpoint, arguments.adjust)
        if arguments.no_scores:
            written = [export(checkpoint, arguments.out, {})]
        else:
            data = arguments.data or data_folder() / "camvid"
            written = export_scored(checkpoint, arguments.out, data, arguments.precisions)
        if arguments.weights:
            save_weights(arguments.weights, checkpoint)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.export: {error}", file=sys.stderr)
        return 2
    for metadata in written:
        print(line(arguments.out, metadata))
    return 0


if __name__ == "__main__":
    sys.exit(main())
