"""One training: network, averaged weights and optimiser, from its checkpoint to its last step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoints import (
    TO_GO_ON,
    AveragedWeights,
    Checkpoint,
    CheckpointError,
    check_same_network,
    describe,
    learnt_from,
    open_checkpoint,
    read,
    recipe_from,
    save,
    save_weights,
)
from training.methods import METHODS, Taught
from training.network_engine import engine_module
from training.networks.adaptive import AdaptiveChannel
from training.networks.correction import LightCorrection
from training.networks.deeplab import DeepLabV3Plus
from training.networks.encoders import BackboneError, load_backbone
from training.networks.fusion import CHANNELS, TwoChannels
from training.networks.guide import Guide
from training.networks.joint import JointNet
from training.recipes import CURVES, Recipe, Schedule, Stage

_WARM_UP = 0.05
_LONGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class Process:
    """Which of the processes of a run this is, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """The one that writes and shows progress."""
        return self.rank == 0


def learning_rate(schedule: Schedule, step: int) -> float:
    """In every stage a linear warm-up, then the schedule's curve down to zero."""
    stage, begin, end = schedule.at(step)
    rate, step, steps = schedule.rate * stage.rate, step - begin, end - begin
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return rate * CURVES[schedule.curve](min(1.0, done))


class Run:
    """A training from its checkpoint to its last step."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        process: Process,
        *,
        compiled: bool = False,
        bfloat16: bool = False,
        guide: Guide | None = None,
    ) -> None:
        self.recipe, self.folder, self.process = recipe, folder, process
        torch.manual_seed(recipe.seed)
        self.network = recipe.network().to(process.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedWeights(self.network, recipe.schedule.average)
        self.step, self.score, self.left_out = 0, 0.0, 0
        self.learnt_from = guide.learnt_from if guide else ()
        self._compiled = compiled
        self._bfloat16 = bfloat16 or process.device.type == "cuda"
        method = METHODS[recipe.method or recipe.role]
        self.method = method(recipe, guide and guide.to(process.device))
        if isinstance(self.method, Taught):
            self.method.learn_from(self.average.network)
        self._enter(recipe.schedule.at(0)[0])

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / "last.pt"

    def resume(self) -> None:
        """Go on from the last checkpoint if there is one.

        Raises:
            CheckpointError: it is broken, or of another network.
        """
        if not self.checkpoint.is_file():
            return
        content = read(self.checkpoint, TO_GO_ON)
        check_same_network(self.checkpoint, recipe_from(content["recipe"]), self.recipe)
        self.network.load_state_dict(content["network"])
        self.average.network.load_state_dict(content["average"])
        self.average.updates = int(content["updates"])
        self.step, self.score = int(content["step"]), float(content["score"])
        self._enter(self.recipe.schedule.at(max(0, self.step - 1))[0])
        self.optimiser.load_state_dict(content["optimiser"])
        self.learnt_from = learnt_from(content)

    def begin_from(self, path: Path, number: int = 0) -> None:
        """Take the averaged weights of another run to start with; those of a segmenter
        also for a network that has one inside.

        Args:
            path: the checkpoint.
            number: of the segmenters inside, the one to begin.

        Raises:
            CheckpointError: the file is missing, broken, or of another network.
        """
        earlier = open_checkpoint(path)
        segmenter, inside = engine_module(earlier.network), _inside(self.network, number)
        alike = earlier.recipe.role == self.recipe.role
        if alike or inside is None or not isinstance(segmenter, DeepLabV3Plus):
            check_same_network(path, earlier.recipe, self.recipe)
            weights = earlier.network.state_dict()
        else:
            check_same_network(path, replace(earlier.recipe, role=self.recipe.role), self.recipe)
            found = segmenter.state_dict()
            weights = self.network.state_dict() | {inside + name: found[name] for name in found}
        self._take(weights, path)
        self.learnt_from = tuple(dict.fromkeys((*self.learnt_from, *earlier.learnt_from)))

    def begin_from_backbone(self, path: Path) -> None:
        """Take public ImageNet weights, in torchvision's naming, for the backbone.

        Raises:
            BackboneError: they are of another backbone or width.
        """
        inside = isinstance(self.network, AdaptiveChannel | JointNet)
        segmenter = self.network.segmenter if inside else self.network
        if not isinstance(segmenter, DeepLabV3Plus):
            raise BackboneError(
                f"recipe {self.recipe.name}: expected one segmenter with a backbone, found"
                f" {type(self.network).__name__}; leave --backbone out, or begin with --init"
            )
        load_backbone(segmenter.backbone, path)
        self._take(self.network.state_dict(), path)
        self.learnt_from = ("imagenet",)

    def _take(self, weights: dict[str, Tensor], path: Path) -> None:
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise CheckpointError(
                f"{path}: expected weights for the options of {self.recipe.name}, found others"
                f" ({reason}); begin with a run of the same options"
            ) from error
        self.average.network.load_state_dict(weights)

    def save(self) -> None:
        """Write everything that going on needs."""
        content = {
            "recipe": describe(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "score": self.score,
            "learnt_from": list(self.learnt_from),
        }
        save(self.checkpoint, content)

    def keep(self) -> None:
        """Write what an evaluation needs of this moment, and never write over it."""
        moment = Checkpoint(
            self.recipe, self.average.network, self.step, self.score, self.learnt_from
        )
        save_weights(self.folder / "kept" / f"{self.step:06d}.pt", moment)

    def _enter(self, stage: Stage) -> None:
        """Let the stage's share of the network learn, with an optimiser of its own."""
        self._stage = stage
        # Old gradients of what learns no more would count when gradients are clipped.
        self.network.zero_grad(set_to_none=True)
        for name, value in self.network.named_parameters():
            value.requires_grad_(name.startswith(stage.trains))
        schedule = self.recipe.schedule
        self.optimiser = torch.optim.AdamW(
            _groups(self.network, stage), weight_decay=schedule.decay, betas=schedule.betas
        )
        self._stepper = self._wrapped()

    def _wrapped(self) -> nn.Module:
        """The network as it is trained: on several processes, compiled, or plain."""
        network = self.network
        if self.process.world > 1:
            network = DistributedDataParallel(network)
        if self._compiled:
            network = cast(nn.Module, torch.compile(network))
        return network

    def train_step(self, batch: dict[str, Tensor]) -> float:
        """One step of the optimiser; returns the loss."""
        device, schedule = self.process.device, self.recipe.schedule
        stage = schedule.at(self.step)[0]
        if stage is not self._stage:  # it builds on the averaged weights of the one before
            self.network.load_state_dict(self.average.network.state_dict())
            self.average.updates = 0  # or the drawn weights of what begins to learn stay for long
            self._enter(stage)
        self.network.train()
        _keep_frozen_statistics(self.network)
        # Dropout is drawn anew for every step, so that a resumed run draws what it would have.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * 64 + self.process.rank)
        for group in self.optimiser.param_groups:
            share = group.get("share", 1.0)  # none in checkpoints from before there were shares
            group["lr"] = share * learning_rate(schedule, self.step)
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16):
            loss = self.method.loss(self._stepper, batch, stage.name)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), _LONGEST_GRADIENT)
        if norm.isfinite():  # else bfloat16 has overflowed on the way back: leave the step out
            self.optimiser.step()
            self.average.update(self.network)
        else:
            self.left_out += 1
        self.step += 1
        return float(loss.detach())


def _inside(network: nn.Module, number: int) -> str | None:
    """How the names of a segmenter's weights begin within a network, if it is or has such."""
    if isinstance(network, TwoChannels):
        return f"{CHANNELS[min(number, len(CHANNELS) - 1)]}."
    if isinstance(network, AdaptiveChannel | JointNet | LightCorrection):
        return "segmenter."
    return "" if isinstance(network, DeepLabV3Plus) else None


def _groups(network: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """What learns, by its rate relative to the stage's."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, value in network.named_parameters():
        if value.requires_grad:
            found = (rate for prefix, rate in stage.rates.items() if name.startswith(prefix))
            groups.setdefault(next(found, 1.0), []).append(value)
    return [{"params": values, "share": rate} for rate, values in groups.items()]


def _keep_frozen_statistics(network: nn.Module) -> None:
    """What does not learn in a stage must not drift by its batch statistics either."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
