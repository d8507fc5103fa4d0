from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.inference import (
    METADATA_KEY,
    EngineError,
    EngineMetadata,
    checksum,
    engine_files,
    engines_folder,
    load_engine,
    read_metadata,
    write_metadata,
)
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.share import shares
from tests.conftest import class_weights, write_segmentation_engine, write_weather_engine

PICTURE = np.random.default_rng(3).integers(0, 256, (32, 48, 3)).astype(np.uint8)


def by_hand(picture: np.ndarray) -> np.ndarray:
    """What the tiny segmentation engine of seed 0 computes."""
    weights = class_weights(0)
    height, width = picture.shape[:2]
    blocks = picture.reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3)) / 255
    return np.einsum("kc,hwc->khw", weights, blocks - 0.5)


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


def test_an_engine_maps_a_picture_to_logits(engines_path: Path, backend: str) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend=backend, role="segmentation")
    logits = engine.run(PICTURE)["logits"]
    assert engine.name == "clear"
    assert (logits.shape, logits.dtype) == ((11, 8, 12), np.float32)
    np.testing.assert_allclose(logits, by_hand(PICTURE), atol=0.1)  # bf16 on some machines


def test_an_engine_takes_pictures_of_changing_size_and_views(
    engines_path: Path, backend: str
) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend=backend)
    for height in (16, 32, 48, 64, 80, 96, 16):
        picture = np.full((height, 32, 3), height, np.uint8)
        assert engine.run(picture)["logits"].shape == (11, height // 4, 8)
    mirrored = PICTURE[:, ::-1]
    np.testing.assert_array_equal(
        engine.run(mirrored)["logits"], engine.run(mirrored.copy())["logits"]
    )


def test_results_outlive_the_next_run(engines_path: Path, backend: str) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend=backend)
    first = engine.run(PICTURE)["logits"]
    kept = first.copy()
    engine.run(255 - PICTURE)
    np.testing.assert_array_equal(first, kept)


def test_a_failing_run_is_an_engine_error(engines_path: Path, backend: str) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend=backend)
    with pytest.raises(EngineError, match="clear failed"):
        engine.run(np.zeros((32, 32, 4), np.uint8))


def test_backends_agree_at_full_precision(engines_path: Path) -> None:
    pytest.importorskip("openvino")
    from adverse_perception.inference.openvino_backend import OpenVinoEngine

    path = engines_path / "clear.onnx"
    vino = OpenVinoEngine(path.read_bytes(), read_metadata(path), path, precision="f32")
    other = load_engine(path).run(PICTURE)["logits"]
    np.testing.assert_allclose(vino.run(PICTURE)["logits"], other, atol=1e-5)


LET_GO = """
import os, signal, sys
from adverse_perception.inference import load_engine

first, second, third = (load_engine(sys.argv[1], backend=sys.argv[2]) for _ in range(3))
del first, second, third
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_process_hears_signals_after_engines_have_gone(engines_path: Path, backend: str) -> None:
    command = [sys.executable, "-c", LET_GO, str(engines_path / "clear.onnx"), backend]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "heard\n"), run.stderr


def test_auto_loads_what_is_installed(engines_path: Path) -> None:
    engine = load_engine(engines_path / "weather.onnx", backend="auto")
    assert engine.run(PICTURE)["scores"].shape == (4,)


def test_an_unknown_backend_is_refused(engines_path: Path) -> None:
    with pytest.raises(EngineError, match="onnxruntime"):
        load_engine(engines_path / "clear.onnx", backend="abacus")


def test_onnx_finds_the_description_where_it_belongs(engines_path: Path) -> None:
    model = onnx.load(str(engines_path / "clear.onnx"))
    onnx.checker.check_model(model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties[METADATA_KEY])["classes"] == list(CLASS_NAMES)


def test_a_file_written_by_onnx_is_read_the_same(own_engines_path: Path) -> None:
    path = own_engines_path / "clear.onnx"
    before = read_metadata(path)
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "somebody"
    onnx.save(model, str(path))
    assert read_metadata(path) == before


def test_rewriting_the_description_keeps_the_rest(own_engines_path: Path) -> None:
    path = own_engines_path / "clear.onnx"
    before = onnx.load(str(path))
    weights = checksum(path)
    files = sorted(path.parent.iterdir())
    written = write_metadata(path, replace(read_metadata(path), scores={"fog": 0.5}))
    after = onnx.load(str(path))
    assert read_metadata(path) == written
    assert written.scores == {"fog": 0.5}
    assert after.graph == before.graph
    assert checksum(path) == weights == checksum(path.read_bytes())
    assert [entry.key for entry in after.metadata_props] == [METADATA_KEY]
    assert sorted(path.parent.iterdir()) == files  # nothing that was written aside is left


names = st.text(max_size=20)


@settings(max_examples=30, deadline=None)
@given(name=names, notes=names, words=st.dictionaries(names, names), size=st.integers(1, 9999))
def test_a_description_survives_the_way_through_json(
    name: str, notes: str, words: dict[str, str], size: int
) -> None:
    metadata = EngineMetadata(
        name, "joint", ("rain", "fog"), CLASS_NAMES, size, size, 4, (words,), {"rain": 0.25},
        "ab" * 32, words, notes, "int8", {"rain": 0.26}, "cd" * 32,
    )  # fmt: skip
    assert EngineMetadata.from_json(metadata.to_json()) == metadata


def described(path: Path, **changes: object) -> Path:
    """Change the file's description past every check."""
    model = onnx.load(str(path))
    content = json.loads(model.metadata_props[0].value)
    content.update(changes)
    model.metadata_props[0].value = json.dumps({k: v for k, v in content.items() if v is not None})
    onnx.save(model, str(path))
    return path


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "expected an engine file.*training/export.py"),
    "empty": (lambda path: path.write_bytes(b""), "whole ONNX file"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:300]), "whole ONNX file"),
    "text": (lambda path: path.write_text("not a network at all"), "whole ONNX file"),
    "flipped bit": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"tiny", b"tinx")),
        "damaged: expected weights with sha256",
    ),
    "json": (
        lambda path: path.write_bytes(path.read_bytes().replace(b'{"classes"', b'["classes"')),
        "expected JSON",
    ),
    "format": (lambda path: described(path, format=2), "expected metadata format 1, found 2"),
    "missing field": (lambda path: described(path, role=None), r"missing fields \['role'\]"),
    "strange field": (lambda path: described(path, colour="red"), r"unknown fields \['colour'\]"),
    "field type": (lambda path: described(path, input_width="wide"), "input_width expects int"),
    "boolean": (lambda path: described(path, stride=True), "stride expects int"),
    "role": (lambda path: described(path, role="poetry"), "role expects one of"),
    "conditions": (lambda path: described(path, conditions=["hail"]), "conditions expects"),
    "size": (lambda path: described(path, input_height=0), "positive input size"),
    "classes": (
        lambda path: described(path, classes=["road", "sky"]),
        "has 2 classes .*this package expects 11 .*update labels.py",
    ),
    "order of classes": (
        lambda path: described(path, classes=list(reversed(CLASS_NAMES))), "has 11 classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_does_not_fit_is_refused_with_the_way_out(
    own_engines_path: Path, damage: str
) -> None:
    path = own_engines_path / "clear.onnx"
    break_it, words = DAMAGES[damage]
    break_it(path)
    with pytest.raises(EngineError, match=words) as caught:
        load_engine(path)
    assert str(path) in str(caught.value)


