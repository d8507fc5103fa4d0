"""A PyTorch network behind the vehicle's `Engine` interface: both are judged by one road."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adverse_perception.frames import UInt8Array, Weather
from adverse_perception.inference import ROLE_OUTPUTS, EngineMetadata
from adverse_perception.labels import CLASS_NAMES
from training.checkpoints import CheckpointError
from training.networks.joint import JointNet, JointOutputs
from training.recipes import Recipe

CLASSES_OF_ROLE = {
    "segmentation": CLASS_NAMES,
    "joint": CLASS_NAMES,
    "weather": tuple(weather.value for weather in Weather),
}


class NetworkEngine:
    """An `adverse_perception.inference.Engine` that runs a network in training."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.metadata = describe_engine(recipe)
        self.name = recipe.name
        self._network = engine_module(network).eval()
        self._device = next(network.parameters()).device

    @torch.no_grad()
    def run(self, image: UInt8Array, outputs: tuple[str, ...] = ()) -> Mapping[str, NDArray[Any]]:
        """See `Engine.run`; everything is computed, whatever is wanted."""
        batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(self._device)
        given = self._network(batch)
        tensors = given if isinstance(given, tuple) else (given,)
        arrays = [tensor[0].cpu().numpy() for tensor in tensors]
        return dict(zip(ROLE_OUTPUTS[self.metadata.role], arrays, strict=True))


def engine_module(network: nn.Module) -> nn.Module:
    """What of a network becomes an engine: the outputs of its role, as the vehicle wants them."""
    return JointOutputs(network) if isinstance(network, JointNet) else network


def describe_engine(recipe: Recipe) -> EngineMetadata:
    """What every engine of a recipe says of itself, whatever it has learnt.

    Raises:
        CheckpointError: networks of its kind only restore, which no route of the vehicle does.
    """
    if recipe.role not in CLASSES_OF_ROLE:
        raise CheckpointError(
            f"recipe {recipe.name}: expected a role of {', '.join(CLASSES_OF_ROLE)}, found "
            f"{recipe.role}; training.studies judges networks that only restore"
        )
    return EngineMetadata(
        name=recipe.name,
        role=recipe.role,
        conditions=recipe.conditions,
        classes=CLASSES_OF_ROLE[recipe.role],
        input_height=recipe.size[0],
        input_width=recipe.size[1],
        stride=1 if recipe.role == "weather" else 4,
    )
