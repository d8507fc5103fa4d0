"""Engine files made for a measurement: real ONNX graphs that cost next to nothing, or that fail.

`hollow` gives every engine of a folder a twin with the same inputs, outputs and description, whose
graph does next to nothing: what a node still costs with it is not inference. `write_marked` writes
engines whose labels say which picture they belong to, and which fail by themselves on pictures
that ask for it: nothing of the runtime is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adverse_perception.frames import Float32Array, Weather
from adverse_perception.inference import EngineMetadata, read_metadata, write_metadata
from adverse_perception.labels import CLASS_NAMES

BRIGHTNESS = {Weather.NIGHT: 40, Weather.RAIN: 90, Weather.CLEAR: 150, Weather.FOG: 205}
"""Mean brightness (0 to 255) of a picture that the marked weather engine is sure of."""
MARKED_CLASSES = {"clear": (0, 1), "all_weather": (2, 3), "joint": (4, 5), "correction": (6, 7)}
"""Marked engine -> the two classes it gives: to bluish and to reddish pixels."""
FAILS_ON = {"clear": 0, "all_weather": 1, "joint": 1, "correction": 1, "weather": 2}
"""Marked engine -> the colour (0 red, 1 green, 2 blue) of the corner of pictures it fails on."""
MARKED_SIZE = (96, 128)
_ONLY_MARKED = 250.0
"""Mean of a colour in the corner, 0 to 255, above which the engine fails."""

Node = onnx.NodeProto
Weights = dict[str, np.ndarray]


def hollow(target: Path, engines: Sequence[Path]) -> Path:
    """Write a twin that costs next to nothing for every engine file; returns the folder.

    Raises:
        EngineError: one of them is no engine.
    """
    for path in engines:
        _write(target / path.name, *_hollowed(read_metadata(path)))
    return target


def write_marked(folder: Path) -> Path:
    """Write engines of every role for marked pictures; returns the folder.

    The correction is one for clear weather. It labels from the picture that it is given and says
    that all of what was carried on is wrong, so labels between key frames are of their own frame.
    """
    for name, conditions in (
        ("clear", ("clear",)),
        ("joint", ("rain", "fog")),
        ("all_weather", tuple(weather.value for weather in Weather)),
    ):
        role = "joint" if name == "joint" else "segmentation"
        graph = _labelling(_two_classes(*MARKED_CLASSES[name]))
        if role == "joint":
            graph[0].append(helper.make_node("Identity", ["image"], ["restored"]))
        described = _described(name, role, conditions, CLASS_NAMES, MARKED_SIZE)
        _write(folder / f"{name}.onnx", described, *_trapped(*graph, "logits", FAILS_ON[name]))
    _write(folder / "correction.onnx", *_marked_correction())
    names = tuple(weather.value for weather in Weather)
    described = _described("weather", "weather", names, names, (24, 32))
    graph = _trapped(*_by_brightness(), "scores", FAILS_ON["weather"])
    _write(folder / "weather.onnx", described, *graph)
    return folder


def _hollowed(metadata: EngineMetadata) -> tuple[EngineMetadata, list[Node], Weights]:
    described = replace(metadata, training_data=(), scores={}, notes="made for a benchmark")
    if metadata.role == "weather":
        return described, *_always_clear()
    if metadata.role == "correction":
        return described, *_nothing_to_correct()
    # as many classes meet as in a street whose regions are as large as the picture's
    colours = np.random.default_rng(0).normal(0, 4, (len(metadata.classes), 3))
    nodes, weights = _labelling(colours.astype(np.float32))
    if metadata.role == "joint":
        nodes.append(helper.make_node("Identity", ["image"], ["restored"]))
    return described, nodes, weights


def _marked_correction() -> tuple[EngineMetadata, list[Node], Weights]:
    halved = MARKED_SIZE[0] // 2, MARKED_SIZE[1] // 2
    described = _described("correction", "correction", ("clear",), CLASS_NAMES, halved)
    described = replace(described, stride=2)
    colours = _two_classes(*MARKED_CLASSES["correction"])
    nodes, weights = _labelling(colours, "correction", described.stride)
    nodes, weights = _trapped(nodes, weights, "correction", FAILS_ON["correction"])
    everywhere, constants = _distortion(1.0)
    return described, [*nodes, *everywhere], weights | constants


def _labelling(
    colours: Float32Array, output: str = "logits", stride: int = 4
) -> tuple[list[Node], Weights]:
    """Logits (1, K, h, w) by (K, 3) weights of the colour of every pixel of a stride."""
    nodes = [
        helper.make_node("Slice", ["image", "first", "last", "sides", "stride"], ["few"]),
        helper.make_node("Cast", ["few"], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["colour"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight", "bias"], [output]),
    ]
    return nodes, {
        "first": np.array([0, 0], np.int64),
        "last": np.array([1 << 30, 1 << 30], np.int64),
        "sides": np.array([1, 2], np.int64),
        "stride": np.array([stride, stride], np.int64),
        "weight": (colours / 255)[:, :, None, None].astype(np.float32),
        "bias": -colours.mean(axis=1) * np.float32(1.5),
    }


def _two_classes(bluish: int, reddish: int) -> Float32Array:
    """Weights (K, 3) by which red against blue decides between two classes."""
    colours = np.zeros((len(CLASS_NAMES), 3), np.float32)
    colours[bluish], colours[reddish] = (-60, 0, 60), (60, 0, -60)
    return colours


def _always_clear() -> tuple[list[Node], Weights]:
    nodes = [
        helper.make_node("Slice", ["image", "first", "last", "sides"], ["corner"]),
        helper.make_node("Cast", ["corner"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["m"]),
        helper.make_node("Mul", ["m", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "clear"], ["scores"]),
    ]
    return nodes, {
        "first": np.array([0, 0], np.int64),
        "last": np.array([1, 1], np.int64),
        "sides": np.array([1, 2], np.int64),
        "column": np.array([1, 1], np.int64),
        "nothing": np.zeros((1, len(Weather)), np.float32),
        "clear": np.array([[9.0 * (one is Weather.CLEAR) for one in Weather]], np.float32),
    }


def _nothing_to_correct() -> tuple[list[Node], Weights]:
    nodes, weights = _distortion(0.0)
    return [helper.make_node("Identity", ["warped"], ["correction"]), *nodes], weights


def _distortion(share: float) -> tuple[list[Node], Weights]:
    """The same distortion (1, 1, h, w) everywhere, in every frame."""
    nodes = [
        helper.make_node("Slice", ["evidence", "plane_first", "plane_last", "axis"], ["plane"]),
        helper.make_node("Mul", ["plane", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "share"], ["distortion"]),
    ]
    return nodes, {
        "plane_first": np.array([0], np.int64),
        "plane_last": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
        "nothing": np.zeros(1, np.float32),
        "share": np.array([share], np.float32),
    }


def _by_brightness(sharpness: float = 0.2) -> tuple[list[Node], Weights]:
    """Scores that favour the weather whose `BRIGHTNESS` is nearest."""
    # -s (m - c)^2 / 60 without its m^2, which softmax does not see: linear in the mean m
    centres = np.array([BRIGHTNESS[weather] for weather in Weather], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["m"]),
        helper.make_node("Mul", ["m", "slope"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["scores"]),
    ]
    return nodes, {
        "column": np.array([1, 1], np.int64),
        "slope": (sharpness * 2 * centres / 60)[None].astype(np.float32),
        "offset": (-sharpness * centres**2 / 60)[None].astype(np.float32),
    }


def _trapped(
    nodes: list[Node], weights: Weights, output: str, colour: int
) -> tuple[list[Node], Weights]:
    """The graph, failing on pictures whose corner has all of a colour.

    Whether it has becomes an index into a table of one entry: the runtime itself refuses 1.
    """
    names: Mapping[str, str] = {output: "untrapped"}
    kept = [_with_outputs(node, names) for node in nodes]
    trap = [
        helper.make_node("Slice", ["image", "trap_first", "trap_last", "trap_sides"], ["corner_"]),
        helper.make_node("Cast", ["corner_"], ["corner"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["corner"], ["fullness"], keepdims=0),
        helper.make_node("Greater", ["fullness", "full"], ["is_full"]),
        helper.make_node("Cast", ["is_full"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["nothing_added"]),
        helper.make_node("Add", ["untrapped", "nothing_added"], [output]),
    ]
    return [*kept, *trap], weights | {
        "trap_first": np.array([0, 0, colour], np.int64),
        "trap_last": np.array([4, 4, colour + 1], np.int64),
        "trap_sides": np.array([1, 2, 3], np.int64),
        "full": np.array(_ONLY_MARKED, np.float32),
        "table": np.zeros(1, np.float32),
    }


def _with_outputs(node: Node, names: Mapping[str, str]) -> Node:
    renamed = Node()
    renamed.CopyFrom(node)
    renamed.output[:] = [names.get(name, name) for name in node.output]
    return renamed


def _described(
    name: str, role: str, conditions: Sequence[str], classes: Sequence[str], size: tuple[int, int]
) -> EngineMetadata:
    return EngineMetadata(
        name=name,
        role=role,
        conditions=tuple(conditions),
        classes=tuple(classes),
        input_height=size[0],
        input_width=size[1],
        training_data=({"name": "none", "terms": "made for a benchmark"},),
    )


_FLOAT, _BYTE = TensorProto.FLOAT, TensorProto.UINT8
_PICTURE: tuple[str, int, Sequence[Any]] = ("image", _BYTE, (1, "H", "W", 3))


def _signature(metadata: EngineMetadata) -> tuple[list[Any], list[Any]]:
    """Inputs and outputs of a role as ONNX declares them."""
    grid = (1, len(metadata.classes), "h", "w")
    logits = ("logits", _FLOAT, grid)
    inputs: dict[str, list[tuple[str, int, Sequence[Any]]]] = {
        "correction": [("warped", _FLOAT, grid), ("evidence", _FLOAT, (1, 6, "h", "w"))]
    }
    outputs: dict[str, list[tuple[str, int, Sequence[Any]]]] = {
        "weather": [("scores", _FLOAT, (1, len(Weather)))],
        "segmentation": [logits],
        "joint": [logits, ("restored", _BYTE, (1, "H", "W", 3))],
        "correction": [("correction", _FLOAT, grid), ("distortion", _FLOAT, (1, 1, "h", "w"))],
    }
    declared = ([_PICTURE, *inputs.get(metadata.role, [])], outputs[metadata.role])
    reads, gives = ([helper.make_tensor_value_info(*one) for one in some] for some in declared)
    return reads, gives


def _write(path: Path, metadata: EngineMetadata, nodes: Sequence[Node], weights: Weights) -> None:
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "trial", *_signature(metadata), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    write_metadata(path, metadata)
