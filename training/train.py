"""Train one engine: `python -m training.train RECIPE --data DIR`.

The same command on several processes: `torchrun --nproc-per-node N -m training.train RECIPE ...`.
A run writes checkpoints and goes on from the last one when it is started again.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from torch import Tensor, nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.checkpoints import (
    AveragedWeights,
    describe,
    named_recipe,
    open_checkpoint,
    read,
    save,
)
from training.datasets import data_folder
from training.evaluate import validate
from training.losses import class_weights, grouped_cross_entropy
from training.recipes import RECIPES, Recipe, Schedule
from training.samples import LabelledStream, Range, WeatherStream, open_sources

_WARM_UP = 0.05


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
    """Linear warm-up, then half a cosine down to zero."""
    warm_up = max(1, round(_WARM_UP * schedule.steps))
    if step < warm_up:
        return schedule.rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, schedule.steps - warm_up)
    return schedule.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def loss_of(recipe: Recipe, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of one batch: of the labels, or of the weather."""
    outputs = network(batch["image"])
    if recipe.role == "weather":
        return cross_entropy(outputs, batch["weather"], label_smoothing=0.05)
    weights = class_weights(recipe.rare_class_power).to(outputs.device)
    return grouped_cross_entropy(outputs, batch["labels"], batch["groups"], weights)


class Run:
    """A training from its checkpoint to its last step."""

    def __init__(self, recipe: Recipe, folder: Path, process: Process, compiled: bool) -> None:
        self.recipe, self.folder, self.process = recipe, folder, process
        torch.manual_seed(recipe.seed)
        self.network = recipe.network().to(process.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedWeights(self.network, recipe.schedule.average)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), weight_decay=recipe.schedule.decay
        )
        self.step, self.score = 0, 0.0
        self._compiled = compiled

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / "last.pt"

    def resume(self) -> None:
        """Go on from the last checkpoint if there is one."""
        if not self.checkpoint.is_file():
            return
        content = read(self.checkpoint)
        self.network.load_state_dict(content["network"])
        self.average.network.load_state_dict(content["average"])
        self.average.updates = int(content["updates"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step, self.score = int(content["step"]), float(content["score"])

    def begin_from(self, checkpoint: Path) -> None:
        """Take the averaged weights of another run to start with."""
        weights = open_checkpoint(checkpoint).network.state_dict()
        self.network.load_state_dict(weights)
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
        }
        save(self.checkpoint, content)

    def stepper(self) -> nn.Module:
        """The network as it is trained: on several processes, compiled, or plain."""
        network = self.network
        if self.process.world > 1:
            network = DistributedDataParallel(network)
        if self._compiled:
            network = cast(nn.Module, torch.compile(network))
        return network

    def train_step(self, network: nn.Module, batch: dict[str, Tensor]) -> float:
        """One step of the optimiser; returns the loss."""
        device = self.process.device
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe.schedule, self.step)
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_of(self.recipe, network, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.average.update(self.network)
        self.step += 1
        return float(loss.detach())


def batches(
    run: Run, samples: Dataset[dict[str, Tensor]], workers: int
) -> Iterator[dict[str, Tensor]]:
    """The batches from the run's step to its end, for this process."""
    schedule, process = run.recipe.schedule, run.process
    per_step = schedule.batch * process.world
    numbers = Range(run.step * per_step, schedule.steps * per_step, process.rank, process.world)
    return iter(
        DataLoader(
            samples,
            batch_size=schedule.batch,
            sampler=numbers,
            num_workers=workers,
            pin_memory=process.device.type == "cuda",
            worker_init_fn=_one_thread,
        )
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def train(run: Run, arguments: argparse.Namespace) -> None:
    """Train to the end, with checkpoints, TensorBoard and a progress bar."""
    recipe, process = run.recipe, run.process
    data = data_folder(arguments.data)
    sources = open_sources(recipe, data, arguments.leave_out)
    samples: Dataset[dict[str, Tensor]] = (
        WeatherStream(recipe, sources, data)
        if recipe.role == "weather"
        else LabelledStream(recipe, sources)
    )
    network = run.stepper().train()
    writer = SummaryWriter(str(run.folder / "tensorboard")) if process.leads else None
    bar = tqdm(
        batches(run, samples, arguments.workers),
        total=recipe.schedule.steps,
        initial=run.step,
        desc=recipe.name,
        disable=not process.leads,
        mininterval=2,
    )
    smooth = None
    for batch in bar:
        loss = run.train_step(network, batch)
        smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
        bar.set_postfix(loss=f"{smooth:.3f}", score=f"{run.score:.3f}", refresh=False)
        last = run.step == recipe.schedule.steps
        if writer is not None and (run.step % arguments.save_every == 0 or last):
            run.score = validate(recipe, run.average.network, data)
            record(writer, run, smooth, batch)
            run.save()


def record(writer: SummaryWriter, run: Run, loss: float, batch: dict[str, Tensor]) -> None:
    """Curves and the pictures of the last batch, for TensorBoard."""
    writer.add_scalar("loss", loss, run.step)
    writer.add_scalar("validation", run.score, run.step)
    writer.add_scalar("rate", learning_rate(run.recipe.schedule, run.step), run.step)
    writer.add_images("samples", batch["image"][:8], run.step, dataformats="NHWC")


def this_process(wished: str | None) -> Process:
    """Joins the other processes of a torchrun; picks the GPU where there is one."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    kind = wished or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if world > 1:
        init_process_group("nccl" if kind == "cuda" else "gloo")
    return Process(rank, world, device)


def arguments_of(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", choices=sorted(RECIPES), help="what to train")
    parser.add_argument("--data", type=Path, help="folder that holds camvid/, idd_lite/, ...")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/RECIPE)")
    parser.add_argument("--init", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: the recipe's)")
    parser.add_argument("--rate", type=float, help="highest learning rate (default: the recipe's)")
    parser.add_argument("--batch", type=int, help="samples a step and process")
    parser.add_argument("--leave-out", nargs="*", default=[], help="data sets not to train on")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--workers", type=int, default=1, help="processes that load samples")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--compile", action="store_true", help="fuse kernels with torch.compile")
    return parser.parse_args(given)


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The named recipe with what the command line changes of its schedule."""
    recipe = named_recipe(arguments.recipe)
    changed: dict[str, Any] = {
        name: value
        for name in ("steps", "rate", "batch")
        if (value := getattr(arguments, name)) is not None
    }
    return replace(recipe, schedule=replace(recipe.schedule, **changed))


def main(given: list[str] | None = None) -> int:
    """Train as told; returns the exit code."""
    arguments = arguments_of(given)
    torch.set_flush_denormal(True)  # subnormal numbers are a hundred times slower on a CPU
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = recipe_of(arguments)
    process = this_process(arguments.device)
    run = Run(recipe, arguments.out or Path("runs") / recipe.name, process, arguments.compile)
    if arguments.init:
        run.begin_from(arguments.init)
    run.resume()
    try:
        train(run, arguments)
    except ValueError as error:
        print(f"training.train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if process.leads:
            run.save()
        return 130
    finally:
        if process.world > 1:
            destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
