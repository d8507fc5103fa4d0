"""Tiny real engines, made on the spot, for every test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from adverse_perception.frames import Float32Array, Weather
from adverse_perception.inference import METADATA_KEY, EngineMetadata, checksum
from adverse_perception.inference.onnx_file import with_property
from adverse_perception.kernels.device import open_device
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import EVIDENCE

# a machine at work is slow now and then, which says nothing about the code
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say of a test that needs a GPU that it was skipped, and why."""
    if item.get_closest_marker("gpu"):
        try:
            open_device().close()
        except DeviceError as error:
            pytest.skip(f"needs a GPU: {error}")


WEATHER_BRIGHTNESS = {
    Weather.NIGHT: 30.0,
    Weather.RAIN: 90.0,
    Weather.CLEAR: 150.0,
    Weather.FOG: 210.0,
}
"""Mean brightness (0 to 255) of a picture the tiny weather engine is sure of."""


def grey(brightness: float, height: int = 96, width: int = 128) -> np.ndarray:
    """A plain (height, width, 3) uint8 picture."""
    return np.full((height, width, 3), brightness, np.uint8)


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    output: tuple[str, Sequence[int | str]],
    more: Sequence[onnx.ValueInfoProto] = (),
    maps: Sequence[onnx.ValueInfoProto] = (),
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3]), *maps],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1]), *more],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def class_weights(seed: int = 0, classes: int = len(CLASS_NAMES)) -> Float32Array:
    """(classes, 3) float32: what the tiny segmentation engine multiplies a colour with."""
    return np.random.default_rng(seed).normal(0, 4, (classes, 3)).astype(np.float32)


def write_segmentation_engine(
    path: Path,
    conditions: Sequence[str] = ("clear",),
    *,
    seed: int = 0,
    classes: Sequence[str] = CLASS_NAMES,
    size: tuple[int, int] = (96, 128),
) -> Path:
    """Write an engine whose logits are a fixed linear map of the colour, averaged over 4x4.

    Different seeds give different labels, so a test can tell which engine ran.
    """
    nodes, kept = _labelling(seed, classes)
    _save(path, nodes, kept, ("logits", [1, len(classes), "h", "w"]))
    _describe(path, "segmentation", conditions, classes, size)
    return path


