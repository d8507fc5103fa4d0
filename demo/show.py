"""The demonstration from start to end: footage, node, drive, report, pictures, table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from adverse_perception import transport
from adverse_perception.files import explained, write_json, write_picture
from adverse_perception.report import describe
from demo.findings import Findings
from demo.footage import DemoError, Footage, OwnFootage, Shot, Size
from demo.node_process import NodeProcess
from demo.pictures import choose, contact_sheet, open_video, side_by_side
from demo.record import Moment, Recording

CAMERA = "camera"
READY_S = 90.0
"""How long the node may take to come up; the first start on a machine compiles a kernel."""
DRIVE_SIZE = (480, 360)
DRIVE_S = 40.0


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        source: the user's bag, video or pictures; None = the sample drive.
        out: folder for what is left behind.
        rate_hz: frames per second to play.
        size: width and height to play at; None = as the source is.
        seconds: how long to play at most; None = all of it.
        seed: which sample drive.
        cache: folder for drawn drives.
        parameters: further ROS parameters of the node.
    """

    source: Path | None = None
    out: Path = Path("out")
    rate_hz: float = 15.0
    size: Size | None = None
    seconds: float | None = None
    seed: int = 0
    cache: Path = Path(".cache")
    parameters: Mapping[str, str] = field(default_factory=dict)


def show(options: Options) -> dict[str, Any]:
    """Play the footage to the node and leave video, contact sheet and report in `options.out`.

    Returns:
        The record written as `report.json`.

    Raises:
        DemoError: the node does not come up, dies, or says nothing.
        SourceError: the user's footage cannot be read.
        FileError: the results cannot be written.
    """
    footage = open_footage(options)
    prepare_environment()
    with explained(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        recording = Recording(options.out)
    with closing(recording):
        drive(footage, options, recording)
        return leave(footage, options, recording)


def open_footage(options: Options) -> Footage:
    """The user's own footage, or the sample drive, drawn first where it is not in the cache."""
    if options.source is None:
        # only the sample drive needs the renderer
        from demo.sample import DriveRequest, open_drive

        seconds = options.seconds or DRIVE_S
        size = options.size or DRIVE_SIZE
        return open_drive(
            DriveRequest(options.seed, seconds, options.rate_hz, size), options.cache
        )
    limit = None if options.seconds is None else max(1, round(options.seconds * options.rate_hz))
    return OwnFootage(options.source, options.rate_hz, limit, options.size)


def prepare_environment() -> None:
    """Keep to ourselves: a ROS domain of our own on this machine only, for player and node.

    Must come before `rclpy` is imported.
    """
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if "HOME" not in os.environ:  # rclpy's log has no place then
        os.environ.setdefault("ROS_LOG_DIR", str(Path(".cache/ros").absolute()))
    transport.prepare()


def drive(footage: Footage, options: Options, recording: Recording) -> None:
    """Start the node, play the footage to it, end the node. Raises `DemoError`."""
    try:
        from demo.play import Player
    except ImportError as error:
        raise DemoError(
            f"ROS 2 is missing ({error}): source a ROS installation, or"
            ' pip install "adverse-perception[ros]"'
        ) from error
    parameters = {"cameras": f"[{CAMERA}]", **options.parameters}
    with (
        NodeProcess(parameters, options.out / "node.log") as node,
        closing(Player(CAMERA, recording)) as player,
        tqdm(desc="starting the node", total=len(footage), unit="frame") as bar,
    ):

        def on_wait() -> None:
            node.check()
            if recording.failure:
                raise DemoError(f"the node cannot start: {recording.failure}")

        if not player.connect(on_wait, READY_S):
            raise DemoError(node.told(f"was not ready after {READY_S:.0f} s"))
        bar.set_description("driving")
        bar.reset()

        def on_frame(shot: Shot) -> None:
            node.check()
            bar.update()

        player.play(footage, options.rate_hz, on_frame)
        if not recording.stamps_ns:
            raise DemoError(f"{footage.name} holds no picture that can be read")
        player.settle(node.check)
        if not recording.arrivals:
            raise DemoError(node.told("labelled none of the frames"))


def leave(footage: Footage, options: Options, recording: Recording) -> dict[str, Any]:
    """Score what came back and write video, contact sheet and `report.json`."""
    findings = Findings(options.rate_hz)
    chosen = set(choose(recording.weathers))
    moments: list[Moment] = []
    played = recording.moments(footage, options.rate_hz)
    bar = tqdm(played, "looking", len(recording.stamps_ns), unit="frame", leave=False)
    with open_video(options.out / "drive.mp4", options.rate_hz) as video:
        for moment in bar:
            findings.add(moment)
            video.add(side_by_side(moment))
            if moment.number in chosen:
                moments.append(moment)
    write_picture(options.out / "contact_sheet.png", contact_sheet(moments))
    record = findings.record(footage, recording)
    write_json(options.out / "report.json", record)
    return record


def table(record: Mapping[str, Any], out: Path) -> str:
    """Say a report in a few lines for the terminal."""
    frames, latency = record["frames"], record["latency_ms"]
    causes = ", ".join(f"{name} {count}" for name, count in frames["dropped_by_cause"].items())
    rows = {
        "machine": describe(record["machine"]),
        "frames": f"{frames['published']} published, {frames['received']} received, "
        f"{frames['labelled']} labelled",
        "dropped": f"{frames['dropped']}{f' ({causes})' if causes else ''}, "
        f"{frames['dropped_after_first_second']} after the first second",
        "latency": _percentiles(latency),
        **{f"  {stage}": _percentiles(of) for stage, of in latency["stages"].items()},
        "routes": ", ".join(f"{name} {share:.0%}" for name, share in record["routes"].items()),
        "mIoU": _scores(record["miou"]),
        "route follows": _following(record["condition"]),
        "results": ", ".join(
            str(out / name) for name in ("drive.mp4", "contact_sheet.png", "report.json")
        ),
    }
    return "\n".join(f"{name:<14} {text}" for name, text in rows.items() if text)


def _percentiles(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {values[name]:6.1f}" for name in ("p50", "p95", "p99")) + "  ms"


def _scores(miou: Mapping[str, float | None]) -> str:
    known = [f"{name} {score:.3f}" for name, score in miou.items() if score is not None]
    return ", ".join(known)


def _following(condition: Mapping[str, Any]) -> str:
    if not condition:
        return ""
    delays = [
        f"{change['to']} after {change['delay_s']:.1f} s"
        if change["delay_s"] is not None
        else f"{change['to']} never"
        for change in condition["changes"]
    ]
    return ", ".join([f"{condition['agreement']:.0%} of the frames", *delays])
