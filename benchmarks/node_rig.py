"""A node in a process of its own, cameras that send to it over DDS, and what that costs it.

What sending and listening cost this process is not counted.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adverse_perception.frames import UInt8Array
from adverse_perception.messages import stamp_ns
from benchmarks import process_figures
from benchmarks.street_pictures import street
from benchmarks.wire import SETTLE_S, Image, Observer, Sender, String
from demo.node_process import NodeProcess

_WARM_UP_S = 1.5
_SATURATED = 0.95
_INFERENCE = ("infer", "correct")


@dataclass(frozen=True)
class Load:
    """What the node is given: pictures of (width, height), per second, from so many cameras."""

    size: tuple[int, int]
    rate_hz: float = 15.0
    cameras: int = 1

    @property
    def names(self) -> list[str]:
        """Names of the cameras."""
        return [f"camera_{number}" for number in range(self.cameras)]


@dataclass
class Heard:
    """What came back during one load."""

    latency_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    since_ns: int = 0

    def on_labels(self, message: Any) -> None:
        """Labels have come."""
        stamp = stamp_ns(message.header)
        if stamp >= self.since_ns:
            self.latency_ms.append((time.time_ns() - stamp) / 1e6)

    def on_condition(self, message: Any) -> None:
        """What was said of a frame has come."""
        said = json.loads(message.data)
        stamp = said["stamp"]["sec"] * 10**9 + said["stamp"]["nanosec"]
        if stamp >= self.since_ns:
            for stage, duration_ms in said["timing_ms"].items():
                self.stages_ms.setdefault(stage, []).append(duration_ms)


@contextmanager
def running_node(folder: Path, parameters: Mapping[str, str]) -> Iterator[tuple[int, Observer]]:
    """A node of its own and somebody who listens to it: its process id and the observer."""
    with NodeProcess(parameters, folder / "node.log") as node:
        observer = Observer(node.check)
        try:
            yield node.pid, observer
        finally:
            observer.close()


def parameters(engines: str, cameras: Sequence[str], **more: object) -> dict[str, str]:
    """The node's parameters as YAML values."""
    values = {"engines_folder": f"'{engines}'", "cameras": f"[{', '.join(cameras)}]"}
    return values | {name: str(value) for name, value in more.items()}


class Rig:
    """Cameras and a listener around one node; drives one load after the other."""

    def __init__(self, pid: int, observer: Observer, names: Sequence[str]) -> None:
        """Join the graph and wait until the node listens."""
        self._pid, self._observer = pid, observer
        self._heard = Heard()
        for name in names:
            observer.listen(Image, f"{name}/labels", lambda m: self._heard.on_labels(m))
            observer.listen(String, f"{name}/condition", lambda m: self._heard.on_condition(m))
            observer.listen(Image, f"{name}/confidence", lambda _: None)
        self._senders = {name: Sender(name, f"{name}_optical") for name in names}
        observer.wait(lambda: all(one.heard for one in self._senders.values()), "the node")
        observer.receive_until(time.monotonic() + SETTLE_S)

    def close(self) -> None:
        """Leave the graph."""
        for sender in self._senders.values():
            sender.close()

    def idle(self, duration_s: float) -> float:
        """Share of a core that the node takes while nothing is sent."""
        before, started = process_figures.cpu_s(self._pid), time.monotonic()
        self._observer.receive_until(started + duration_s)
        used = sum(process_figures.cpu_s(self._pid).values()) - sum(before.values())
        return used / (time.monotonic() - started)

    def drive(self, load: Load, duration_s: float) -> dict[str, Any]:
        """Send for a while and say what came of it; the first moments are not counted."""
        pictures = street(load.size)
        self.send(load, pictures, _WARM_UP_S)
        self._observer.receive_until(time.monotonic() + 0.5)
        before = self._counts(load)
        self._heard = Heard(since_ns=time.time_ns())
        cpu, busy, started = self._cpu(), process_figures.machine_busy(), time.monotonic()
        sent = self.send(load, pictures, duration_s)
        self._observer.receive_until(time.monotonic() + 0.2)
        wall_s = time.monotonic() - started
        spent = {kind: now - cpu[kind] for kind, now in self._cpu().items()}
        worked, passed = process_figures.machine_busy()
        counted = self._counts(load)
        counted.subtract(before)
        return self._record(
            load, sent, counted, spent, wall_s, (worked - busy[0]) / (passed - busy[1])
        )

    def send(self, load: Load, pictures: Sequence[UInt8Array], duration_s: float) -> int:
        """Every camera at its rate, one after the other within a period; how many in all."""
        start, sent = time.monotonic() + 0.01, 0
        for number in range(round(duration_s * load.rate_hz)):
            for turn, name in enumerate(load.names):
                self._senders[name].prepare(pictures[number % len(pictures)])
                due = start + (number + turn / load.cameras) / load.rate_hz
                self._observer.receive_until(due)
                self._senders[name].send(time.time_ns())
                sent += 1
        return sent

    def _cpu(self) -> Mapping[str, float]:
        return process_figures.cpu_s(self._pid)

    def _counts(self, load: Load) -> Counter[str]:
        asked_s, total = time.monotonic(), Counter[str]()
        for name in load.names:  # a status may be sent a moment before it is heard
            total.update(self._observer.counts(name, after_s=asked_s + 0.1))
        return total

    def _record(
        self,
        load: Load,
        sent: int,
        counted: Mapping[str, int],
        spent: Mapping[str, float],
        wall_s: float,
        busy: float,
    ) -> dict[str, Any]:
        labelled = max(1, counted["labelled"])
        cpu_ms = {kind: round(used * 1e3 / labelled, 2) for kind, used in spent.items()}
        stages = {name: float(np.mean(kept)) for name, kept in self._heard.stages_ms.items()}
        frames = max(1, len(self._heard.stages_ms.get("latency", [])))
        engines = [sum(self._heard.stages_ms.get(stage, [])) / frames for stage in _INFERENCE]
        total_ms = sum(spent.values()) * 1e3 / labelled
        return {
            **asdict(load),
            "size": f"{load.size[0]}x{load.size[1]}",
            "sent": sent,
            "labelled": counted["labelled"],
            "dropped": {k: v for k, v in counted.items() if v and k not in _NO_DROPS},
            "latency_ms": _percentiles(self._heard.latency_ms),
            "cpu_share": round(sum(spent.values()) / wall_s, 3),
            "cpu_ms_per_frame": {"all": round(total_ms, 2), **cpu_ms},
            "inference_ms_per_frame": round(sum(engines), 2),
            "rest_ms_per_frame": round(total_ms - sum(engines), 2),
            "stages_ms": {name: round(value, 2) for name, value in stages.items()},
            "machine_busy": round(busy, 3),
            "saturated": busy > _SATURATED,
        }


_NO_DROPS = ("received", "labelled")


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95)}
