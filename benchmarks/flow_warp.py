"""What the flow warp costs on a GPU, beside torch: `python -m benchmarks.flow_warp`.

Needs a GPU, and says so where there is none. Inputs are drawn like streets and lie in the GPU's
memory; sets of them take turns, more than its caches hold. Three things are measured in one run:

- right: every value against numpy in float64;
- fast: microseconds by events around single launches, and around the replay of a CUDA graph;
- near the floor: the bytes that must be read and written, over the bandwidth of a copy.

Torch does the same by `grid_sample`, `interpolate`, a blend and `argmax`, without the confidence.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adverse_perception.kernels.device import Device, DeviceArray, open_device
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.gpu import FlowWarp
from adverse_perception.report import describe, machine
from benchmarks.flow_warp_inputs import Inputs, draw, worst_warp, wrong_pixels

try:
    import torch
except ImportError:  # the vehicle has none
    torch = None  # type: ignore[assignment]

_RESTING_BYTES = 256 << 20
"""More than any cache holds: what the sets of inputs take together, and a copy."""
_ROUNDS = 20
"""Times that every set of inputs is gone through while the clock runs."""

Work = Callable[[], None]


@dataclass(frozen=True)
class Timing:
    """One operation at one size; microseconds each."""

    way: str
    launched_us: float
    replayed_us: float
    floor_us: float | None = None


class Graph:
    """What was put into a stream while recording, to be started at once.

    By the driver itself: pycuda has no word for it.
    """

    def __init__(self, device: Device, stream: Any, work: Work) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._stream = ctypes.c_void_p(device.handle(stream))
        self._run = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(1))  # this thread only
        work()
        self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        no_flags = ctypes.c_ulonglong(0)
        self._call("cuGraphInstantiateWithFlags", ctypes.byref(self._run), graph, no_flags)

    def replay(self) -> None:
        self._call("cuGraphLaunch", self._run, self._stream)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status != 0:
            raise DeviceError(f"{name}: expected success, found CUDA error {status}")


class Bench:
    """Our kernels on a device, with as many sets of inputs as outlast its caches."""

    def __init__(self, device: Device, inputs: Inputs) -> None:
        self._device, self._inputs = device, inputs
        self._stream = device.stream()
        self._kernels = FlowWarp(device)
        self._sets = [self._upload() for _ in range(-(-_RESTING_BYTES // self.label_bytes))]
        self.turns = len(self._sets)

    @property
    def warp_bytes(self) -> int:
        """That a warp must read and write."""
        return 2 * self._inputs.warped.nbytes + self._inputs.flow.nbytes

    @property
    def label_bytes(self) -> int:
        """That correcting and labelling must read and write."""
        inputs = self._inputs
        read = inputs.warped.nbytes + inputs.correction.nbytes + inputs.distortion.nbytes
        return read + 2 * inputs.height * inputs.width

    def warp(self) -> None:
        """Warp every set once."""
        for one in self._sets:
            self._kernels.warp(one["warped"], one["flow"], one["carried"], self._stream)

    def label(self) -> None:
        """Correct and label every set once."""
        for one in self._sets:
            self._kernels.correct_and_label(
                (one["warped"], one["correction"]),
                one["distortion"],
                one["labels"],
                one["confidence"],
                self._stream,
            )

    def result(self, name: str) -> NDArray[Any]:
        """What the kernels last wrote to one of the arrays of the first set."""
        return self._fetch(self._sets[0][name])

    def time(self, way: str, work: Work, floor_us: float) -> Timing:
        """Time work on every set, once started launch by launch and once as a graph."""
        graph = Graph(self._device, self._stream, work)
        return Timing(way, self._clock(work), self._clock(graph.replay), floor_us)

    def copy_bandwidth(self) -> float:
        """Bytes read and written a microsecond by a copy within the GPU."""
        shape = (_RESTING_BYTES,)
        one, other = (self._device.allocate(shape, np.uint8) for _ in range(2))
        copy_us = self._clock(lambda: self._device.copy(one, other, self._stream)) * self.turns
        return 2 * _RESTING_BYTES / copy_us

    def _clock(self, work: Work) -> float:
        """Microseconds a set, the least of some goes."""
        first, last = self._device.event(), self._device.event()
        goes = []
        for _ in range(5):
            work()  # warm
            self._device.record(first, self._stream)
            for _ in range(_ROUNDS):
                work()
            self._device.record(last, self._stream)
            self._device.synchronise(self._stream)
            goes.append(self._device.elapsed_ms(first, last) * 1e3 / _ROUNDS / self.turns)
        return min(goes)

    def _upload(self) -> dict[str, DeviceArray]:
        inputs, picture = self._inputs, (self._inputs.height, self._inputs.width)
        there = {"carried": self._device.allocate(inputs.warped.shape, np.float16)}
        for name in ("labels", "confidence"):
            there[name] = self._device.allocate(picture, np.uint8)
        for name in ("warped", "correction", "distortion", "flow"):
            array = getattr(inputs, name)
            host = self._device.pinned(array.shape, array.dtype)
            host[...] = array
            there[name] = self._device.allocate(array.shape, array.dtype)
            self._device.upload(host, there[name], self._stream)
            self._device.synchronise(self._stream)
        return there

    def _fetch(self, array: DeviceArray) -> NDArray[Any]:
        host = self._device.pinned(array.shape, array.dtype)
        self._device.download(array, host, self._stream)
        self._device.synchronise(self._stream)
        return host


def by_torch(inputs: Inputs) -> list[Timing]:
    """What torch takes for the same, fp16, by the same two clocks."""
    if torch is None or not torch.cuda.is_available():
        return []
    warped, correction = (
        torch.from_numpy(one)[None].cuda() for one in (inputs.warped, inputs.correction)
    )
    distortion = torch.from_numpy(inputs.distortion)[None, None].cuda()
    flow = torch.from_numpy(inputs.flow)[None].cuda()
    height, width = inputs.distortion.shape
    here = torch.stack(
        torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1
    ).cuda()
    scale = torch.tensor([2 / (width - 1), 2 / (height - 1)]).cuda()

    def warp() -> None:
        grid = ((here + flow) * scale - 1).half()
        torch.nn.functional.grid_sample(warped, grid, padding_mode="border", align_corners=True)

    def label() -> None:
        size = (inputs.height, inputs.width)
        large = partial(torch.nn.functional.interpolate, size=size, mode="bilinear")
        share = large(distortion)
        ((1 - share) * large(warped) + share * large(correction)).argmax(1).byte()

    return [_clocked("torch warp", warp), _clocked("torch label", label)]


def _clocked(way: str, work: Work) -> Timing:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        work()
    times = []
    for one in (work, graph.replay):
        goes = []
        for _ in range(5):
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            with torch.cuda.stream(stream):
                one()
                first.record()
                for _ in range(_ROUNDS):
                    one()
                last.record()
            stream.synchronize()
            goes.append(first.elapsed_time(last) * 1e3 / _ROUNDS)
        times.append(min(goes))
    return Timing(way, *times)


def report(timings: list[Timing]) -> None:
    """Print the timings, and how ours compare."""
    print(f"{'way':12} {'launched us':>11} {'replayed us':>11} {'floor us':>9} {'over floor':>10}")
    for one in timings:
        floor = "" if one.floor_us is None else f"{one.floor_us:9.2f}"
        over = "" if one.floor_us is None else f"{one.replayed_us / one.floor_us:9.2f}x"
        print(
            f"{one.way:12} {one.launched_us:11.2f} {one.replayed_us:11.2f} {floor:>9} {over:>10}"
        )
    replayed = {one.way: one.replayed_us for one in timings}
    if "torch label" in replayed:
        ours, theirs = (replayed[f"{who}warp"] + replayed[f"{who}label"] for who in ("", "torch "))
        print(f"warp and label: {theirs / ours:.1f} times as fast as torch")


def main() -> None:
    """Check, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    try:
        device = open_device()
    except DeviceError as error:
        raise SystemExit(f"this benchmark needs a GPU, nothing was measured: {error}") from error
    inputs = draw(options.classes, options.height, options.width)
    print(
        f"{describe(machine())}\n{device.name} ({device.architecture}), by {type(device).__name__}"
    )
    with device:
        bench = Bench(device, inputs)
        bandwidth = bench.copy_bandwidth()
        timings = [
            bench.time("warp", bench.warp, bench.warp_bytes / bandwidth),
            bench.time("label", bench.label, bench.label_bytes / bandwidth),
        ]
        wrong = wrong_pixels(inputs, bench.result("labels"))
        worst = worst_warp(inputs, bench.result("carried"))
    timings += by_torch(inputs)
    size = f"{options.classes} classes, {options.width}x{options.height}, fp16"
    print(f"{size}: {wrong} labels and at most {worst:.1e} of the logits off float64")
    print(f"a copy moves {bandwidth / 1e6:.2f} TB/s")
    report(timings)
    if options.json:
        record = {
            "machine": machine(),
            "device": device.name,
            "size": [options.classes, options.height, options.width],
            "copy_bytes_per_us": bandwidth,
            "wrong_labels": wrong,
            "worst_warp": worst,
            "timings": [asdict(one) for one in timings],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
