"""What each command does; says what came of it and leaves printing to `cli.main`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from adverse_perception import replay as replaying
from adverse_perception import shelf, sources
from adverse_perception.bags import Bag
from adverse_perception.config import PipelineConfig, configured, knobs
from adverse_perception.engines import Engines
from adverse_perception.files import write_json
from adverse_perception.inference import PlanSettings, Wish, silent
from adverse_perception.inference.tensorrt_backend import open_workshop
from adverse_perception.recordings import Drops, Source, SourceFrame
from adverse_perception.report import describe, summary, table
from adverse_perception.vote import Vote

Item = TypeVar("Item")


class CommandError(Exception):
    """A command asked for in a way that cannot be done."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes:
        text: for the user to read.
        trouble: what went wrong although the rest was done; the exit code is then not 0.
    """

    text: str
    trouble: str = ""


def segment(asked: argparse.Namespace) -> Outcome:
    """`segment`: label pictures, folders of pictures, videos."""
    source = Inputs(asked.inputs)
    run = _run(source, asked, restore=True)
    report = replaying.segment(run, _progress(run, len(run)), asked.out)
    report.write(asked.out / replaying.REPORT)
    return Outcome(_told(report.record(), asked.out), _lost(run.drops))


def replay(asked: argparse.Namespace) -> Outcome:
    """`replay`: label every frame of a bag."""
    bag = Bag(asked.bag, asked.topic, asked.truth_topic)
    run = _run(bag, asked, restore=asked.restored, vote=Vote())
    report = replaying.replay(
        run, _progress(run, len(run)), asked.out, jpeg=asked.jpeg, originals=asked.originals
    )
    text = _told(report.record(), asked.out)
    # frames that are broken in the bag are in the report; they do not make the replay a failure
    return Outcome(f"{text}\n\nskipped: {_lost(run.drops)}" if run.drops.messages else text)


def list_engines(asked: argparse.Namespace) -> Outcome:
    """`engines list`: what every engine says about itself."""
    files = [file for path in _files(asked) for file in shelf.with_variants(path)]
    return _inspected([shelf.read(file) for file in files], asked.json)


def check_engines(asked: argparse.Namespace) -> Outcome:
    """`engines check`: verify every checksum and run one frame."""
    bar = _progress(_files(asked), unit="engine")
    found = [shelf.check(path, _wish(asked, bar)) for path in bar]
    return _inspected(found, asked.json)


def build_engines(asked: argparse.Namespace) -> Outcome:
    """`engines build`: TensorRT's plans, ahead of the drive."""
    if asked.batch < 1:
        raise CommandError(f"--batch: expected 1 or more, found {asked.batch}")
    bar = _progress(_files(asked), unit="engine")
    plans = replace(_wish(asked, bar).plans, batch=asked.batch)
    workshop = open_workshop(asked.backend, plans)
    records = [record for path in bar for record in shelf.build(path, workshop, asked.precision)]
    if asked.json:
        write_json(asked.json, {"plans": records})
    told = table(shelf.PLAN_COLUMNS, [shelf.plan_row(record) for record in records])
    problems = dict.fromkeys(record["problem"] for record in records if record["problem"])
    remarks = (record.get("remark", "") for record in records)
    return Outcome(_paragraphs(told, str(workshop), *remarks), "; ".join(problems))


def bench_engines(asked: argparse.Namespace) -> Outcome:
    """`engines bench`: time every engine on this machine."""
    if asked.frames < 1:
        raise CommandError(f"--frames: expected 1 or more, found {asked.frames}")
    rounds = _progress(range(asked.frames))
    records = shelf.bench(_files(asked), _wish(asked, rounds), rounds, asked.size)
    rows = [
        (shelf.short_name(Path(record["engine"])), record["size"], stage, *times.values())
        for record in records
        for stage, times in record["latency_ms"].items()
    ]
    if asked.json:
        write_json(asked.json, {"engines": records})
    told = table(("engine", "size", "stage, ms", "p50", "p95", "p99"), rows)
    where = f"{asked.backend}, {describe(records[0]['machine'])}"
    return Outcome(_paragraphs(told, where, *(record["remark"] for record in records)))


