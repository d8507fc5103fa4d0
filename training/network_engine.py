"""A PyTorch network behind the vehicle's `Engine` interface: both are judged by one road."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from adverse_perception.frames import Float32Array, UInt8Array, Weather
from adverse_perception.inference import EngineMetadata
from adverse_perception.labels import CLASS_NAMES
from training.recipes import Recipe

OUTPUT_OF_ROLE = {"segmentation": "logits", "weather": "scores"}
CLASSES_OF_ROLE = {
    "segmentation": CLASS_NAMES,
    "weather": tuple(weather.value for weather in Weather),
}


class NetworkEngine:
    """An `adverse_perception.inference.Engine` that runs a network in training."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.metadata = describe_engine(recipe)
        self.name = recipe.name
        self._network = network.eval()
        self._device = next(network.parameters()).device

    @torch.no_grad()
    def run(self, image: UInt8Array, outputs: tuple[str, ...] = ()) -> Mapping[str, Float32Array]:
        """See `Engine.run`."""
        batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(self._device)
        output = self._network(batch)[0].float().cpu().numpy()
        return {OUTPUT_OF_ROLE[self.metadata.role]: output}


def describe_engine(recipe: Recipe) -> EngineMetadata:
    """What every engine of a recipe says of itself, whatever it has learnt."""
    return EngineMetadata(
        name=recipe.name,
        role=recipe.role,
        conditions=recipe.conditions,
        classes=CLASSES_OF_ROLE[recipe.role],
        input_height=recipe.size[0],
        input_width=recipe.size[1],
        stride=4 if recipe.role == "segmentation" else 1,
    )