def _labelling(
    seed: int, classes: Sequence[str]
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Nodes and weights from `image` to `logits`."""
    weights = class_weights(seed, len(classes))
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["small"], kernel_shape=[4, 4], strides=[4, 4]
        ),
        helper.make_node("Conv", ["small", "weight", "bias"], ["logits"]),
    ]
    return nodes, {
        "scale": np.float32(1 / 255).reshape(1),
        "weight": weights[:, :, None, None],
        "bias": -weights.mean(axis=1) * np.float32(1.5),
    }


def write_joint_engine(
    path: Path,
    conditions: Sequence[str] = ("rain", "fog"),
    *,
    seed: int = 2,
    size: tuple[int, int] = (96, 128),
    restored: tuple[int, Sequence[int | str]] = (TensorProto.UINT8, (1, "H", "W", 3)),
    shrink: int = 1,
    alone: bool = False,
) -> Path:
    """Write an engine that labels as a tiny one does and "restores" a picture to its negative.

    Restoring takes many times as long as labelling, so that a test can tell if it was done.
    `restored` is the type and shape the second output has; `shrink` makes it smaller than that;
    with `alone`, the picture is left as it is.
    """
    nodes, weights = _labelling(seed, CLASS_NAMES)
    last = "planes"
    for layer, (makes, reads) in enumerate([(24, 3), (24, 24), (24, 24), (3, 24)]):
        weights[f"idle{layer}"] = np.zeros((makes, reads, 5, 5), np.float32)
        reading, last = [last, f"idle{layer}"], f"deep{layer}"
        nodes.append(helper.make_node("Conv", reading, [last], pads=[2, 2, 2, 2]))
    nodes += [
        helper.make_node("Transpose", [last], ["nothing"], perm=[0, 2, 3, 1]),
        helper.make_node("Add" if alone else "Sub", ["white", "float"], ["negative"]),
        helper.make_node("Add", ["negative", "nothing"], ["whole"]),
        helper.make_node("Slice", ["whole", "begin", "end", "sides", "step"], ["sliced"]),
        helper.make_node("Cast", ["sliced"], ["restored"], to=restored[0]),
    ]
    numbers = {"begin": (0, 0), "end": (9999, 9999), "sides": (1, 2), "step": (shrink, shrink)}
    weights |= {name: np.array(values, np.int64) for name, values in numbers.items()}
    weights["white"] = np.float32(0 if alone else 255).reshape(1)
    picture = helper.make_tensor_value_info("restored", *restored)
    _save(path, nodes, weights, ("logits", [1, len(CLASS_NAMES), "h", "w"]), [picture])
    _describe(path, "joint", conditions, CLASS_NAMES, size)
    return path


def write_correction_engine(
    path: Path,
    conditions: Sequence[str] = ("clear",),
    *,
    distortion: float | None = None,
    favourite: int = 0,
    evidence: int = 3,
) -> Path:
    """Write an engine that corrects every label to one class, and knows no more of distortion
    than how far the colours are off; or says a fixed share for every frame."""
    classes = len(CLASS_NAMES)
    planes = np.zeros((1, classes, 1, 1), np.float32)
    planes[0, favourite] = 9
    weights = {
        "nothing": np.float32(0).reshape(1),
        "planes": planes,
        "slope": np.float32(1 if distortion is None else 0).reshape(1),
        "offset": np.float32(0 if distortion is None else distortion).reshape(1),
        **{name: np.array([value], np.int64) for name, value in
           {"begin": 0, "end": evidence, "axis": 1}.items()},
    }  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["warped", "nothing"], ["flat"]),
        helper.make_node("Add", ["flat", "planes"], ["correction"]),
        helper.make_node("Slice", ["evidence", "begin", "end", "axis"], ["colours"]),
        helper.make_node("ReduceMean", ["colours"], ["off"], axes=[1], keepdims=1),
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["bright"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["bright", "nothing"], ["unseen"]),
        helper.make_node("Mul", ["off", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "unseen"], ["raised"]),
        helper.make_node("Add", ["raised", "offset"], ["distortion"]),
    ]
    _save(
        path,
        nodes,
        weights,
        ("correction", [1, classes, "h", "w"]),
        [helper.make_tensor_value_info("distortion", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, "h", "w"])
            for name, count in (("warped", classes), ("evidence", len(EVIDENCE)))
        ],
    )
    _describe(path, "correction", conditions, CLASS_NAMES, (48, 64), stride=2)
    return path


def write_weather_engine(path: Path, *, sharpness: float = 0.2) -> Path:
    """Write an engine that names the weather whose `WEATHER_BRIGHTNESS` is nearest."""
    # -s (m - c)^2 / 60 without its m^2, which softmax does not see: linear in the mean m
    centres = np.array([WEATHER_BRIGHTNESS[weather] for weather in Weather], np.float32)
    slope = sharpness * 2 * centres / 60
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["m"]),
        helper.make_node("Mul", ["m", "slope"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["scores"]),
    ]
    weights = {
        "column": np.array([1, 1], np.int64),
        "slope": slope[None].astype(np.float32),
        "offset": (-sharpness * centres**2 / 60)[None].astype(np.float32),
    }
    _save(path, nodes, weights, ("scores", [1, len(Weather)]))
    names = [weather.value for weather in Weather]
    _describe(path, "weather", names, names, (24, 32))
    return path


def _describe(
    path: Path,
    role: str,
    conditions: Sequence[str],
    classes: Sequence[str],
    size: tuple[int, int],
    stride: int = 4,
) -> None:
    metadata = EngineMetadata(
        name=path.stem,
        role=role,
        conditions=tuple(conditions),
        classes=tuple(classes),
        input_height=size[0],
        input_width=size[1],
        stride=stride,
        training_data=({"name": "none", "terms": "made by a test"},),
    )
    # Not by write_metadata, which refuses what some tests want to find in a file.
    metadata = replace(metadata, weights_sha256=checksum(path))
    content = with_property(path.read_bytes(), METADATA_KEY, metadata.to_json(), path)
    path.write_bytes(content)


def write_engines(folder: Path, size: tuple[int, int] = (96, 128)) -> Path:
    """Write weather, clear and all_weather engines into a folder; it is returned."""
    write_weather_engine(folder / "weather.onnx")
    write_segmentation_engine(folder / "clear.onnx", ["clear"], seed=0, size=size)
    names = [weather.value for weather in Weather]
    write_segmentation_engine(folder / "all_weather.onnx", names, seed=1, size=size)
    return folder


@pytest.fixture(scope="session")
def engines_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny weather, clear and all_weather engines. Not to be changed."""
    return write_engines(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def joint_engines_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `engines_path`, with a joint engine for rain and fog. Not to be changed."""
    folder = write_engines(tmp_path_factory.mktemp("joint_engines"))
    write_joint_engine(folder / "joint.onnx")
    return folder


@pytest.fixture(scope="session")
def correction_engines_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `engines_path`, with a correction engine for clear weather. Not to be changed."""
    folder = write_engines(tmp_path_factory.mktemp("correction_engines"))
    write_correction_engine(folder / "correction.onnx")
    return folder


@pytest.fixture
def own_engines_path(tmp_path: Path) -> Path:
    """As `engines_path`, but the test's own: it may damage it."""
    return write_engines(tmp_path / "engines")