class Inputs:
    """Several recordings of one kind as one; names are kept apart where there are several."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Open them all, so that a bad one is known before the first is worked on.

        Raises:
            SourceError: one of them cannot be read.
            CommandError: stills mixed with recordings, or two inputs of the same name.
        """
        opened = [(path, sources.open_source(path)) for path in paths]
        self._parts: list[tuple[str, Source]] = [
            (f"{path.stem}/" if path.is_dir() and len(opened) > 1 else "", source)
            for path, source in opened
        ]
        self.name = ", ".join(source.name for _, source in self._parts)
        self.continuous = opened[0][1].continuous
        self.rate_hz = opened[0][1].rate_hz
        self.drops = Drops()
        if len({source.continuous for _, source in self._parts}) > 1:
            raise CommandError("pictures and videos together: expected one kind at a time")
        self._refuse_same_names([path for path, _ in opened])

    def __len__(self) -> int:
        return sum(len(source) for _, source in self._parts)

    def __iter__(self) -> Iterator[SourceFrame]:
        self.drops = Drops()
        for number, (prefix, source) in enumerate(self._parts):
            for frame in source:
                yield _renamed(frame, prefix + frame.name, f"{frame.camera} {number}")
            self.drops.counts.update(source.drops.counts)
            self.drops.messages.update(source.drops.messages)

    @staticmethod
    def _refuse_same_names(paths: list[Path]) -> None:
        stems = [path.stem for path in paths]
        if twice := next((stem for stem in stems if stems.count(stem) > 1), ""):
            raise CommandError(
                f"two inputs are called {twice} and would write the same files: "
                "give one at a time, each with its own --out"
            )


def _renamed(frame: SourceFrame, name: str, camera: str) -> SourceFrame:
    return SourceFrame(frame.image, frame.stamp_ns, name, frame.labels, camera)


def _run(
    source: Source, asked: argparse.Namespace, restore: bool, vote: Vote | None = None
) -> replaying.LabellingRun:
    """Get ready to label a source; with a vote, its cameras are those of one car."""
    names = {knob.name for knob in knobs(PipelineConfig)}
    config = configured(
        PipelineConfig, {name: value for name, value in vars(asked).items() if name in names}
    )
    engines = Engines.load(config)
    run = replaying.LabellingRun(source, lambda: engines.pipeline(config, vote), restore=restore)
    run.report.details["stand_ins"] = engines.stand_ins
    return run


def _files(asked: argparse.Namespace) -> list[Path]:
    return shelf.chosen_files(asked.engines_folder, asked.names)


def _wish(asked: argparse.Namespace, bar: Iterable[Any]) -> Wish:
    """As asked for and not otherwise; what takes its time is told on the bar."""
    tell = getattr(bar, "set_postfix_str", silent)
    folder = Path(asked.plans_folder).expanduser() if asked.plans_folder else None
    plans = PlanSettings(folder, tell=tell)
    return Wish(
        asked.backend, getattr(asked, "threads", 1), plans=plans, precision=asked.precision
    )


def _inspected(found: list[shelf.Inspection], json: Path | None) -> Outcome:
    if json:
        write_json(json, {"engines": [inspection.record() for inspection in found]})
    problems = dict.fromkeys(one.problem for one in found if one.problem)
    text = table(shelf.COLUMNS, [inspection.row() for inspection in found])
    return Outcome(_paragraphs(text, *(one.remark for one in found)), "; ".join(problems))


def _paragraphs(*parts: str) -> str:
    """Each of them once, without those that say nothing."""
    return "\n\n".join(dict.fromkeys(part for part in parts if part))


def _told(record: dict[str, Any], out: Path) -> str:
    failures = [
        f"engine {name} failed on {failure['frames']} frames: {failure['message']}"
        for name, failure in record["engine_failures"].items()
    ]
    return "\n\n".join([summary(record), *record["stand_ins"], *failures, f"written to {out}"])


def _lost(drops: Drops) -> str:
    return "; ".join(
        f"{drops.counts[cause]} {cause}, {message}" for cause, message in drops.messages.items()
    )


def _progress(
    items: Iterable[Item], total: int | None = None, unit: str = "frame"
) -> Iterable[Item]:
    """Show a bar on a terminal, where tqdm is installed; nothing elsewhere."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, total=total, unit=unit, leave=False, disable=None)
    return bar
