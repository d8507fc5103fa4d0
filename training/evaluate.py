"""Score an engine or a checkpoint on labelled frames, over the road a frame takes on the vehicle.

  python -m training.evaluate engines/clear.onnx --data ../shared/data/camvid --split test
  python -m training.evaluate runs/clear/last.pt --data DIR --split test --weather fog --json FILE

A segmentation engine is scored by mIoU over one confusion matrix, unlabelled pixels ignored; with
--weather the frames get that weather first. The weather engine is scored by its accuracy on the
frames in clear, rain, fog and night, in equal parts. Seeds are fixed and never used in training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from adverse_perception.config import PipelineConfig
from adverse_perception.files import FileError, write_json
from adverse_perception.frames import Condition, Frame, UInt8Array, Weather
from adverse_perception.inference import Engine, EngineError, load_engine
from adverse_perception.report import machine
from adverse_perception.scores import ConfusionMatrix
from adverse_perception.segmenters import EngineSegmenter
from adverse_perception.weather import WeatherClassifier
from training.checkpoints import open_checkpoint
from training.datasets import Pack, data_folder, open_pack, read_image
from training.methods import (
    Carrying,
    Method,
    Restoring,
    Translating,
    picture_of,
    planes_of,
    translated,
)
from training.network_engine import NetworkEngine
from training.networks.cyclegan import CycleGan
from training.recipes import NOTICEABLE, Recipe
from training.restoration_scores import psnr
from training.synthesis import WEATHERS, degrade
from training.trials import TEST_SEED, trial_of
from training.video_scores import carried_score

VALIDATION_EVERY = 4
"""Consecutive frames of a video say much the same: every so manieth is looked at in training."""
_CYCLED = 12
"""Frames that a CycleGAN is watched by."""


class EvaluationError(ValueError):
    """What was asked for cannot be scored."""


Labeller = Callable[[UInt8Array], UInt8Array]


def labeller(engine: Engine) -> Labeller:
    """The vehicle's way from a picture (H, W, 3) uint8 RGB to its labels (H, W) uint8."""
    segmenter = EngineSegmenter(engine)
    return lambda image: segmenter.segment(Frame(image), Condition(Weather.CLEAR)).labels


def score(
    label: Labeller, pack: Pack, weather: str | None = None, every: int = 1
) -> ConfusionMatrix:
    """Label every frame of a pack and count.

    Args:
        label: picture to labels of `labels.CLASSES`.
        pack: a coarse pack is scored in its own classes.
        weather: a name of `training.synthesis.WEATHERS` to put on the frames, or none.
        every: score every so manieth frame only.
    """
    matrix = ConfusionMatrix(len(pack.class_names))
    table = pack.label_map.coarse_of()
    for number in tqdm(range(0, len(pack.pairs), every), desc=pack.name, leave=False):
        image, truth = pack.load(number)
        if weather is not None:
            image = weathered(image, weather, number)
        matrix.add(table[label(image)], truth)
    return matrix


def weathered(
    image: UInt8Array, weather: str, number: int, strength: tuple[float, float] = NOTICEABLE
) -> UInt8Array:
    """The frame with that number in test weather: the same picture in every run."""
    rng = np.random.default_rng((TEST_SEED, number))
    return degrade(image, weather, rng, strength=strength)


def name_weather(engine: Engine, image: UInt8Array) -> Weather:
    """What the vehicle makes of one picture by itself: (H, W, 3) uint8 RGB."""
    return WeatherClassifier(engine, PipelineConfig()).observe(Frame(image)).weather


def score_weather(engine: Engine, pack: Pack, every: int = 1) -> ConfusionMatrix:
    """Confusion of the four conditions, each put on a quarter of the frames in turn."""
    matrix = ConfusionMatrix(len(Weather))
    for number, weather, image in _turns(pack, every):
        seen = name_weather(engine, weathered(image, weather.value, number))
        row, column = list(Weather).index(weather), list(Weather).index(seen)
        matrix.counts[row, column] += 1
    return matrix


def _turns(pack: Pack, every: int) -> Iterator[tuple[int, Weather, UInt8Array]]:
    for turn, number in enumerate(tqdm(range(0, len(pack.pairs), every), leave=False)):
        yield number, list(Weather)[turn % len(Weather)], pack.load(number)[0]


def validate(recipe: Recipe, network: nn.Module, pack: Pack, method: Method) -> float:
    """What training watches, on frames it does not train on.

    Returns:
        Accuracy of a classifier and mIoU of a segmenter, 0 to 1, in its weathers if clear is none;
        mIoU of carried labels, if the pack is a video; PSNR in dB of a network that only restores;
        PSNR in dB of the days that a CycleGAN brings back from the night it made of them.
    """
    if isinstance(method, Carrying):
        return carried_score(recipe, network, pack, method.guide)
    if recipe.role in ("segmentation", "adaptive", "fusion", "joint", "weather"):
        engine = NetworkEngine(recipe, network)
        if recipe.role == "weather":
            return score_weather(engine, pack).accuracy()
        weathers = [None] if "clear" in recipe.conditions else recipe.conditions
        label = labeller(engine)
        matrices = [score(label, pack, weather, VALIDATION_EVERY) for weather in weathers]
        return float(np.mean([matrix.miou() for matrix in matrices]))
    if isinstance(method, Translating):
        return cycle_psnr(network, pack)
    assert isinstance(method, Restoring), recipe.role
    return restored_psnr(recipe, network, pack, method)


