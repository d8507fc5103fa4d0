"""Turn a checkpoint into an engine that says what it is.

  python -m training.export runs/clear/last.pt --out engines/clear.onnx

The module that was trained is what is exported, picture in, logits out. The engine is refused if
ONNX Runtime and PyTorch disagree on it. Its scores are measured here, on CamVid's test split.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from adverse_perception import __version__
from adverse_perception.files import FileError
from adverse_perception.inference import (
    ROLE_MAPS,
    ROLE_OUTPUTS,
    EngineError,
    EngineMetadata,
    load_engine,
    write_metadata,
)
from adverse_perception.propagation import map_shapes
from training.checkpoints import GUIDE, Checkpoint, open_checkpoint, open_guide, save_weights
from training.datasets import TERMS, Pack, data_folder, open_pack
from training.evaluate import evaluate
from training.losses import class_weights
from training.network_engine import NetworkEngine, describe_engine, engine_module
from training.networks.deeplab import DeepLabV3Plus
from training.networks.joint import JointNet
from training.recipes import Recipe
from training.video_scores import carried_score

OPSET = 17
TOLERANCE = 1e-3
"""Largest difference between the two runtimes, relative to the largest logit."""
_SUBNORMAL = 1e-30
_FREE = {
    "image": {1: "height", 2: "width"},
    "restored": {1: "height", 2: "width"},
    **{
        name: {2: "rows", 3: "columns"}
        for name in ("logits", "warped", "evidence", "correction", "distortion")
    },
}
"""Axes without a size of their own."""
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


def write_onnx(recipe: Recipe, network: nn.Module, path: Path) -> None:
    """The network as an ONNX graph whose height and width are free."""
    network = engine_module(flushed(network)).eval()
    height, width = recipe.size
    role = describe_engine(recipe).role
    inputs, outputs = ("image", *ROLE_MAPS.get(role, ())), ROLE_OUTPUTS[role]
    free = {name: _FREE[name] for name in (*inputs, *outputs) if name in _FREE}
    maps = example_maps(recipe, (height, width), np.random.default_rng(0))
    torch.onnx.export(
        network,
        (
            torch.zeros(1, height, width, 3, dtype=torch.uint8),
            *(torch.from_numpy(one)[None] for one in maps.values()),
        ),
        str(path),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_axes=free,
        opset_version=OPSET,
        dynamo=False,
    )


def example_maps(
    recipe: Recipe, size: tuple[int, int], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """What an engine of that role reads beside a picture of (height, width), drawn."""
    shapes = map_shapes(describe_engine(recipe), *size)
    return {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def flushed(network: nn.Module) -> nn.Module:
    """Tiny weights become zero: subnormal products cost a CPU forty times as much."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value[value.abs() < _SUBNORMAL] = 0
    return network


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

    Raises:
        ExportError: they differ by more than `TOLERANCE`.
    """
    torch_engine = NetworkEngine(checkpoint.recipe, checkpoint.network)
    engine = load_engine(path)
    rng = np.random.default_rng(0)
    height, width = checkpoint.recipe.size
    for shape in ((height, width, 3), (height // 16 * 8, width // 16 * 24, 3)):
        image = rng.integers(0, 256, shape, np.uint8)
        maps = example_maps(checkpoint.recipe, shape[:2], rng)
        expected, found = torch_engine.run(image, maps=maps), engine.run(image, maps=maps)
        for output, array in expected.items():
            difference = _difference(array, found[output])
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


def measure(checkpoint: Checkpoint, pack: Pack) -> dict[str, float]:
    """MIoU of a segmentation network in every weather, or accuracy of the classifier."""
    engine = NetworkEngine(checkpoint.recipe, checkpoint.network)
    if checkpoint.recipe.role == "correction":
        guide = open_guide(GUIDE)
        score = carried_score(checkpoint.recipe, checkpoint.network, pack, guide)
        return {"clear_5_frames_on": round(score, 4)}
    if checkpoint.recipe.role == "weather":
        return {"accuracy": round(float(evaluate(engine, pack)["accuracy"]), 4)}
    weathers = {"clear": None, "rain": "rain", "fog": "fog", "night": "night"}
    return {
        name: round(float(evaluate(engine, pack, weather)["miou"]), 4)
        for name, weather in weathers.items()
    }


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
    parser.add_argument("--no-scores", action="store_true", help="leave them out")
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
        scores: dict[str, float] = {}
        if not arguments.no_scores:
            split = "val" if checkpoint.recipe.role == "correction" else "test"
            pack = open_pack(arguments.data or data_folder() / "camvid", split)
            scores = measure(checkpoint, pack)
        metadata = export(checkpoint, arguments.out, scores)
        if arguments.weights:
            save_weights(arguments.weights, checkpoint)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.export: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.out}: {metadata.name}, {metadata.scores or 'not scored'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
