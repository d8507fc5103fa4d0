"""A PyTorch network behind the vehicle's `Engine` interface: both are judged by one road."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adverse_perception.frames import UInt8Array
from adverse_perception.inference import (
    NO_MAPS,
    ROLE_CLASSES,
    ROLE_MAPS,
    ROLE_OUTPUTS,
    EngineMetadata,
)
from training.checkpoints import CheckpointError
from training.networks.adaptive import AdaptiveChannel
from training.networks.correction import CorrectionOutputs, LightCorrection
from training.networks.fusion import FusedOutputs, TwoChannels
from training.networks.joint import JointNet, JointOutputs
from training.recipes import Recipe

ENGINE_ROLES = {"adaptive": "segmentation", "fusion": "segmentation"}
"""What the vehicle calls an engine of a recipe's role, where it has another name for it."""
STRIDES = {"weather": 1, "correction": 2}
"""Pixels of an engine's picture for one of its answer, where it is not 4."""


class NetworkEngine:
    """An `adverse_perception.inference.Engine` that runs a network in training."""

    def __init__(self, recipe: Recipe, network: nn.Module) -> None:
        self.metadata = describe_engine(recipe)
        self.name = recipe.name
        self._network = engine_module(network).eval()
        self._device = next(network.parameters()).device

    @torch.no_grad()
    def run(
        self,
        image: UInt8Array,
        outputs: tuple[str, ...] = (),
        maps: Mapping[str, NDArray[Any]] = NO_MAPS,
    ) -> Mapping[str, NDArray[Any]]:
        """See `Engine.run`; everything is computed, whatever is wanted."""
        arrays = (image, *(maps[name] for name in ROLE_MAPS.get(self.metadata.role, ())))
        batch = [torch.from_numpy(np.ascontiguousarray(one))[None] for one in arrays]
        given = self._network(*(one.to(self._device) for one in batch))
        tensors = given if isinstance(given, tuple) else (given,)
        found = [tensor[0].cpu().numpy() for tensor in tensors]
        return dict(zip(ROLE_OUTPUTS[self.metadata.role], found, strict=True))


def engine_module(network: nn.Module) -> nn.Module:
    """What of a network becomes an engine: the outputs of its role, as the vehicle wants them."""
    if isinstance(network, JointNet):
        return JointOutputs(network)
    if isinstance(network, AdaptiveChannel):
        return network.segmenter
    if isinstance(network, TwoChannels):
        return FusedOutputs(network)
    return CorrectionOutputs(network) if isinstance(network, LightCorrection) else network


def describe_engine(recipe: Recipe) -> EngineMetadata:
    """What every engine of a recipe says of itself, whatever it has learnt.

    Raises:
        CheckpointError: networks of its kind only restore, which no route of the vehicle does.
    """
    role = ENGINE_ROLES.get(recipe.role, recipe.role)
    if role not in ROLE_CLASSES:
        raise CheckpointError(
            f"recipe {recipe.name}: expected a role of {', '.join(ROLE_CLASSES)}, found "
            f"{recipe.role}; training.studies judges networks that only restore"
        )
    return EngineMetadata(
        name=recipe.name,
        role=role,
        conditions=recipe.conditions,
        classes=ROLE_CLASSES[role],
        input_height=recipe.size[0],
        input_width=recipe.size[1],
        stride=STRIDES.get(recipe.role, 4),
    )