@torch.no_grad()
def restored_psnr(recipe: Recipe, network: nn.Module, pack: Pack, method: Restoring) -> float:
    """Mean PSNR of a few restored frames, in the recipe's weathers by turns."""
    weathers, values = list(recipe.augmentation.conditions), []
    device = next(network.parameters()).device
    for turn, number in enumerate(range(0, len(pack.pairs), 2 * VALIDATION_EVERY)):
        trial = trial_of(pack.load(number)[0], weathers[turn % len(weathers)], number)
        restored = method.restore(network.eval(), planes_of(trial.image).to(device))
        values.append(psnr(picture_of(restored), trial.clean))
    return float(np.mean(values))


def cycle_psnr(network: nn.Module, pack: Pack) -> float:
    """Mean PSNR of a few frames after day, night and day again: nothing must get lost on the way.

    It does not say how much like nights they look, for which there is no score without pairs.
    """
    assert isinstance(network, CycleGan)
    values = []
    for pair in pack.pairs[:: -(-len(pack.pairs) // _CYCLED)]:
        day = read_image(pair.image)
        again = translated(network.to_day, translated(network.to_night, day))
        values.append(psnr(again, day))
    return float(np.mean(values))


def open_engine(path: Path, backend: str, threads: int) -> Engine:
    """An exported engine by its runtime, or a checkpoint by PyTorch."""
    if path.suffix == ".onnx":
        return load_engine(path, backend=backend, threads=threads)
    checkpoint = open_checkpoint(path)
    torch.set_num_threads(threads)
    return NetworkEngine(checkpoint.recipe, checkpoint.network)


def evaluate(engine: Engine, pack: Pack, weather: str | None = None) -> dict[str, Any]:
    """The figures of one engine on one pack, as they go into a JSON file.

    Raises:
        EvaluationError: a weather is wished for an engine that is scored in every weather.
    """
    if engine.metadata.role == "weather":
        if weather is not None:
            raise EvaluationError(
                f"engine {engine.name}: expected no --weather, found {weather}; "
                "a weather engine is always scored in clear, rain, fog and night"
            )
        matrix, names = score_weather(engine, pack), [weather.value for weather in Weather]
        figures: dict[str, Any] = {"accuracy": _number(matrix.accuracy())}
        figures["confusion"] = matrix.counts[:, : len(names)].tolist()
    else:
        matrix, names = score(labeller(engine), pack, weather), list(pack.class_names)
        figures = {"pixel_accuracy": _number(matrix.accuracy())}
    figures["miou"] = _number(matrix.miou())
    iou = {name: _number(value) for name, value in zip(names, matrix.iou(), strict=True)}
    return {"engine": engine.name, "weather": weather, **figures, "iou": iou}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("engine", type=Path, help="an engine (.onnx) or a checkpoint (.pt)")
    parser.add_argument("--data", type=Path, help="labelled folder (default: camvid of the data)")
    parser.add_argument("--split", default="test", help="name of a list in its splits/")
    parser.add_argument("--weather", choices=sorted(WEATHERS), help="weather to put on the frames")
    parser.add_argument("--backend", default="onnxruntime", choices=("onnxruntime", "openvino"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the engine")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Score as told, print a table, return the exit code."""
    arguments = arguments_of(given)
    try:
        pack = open_pack(arguments.data or data_folder() / "camvid", arguments.split)
        engine = open_engine(arguments.engine, arguments.backend, arguments.threads)
        figures = evaluate(engine, pack, arguments.weather)
        figures |= {"data": pack.name, "split": arguments.split, "frames": len(pack.pairs)}
        figures |= {"backend": _backend(arguments), "machine": machine()}
        if arguments.json:
            write_json(arguments.json, figures)
    except (ValueError, EngineError, FileError) as error:
        print(f"training.evaluate: {error}", file=sys.stderr)
        return 2
    print_table(figures)
    return 0


def _backend(arguments: argparse.Namespace) -> str:
    return str(arguments.backend) if arguments.engine.suffix == ".onnx" else "pytorch"


def print_table(figures: dict[str, Any]) -> None:
    """The figures for a person."""
    kind = "accuracy" if "accuracy" in figures else "miou"
    title = f"{figures['engine']} on {figures['data']} {figures['split']}"
    print(f"{title} ({figures['frames']} frames, weather: {figures['weather'] or 'as it is'})")
    for name, value in {**figures["iou"], kind: figures[kind]}.items():
        print(f"  {name:<18} {'absent' if value is None else f'{value:.3f}'}")


if __name__ == "__main__":
    sys.exit(main())