def test_an_onnx_file_of_somebody_else_is_refused(own_engines_path: Path) -> None:
    path = own_engines_path / "clear.onnx"
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    with pytest.raises(EngineError, match="ONNX file without it; export it with"):
        load_engine(path)


def test_another_role_is_refused(engines_path: Path) -> None:
    with pytest.raises(EngineError, match="role 'weather', found 'segmentation'"):
        load_engine(engines_path / "clear.onnx", role="weather")


def test_fewer_channels_than_classes_are_refused(tmp_path: Path, backend: str) -> None:
    path = write_segmentation_engine(tmp_path / "few.onnx", classes=CLASS_NAMES[:7])
    described(path, classes=list(CLASS_NAMES))
    with pytest.raises(EngineError, match=r"expected 11 channels.*found 7"):
        load_engine(path, backend=backend)


def test_a_graph_without_the_roles_output_is_refused(tmp_path: Path, backend: str) -> None:
    path = write_weather_engine(tmp_path / "weather.onnx")
    described(path, role="segmentation", classes=list(CLASS_NAMES))
    with pytest.raises(EngineError, match=r"an output 'logits'.*found \['scores'\]"):
        load_engine(path, backend=backend)


def test_an_input_of_another_type_is_refused(own_engines_path: Path, backend: str) -> None:
    path = own_engines_path / "clear.onnx"
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    onnx.save(model, str(path))
    described(path, weights_sha256=checksum(path))
    with pytest.raises(EngineError, match="expected as inputs 'image' of uint8"):
        load_engine(path, backend=backend)


def test_a_graph_the_runtime_cannot_run_is_refused(own_engines_path: Path, backend: str) -> None:
    path = own_engines_path / "clear.onnx"
    model = onnx.load(str(path))
    model.graph.node[0].op_type = "Teleport"
    onnx.save(model, str(path))
    described(path, weights_sha256=checksum(path))
    with pytest.raises(EngineError, match=r"expected a network .* can run"):
        load_engine(path, backend=backend)


def test_engine_files_are_listed_by_name_and_an_empty_folder_is_refused(
    engines_path: Path, tmp_path: Path
) -> None:
    found = [path.name for path in engine_files(engines_path)]
    assert found == ["all_weather.onnx", "clear.onnx", "weather.onnx"]
    with pytest.raises(EngineError, match="found none"):
        engine_files(tmp_path)


def test_shipped_engines_are_found_beside_the_package_or_by_the_ament_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).resolve().parents[1]
    assert engines_folder() == root / "engines"
    share = tmp_path / "share/adverse_perception"
    share.mkdir(parents=True)
    (share / "package.xml").touch()
    by_prefix = list(shares(tmp_path / "lib/python3/site-packages/adverse_perception"))
    assert by_prefix[0] == share
    assert share not in shares(Path("/nowhere/adverse_perception"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/opt/ros/none:{tmp_path}")
    assert share in shares(Path("/nowhere/adverse_perception"))


def test_a_folder_of_somebody_else_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "site-packages/engines").mkdir(parents=True)
    assert tmp_path / "site-packages" not in shares(tmp_path / "site-packages/adverse_perception")
