"""Train one engine: `python -m training.train RECIPE --data DIR`.

The same command on several processes: `torchrun --nproc-per-node N -m training.train RECIPE ...`.
A run writes checkpoints and goes on from the last one when it is started again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NoReturn

import cv2
import torch
from torch import Tensor
from torch.distributed import destroy_process_group, init_process_group
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from adverse_perception.files import FileError
from training.checkpoints import GUIDE, CheckpointError, open_checkpoint, open_guide
from training.datasets import Pack, data_folder, open_pack
from training.evaluate import validate
from training.networks.fusion import CHANNELS, TwoChannels
from training.networks.guide import Guide
from training.recipes import Recipe
from training.run import Process, Run, learning_rate
from training.samples import Range, Stream, open_stream
from training.train_options import arguments_of, domains_of, recipe_of
from training.unpaired import Domains, unlabelled_pack

_RECENT = 50
"""So many steps' losses are averaged for display."""


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
            # A forked worker can wait for ever for a lock that a thread held at the fork.
            multiprocessing_context="spawn" if workers else None,
        )
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def train(
    run: Run,
    stream: Stream,
    validation: Pack,
    *,
    workers: int = 0,
    save_every: int = 500,
    keep: bool = False,
) -> list[float]:
    """Train to the end, with checkpoints, TensorBoard and a progress bar.

    Args:
        run: begun or resumed.
        stream: what it learns from.
        validation: labelled frames it does not learn from, scored at every checkpoint.
        workers: processes that load samples; 0 loads them in this one.
        save_every: steps between checkpoints.
        keep: keep the weights of every checkpoint in `kept/`, for studies.

    Returns:
        The loss of every step.
    """
    recipe, process = run.recipe, run.process
    run.learnt_from = tuple(dict.fromkeys((*run.learnt_from, *stream.learnt_from)))
    losses: list[float] = []
    bar = _bar(run)
    for batch in batches(run, stream.samples, workers):
        losses.append(run.train_step(batch))
        recent = mean(losses[-_RECENT:])
        _advance(bar, run, recent)
        due = run.step % save_every == 0 or run.step == recipe.schedule.steps
        if process.leads and due:
            run.score = validate(recipe, run.average.network, validation, run.method)
            record(run, recent, batch)
            run.save()
            if keep:
                run.keep()
    bar.close()
    return losses


def _bar(run: Run) -> tqdm[NoReturn]:
    return tqdm(
        total=run.recipe.schedule.steps,
        initial=run.step,
        desc=run.recipe.name,
        disable=not run.process.leads,
        mininterval=2,
    )


def _advance(bar: tqdm[NoReturn], run: Run, loss: float) -> None:
    shown = {"loss": f"{loss:.3f}", "score": f"{run.score:.3f}"}
    left_out = {"left_out": run.left_out} if run.left_out else {}
    bar.set_postfix(shown | left_out, refresh=False)
    bar.update()


def record(run: Run, loss: float, batch: dict[str, Tensor]) -> None:
    """Curves and the pictures of the last batch, for TensorBoard."""
    pictures = next(values for values in batch.values() if values.dtype == torch.uint8)
    with SummaryWriter(str(run.folder / "tensorboard")) as writer:
        writer.add_scalar("loss", loss, run.step)
        writer.add_scalar("validation", run.score, run.step)
        writer.add_scalar("rate", learning_rate(run.recipe.schedule, run.step), run.step)
        writer.add_images("samples", pictures[:8], run.step, dataformats="NHWC")


def this_process(wished: str | None) -> Process:
    """Joins the other processes of a torchrun; picks the GPU where there is one."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    kind = wished or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        init_process_group("nccl" if kind == "cuda" else "gloo")
    return Process(rank, world, device)


def begin(run: Run, arguments: argparse.Namespace) -> None:
    """Weights to start with: the run's own checkpoint, else the ones named, else drawn ones."""
    earlier = arguments.init or []
    if isinstance(run.network, TwoChannels) and not run.checkpoint.is_file():
        check_channels(run.recipe, earlier)
    for number, path in enumerate(earlier):
        run.begin_from(path, number)
    if arguments.backbone:
        run.begin_from_backbone(arguments.backbone)
    run.resume()


def check_channels(recipe: Recipe, earlier: Sequence[Path]) -> None:
    """Raises `CheckpointError` unless there are two channels to fuse, or one fusion already."""
    whole = len(earlier) == 1 and open_checkpoint(earlier[0]).recipe.role == recipe.role
    if len(earlier) != len(CHANNELS) and not whole:
        raise CheckpointError(
            f"recipe {recipe.name}: expected two trained channels to fuse, found {len(earlier)};"
            " name them with --init REAL ADAPTIVE"
        )


def guide_of(arguments: argparse.Namespace, recipe: Recipe) -> Guide | None:
    """The frozen segmenter of a recipe that wants one; what is distilled has to be named."""
    distils = recipe.method == "distilling"
    path = arguments.guide or (None if distils else GUIDE)
    return open_guide(path, features=not distils) if recipe.guided and path else None


def open_validation(recipe: Recipe, data: Path, domains: Domains) -> Pack:
    """What training watches: CamVid's val, or pictures of the folder that stands in for a day."""
    if recipe.role == "cyclegan" and domains.day is not None:
        return unlabelled_pack(domains.day)
    return open_pack(data / "camvid", "val")


def train_as_told(arguments: argparse.Namespace, process: Process) -> None:
    """Open what the command line names, then train; an interrupted run keeps what it has."""
    recipe, domains = recipe_of(arguments), domains_of(arguments)
    needs_data = recipe.role != "cyclegan" or None in (domains.day, domains.night)
    data = data_folder(arguments.data) if needs_data else Path()
    guide = guide_of(arguments, recipe)
    stream = open_stream(
        recipe,
        data,
        arguments.leave_out,
        arguments.with_val,
        guide=guide,
        skip_broken=arguments.skip_broken,
        domains=domains,
    )
    validation = open_validation(recipe, data, domains)
    folder = arguments.out or Path("runs") / recipe.name
    run = Run(
        recipe, folder, process, compiled=arguments.compile, bfloat16=arguments.bf16, guide=guide
    )
    begin(run, arguments)
    try:
        train(
            run,
            stream,
            validation,
            workers=arguments.workers,
            save_every=arguments.save_every,
            keep=arguments.keep,
        )
    except KeyboardInterrupt:
        if process.leads:
            run.save()
        raise


def main(given: list[str] | None = None) -> int:
    """Train as told; returns the exit code."""
    arguments = arguments_of(given, __doc__)
    torch.set_flush_denormal(True)  # subnormal numbers are a hundred times slower on a CPU
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    process = this_process(arguments.device)
    try:
        train_as_told(arguments, process)
    except (ValueError, FileError) as error:
        # A worker that loads samples wraps its error in a traceback; the error is the last line.
        print(f"training.train: {str(error).splitlines()[-1]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        torch.set_flush_denormal(False)
        if process.world > 1:
            destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
