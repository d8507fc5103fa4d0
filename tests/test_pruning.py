"""Leaving out of a graph what nobody asks for."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from adverse_perception.inference import EngineError, load_engine, read_metadata, write_metadata
from adverse_perception.inference.pruning import pruned
from tests.conftest import class_weights, write_joint_engine
from tests.drives import picture

PICTURE = picture(3, 96, 128)


@pytest.fixture(scope="module")
def joint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_joint_engine(tmp_path_factory.mktemp("joint") / "joint.onnx")


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


def fastest_s(engine_path: Path, backend: str, outputs: tuple[str, ...]) -> float:
    engine = load_engine(engine_path, backend=backend)
    durations = []
    for _ in range(4):  # the first one warms up
        begun = time.perf_counter()
        engine.run(PICTURE, outputs)
        durations.append(time.perf_counter() - begun)
    return min(durations)


def test_what_is_not_asked_for_is_not_computed(joint_path: Path, backend: str) -> None:
    alone = fastest_s(joint_path, backend, ("logits",))
    assert fastest_s(joint_path, backend, ("logits", "restored")) > 4 * alone


def test_outputs_asked_for_alone_or_together_are_the_same(joint_path: Path, backend: str) -> None:
    engine = load_engine(joint_path, backend=backend)
    everything = engine.run(PICTURE)
    assert set(everything) == {"logits", "restored"}
    for name, values in everything.items():
        alone = engine.run(PICTURE, (name,))
        assert set(alone) == {name}
        rounding = 0 if backend == "onnxruntime" else 1  # other fusions, other rounding of bf16
        np.testing.assert_allclose(alone[name], values, atol=rounding)


def test_the_restored_picture_is_one(joint_path: Path, backend: str) -> None:
    restored = load_engine(joint_path, backend=backend).run(PICTURE)["restored"]
    assert (restored.dtype, restored.shape) == (np.uint8, PICTURE.shape)
    difference = np.abs(restored.astype(int) - (255 - PICTURE.astype(int)))
    assert difference.max() <= 1  # bf16 on some machines


def test_the_graph_holds_what_an_output_needs_and_the_file_its_description(
    joint_path: Path, tmp_path: Path
) -> None:
    content = pruned(joint_path.read_bytes(), ["logits"], joint_path)
    small, whole = onnx.load_from_string(content), onnx.load(str(joint_path))
    onnx.checker.check_model(small, full_check=True)
    assert [node.output[0] for node in small.graph.node] == [
        "float", "scaled", "planes", "small", "logits",
    ]  # fmt: skip
    assert {weight.name for weight in small.graph.initializer} == {"scale", "weight", "bias"}
    assert [output.name for output in small.graph.output] == ["logits"]
    assert small.graph.input == whole.graph.input
    assert small.metadata_props == whole.metadata_props
    everything = pruned(joint_path.read_bytes(), ["restored", "logits"], joint_path)
    assert onnx.load_from_string(everything).graph.node == whole.graph.node


def test_what_only_a_branch_of_a_node_reads_is_kept(tmp_path: Path) -> None:
    result = helper.make_tensor_value_info("r", TensorProto.FLOAT, [2])
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(kind, ["twice", "one"], ["r"])], name, [], [result]
        )
        for name, kind in (("then", "Add"), ("else", "Sub"))
    }
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("If", ["yes"], ["y"], **branches),
        helper.make_node("Mul", ["x", "three"], ["z"]),
    ]
    weights = {"one": np.float32(1), "three": np.float32(3), "yes": np.bool_(True)}
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xyz"]
    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    content = pruned(model.SerializeToString(), ["y"], tmp_path)

    small = onnx.load_from_string(content).graph
    assert [node.op_type for node in small.node] == ["Add", "If"]
    assert {weight.name for weight in small.initializer} == {"one", "yes"}
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(content)
    assert list(session.run(["y"], {"x": np.array([1, 2], np.float32)})[0]) == [3, 5]


def changed(path: Path, kind: int, dimensions: tuple[int | str, ...], *perm: int) -> Path:
    """A joint engine whose restored picture is transposed or of another type."""
    write_joint_engine(path, restored=(kind, dimensions))
    if perm:
        model, metadata = onnx.load(str(path)), read_metadata(path)
        model.graph.node[-1].output[0] = "upright"
        model.graph.node.append(
            helper.make_node("Transpose", ["upright"], ["restored"], perm=list(perm))
        )
        onnx.save(model, str(path))
        write_metadata(path, metadata)
    return path


@pytest.mark.parametrize(
    ("kind", "dimensions", "perm"),
    [
        (TensorProto.FLOAT, (1, "H", "W", 3), ()),
        (TensorProto.UINT8, (1, 3, "H", "W"), (0, 3, 1, 2)),
    ],
)
def test_a_restored_output_that_is_no_picture_is_refused(
    tmp_path: Path,
    backend: str,
    kind: int,
    dimensions: tuple[int | str, ...],
    perm: tuple[int, ...],
) -> None:
    path = changed(tmp_path / "joint.onnx", kind, dimensions, *perm)
    words = r"joint.onnx: expected an output 'restored' of uint8 \[N, H, W, 3\].*found.*export"
    with pytest.raises(EngineError, match=words):
        load_engine(path, backend=backend)


def test_a_restored_picture_of_another_size_is_an_error(tmp_path: Path, backend: str) -> None:
    path = write_joint_engine(tmp_path / "joint.onnx", shrink=2)
    engine = load_engine(path, backend=backend)
    with pytest.raises(EngineError, match=r"shape \(1, 96, 128, 3\).*found \(1, 48, 64, 3\)"):
        engine.run(PICTURE)
    assert engine.run(PICTURE, ("logits",))["logits"].shape == (11, 24, 32)


def test_a_joint_engine_without_a_picture_is_refused(
    joint_path: Path, backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "joint.onnx"
    path.write_bytes(pruned(joint_path.read_bytes(), ["logits"], joint_path))
    write_metadata(path, read_metadata(joint_path))
    with pytest.raises(EngineError, match=r"expected an output 'restored' for role 'joint'"):
        load_engine(path, backend=backend)


def test_labels_come_from_the_colours(joint_path: Path) -> None:
    logits = load_engine(joint_path).run(PICTURE, ("logits",))["logits"]
    blocks = PICTURE.reshape(24, 4, 32, 4, 3).mean(axis=(1, 3)) / 255
    expected = np.einsum("kc,hwc->khw", class_weights(2), blocks - 0.5)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
