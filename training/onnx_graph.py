"""A network as an ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adverse_perception.inference import ROLE_MAPS, ROLE_OUTPUTS
from adverse_perception.propagation import map_shapes
from training.network_engine import describe_engine, engine_module
from training.recipes import Recipe

OPSET = 17
_SUBNORMAL = 1e-30
_FREE = {
    "scores": {0: "batch"},
    "image": {0: "batch", 1: "height", 2: "width"},
    "restored": {0: "batch", 1: "height", 2: "width"},
    **{
        name: {0: "batch", 2: "rows", 3: "columns"}
        for name in ("logits", "warped", "evidence", "correction", "distortion")
    },
}
"""Axes without a size of their own."""


def write_onnx(recipe: Recipe, network: nn.Module, path: Path) -> None:
    """The network as an ONNX graph whose batch, height and width are free."""
    network = engine_module(flushed(network)).eval()
    height, width = recipe.size
    role = describe_engine(recipe).role
    inputs, outputs = ("image", *ROLE_MAPS.get(role, ())), ROLE_OUTPUTS[role]
    free = {name: _FREE[name] for name in (*inputs, *outputs)}
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
