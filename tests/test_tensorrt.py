"""TensorRT as far as it goes without a GPU: finding it, and building by TensorRT-RTX."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adverse_perception.inference import (
    METADATA_KEY,
    EngineError,
    EngineMetadata,
    PlanSettings,
    checksum,
    engine_files,
    load_engine,
    output_sets,
    read_engine,
    tensorrt_backend,
    tensorrt_building,
    tensorrt_module,
)
from adverse_perception.inference.engine import ROLE_MAPS, ROLE_OUTPUTS
from adverse_perception.inference.metadata import EngineFile
from adverse_perception.inference.onnx_file import with_property
from adverse_perception.inference.tensorrt_building import Workshop, picture_sizes
from adverse_perception.inference.tensorrt_module import Library, find_library
from adverse_perception.kernels import device
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import EVIDENCE
from adverse_perception.segmenters import working_size
from adverse_perception.shelf import with_variants
from tests.conftest import write_correction_engine, write_segmentation_engine, write_weather_engine

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def library() -> Library:
    pytest.importorskip("tensorrt_rtx")
    return find_library("tensorrt_rtx")


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_DRIVER", "libno_driver_of_this_name.so.1")


# Finding it

ALONE = """
import sys
from pathlib import Path
from adverse_perception.inference import EngineError, load_engine
from adverse_perception.inference.tensorrt_backend import open_workshop
from adverse_perception.kernels import device

for hidden in sys.argv[2:]:
    sys.modules[hidden] = None
device._DRIVER = "libno_driver_of_this_name.so.1"
for deed in (lambda: load_engine(sys.argv[1], backend="tensorrt"), open_workshop):
    try:
        print(deed())
    except EngineError as error:
        print(error, [name for name in ("tensorrt", "tensorrt_rtx") if sys.modules.get(name)])
"""


def alone(engine: Path, *hidden: str) -> list[str]:
    """What a process says that loads an engine, then goes to build one; without a driver."""
    command = [sys.executable, "-c", ALONE, str(engine), *hidden]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout.splitlines()


def test_a_driver_is_looked_for_before_tensorrt_is_even_imported(engines_path: Path) -> None:
    said = alone(engines_path / "clear.onnx", "tensorrt")[0]
    assert said.startswith("GPU: expected NVIDIA's driver, found none (libno_driver")
    assert said.endswith("install NVIDIA's driver, or run the engines on the CPU []")


def test_without_tensorrt_one_line_says_which_there_are(engines_path: Path) -> None:
    said = alone(engines_path / "clear.onnx", "tensorrt", "tensorrt_rtx")[1]
    assert said.startswith("backend tensorrt: expected the package tensorrt or tensorrt_rtx,")
    assert "pip install 'adverse_perception[tensorrt_rtx]'; or set backend to onnxruntime" in said


def test_only_tensorrt_rtx_builds_without_a_driver(
    monkeypatch: pytest.MonkeyPatch, no_driver: None
) -> None:
    proper = SimpleNamespace(name="tensorrt")
    monkeypatch.setattr(tensorrt_backend, "find_library", lambda _: proper)
    with pytest.raises(EngineError, match=r"found none.*only tensorrt_rtx builds without"):
        tensorrt_backend.open_workshop()


def test_a_tensorrt_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"tensorrt": lambda: SimpleNamespace(__version__="8.5.2.2")}
    monkeypatch.setattr(tensorrt_module, "_IMPORTS", old)
    with pytest.raises(
        EngineError, match=r"expected tensorrt 10 or newer, found 8.5.2.2; install"
    ):
        tensorrt_module._library.__wrapped__("tensorrt")


def test_tensorrt_is_preferred_and_broken_libraries_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise OSError(f"lib{name}.so: cannot open shared object file")

    monkeypatch.setattr(tensorrt_module, "_library", lambda name: name)
    assert (find_library(), find_library("tensorrt_rtx")) == ("tensorrt", "tensorrt_rtx")
    monkeypatch.setattr(tensorrt_module, "_library", broken)
    with pytest.raises(EngineError, match=r"libtensorrt.so: cannot.*libtensorrt_rtx.so: cannot"):
        find_library()


def test_auto_does_without_tensorrt_where_there_is_no_driver(
    engines_path: Path, no_driver: None
) -> None:
    assert not tensorrt_module.usable()
    engine = load_engine(engines_path / "weather.onnx", backend="auto")
    assert type(engine).__name__ in ("OpenVinoEngine", "OnnxRuntimeEngine")


# Building


def jobs() -> list[Any]:
    files = [read_engine(file) for path in engine_files() for file in with_variants(path)]
    return [
        pytest.param(file, outputs, id=f"{file.metadata.title}-{'+'.join(outputs)}")
        for file in files
        for outputs in output_sets(file.metadata.role)
    ]


@pytest.mark.parametrize(("file", "outputs"), jobs())
def test_every_shipped_engine_and_variant_is_parsed_checked_and_built(
    library: Library, file: EngineFile, outputs: tuple[str, ...]
) -> None:
    builder = library.module.Builder(library.logger)
    network, _parser = tensorrt_building._parsed(library, file, outputs, builder)
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    made = [network.get_output(number) for number in range(network.num_outputs)]
    told = {one.name: (one.dtype.name, tuple(one.shape)) for one in (*inputs, *made)}
    planes = {"warped": len(CLASS_NAMES), "evidence": len(EVIDENCE), "distortion": 1}
    expected = {
        name: ("FLOAT", (-1, planes.get(name, len(CLASS_NAMES)), -1, -1))
        for name in (*ROLE_MAPS.get(file.metadata.role, ()), *outputs)
    }
    expected["image"] = ("UINT8", (-1, -1, -1, 3))
    expected |= {name: expected["image"] for name in outputs if name == "restored"}
    expected |= {name: ("FLOAT", (-1, 4)) for name in outputs if name == "scores"}
    assert told == expected
    for batch in (1, 3):
        sizes = picture_sizes(file.metadata, batch)
        plan = tensorrt_building.build(library, file, outputs, sizes)
        assert plan[:4] == b"vtrt"
        assert len(plan) > 100_000


def test_real_plans_are_kept_and_a_truncated_one_is_built_again(
    library: Library, engines_path: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    workshop = Workshop(library, settings=PlanSettings(tmp_path, tell=lines.append))
    file = read_engine(engines_path / "clear.onnx")
    first = workshop.plan(file, ("logits",))
    assert first.path
    assert first.path.read_bytes() == first.content
    assert workshop.plan(file, ("logits",)).built_s == 0
    first.path.write_bytes(first.content[: len(first.content) // 2])
    assert workshop.plan(file, ("logits",)).built_s > 0
    assert "truncated" in lines[-2]
    assert len(first.path.read_bytes()) == len(first.content)


def described(path: Path, **changes: object) -> EngineFile:
    """The file with another description, its checksum right."""
    told = json.loads(replace(read_engine(path).metadata).to_json())
    metadata = EngineMetadata.from_json(json.dumps({**told, **changes}))
    metadata = replace(metadata, weights_sha256=checksum(path))
    path.write_bytes(with_property(path.read_bytes(), METADATA_KEY, metadata.to_json(), path))
    return read_engine(path)


def build(library: Library, file: EngineFile, batch: int = 1) -> bytes:
    outputs = ROLE_OUTPUTS[file.metadata.role]
    sizes = picture_sizes(file.metadata, batch)
    return tensorrt_building.build(library, file, outputs, sizes)


def test_engines_of_every_role_are_built(library: Library, tmp_path: Path) -> None:
    for write in (write_correction_engine, write_weather_engine):
        assert build(library, read_engine(write(tmp_path / "engine.onnx")))


def spoilt(path: Path, layer: str) -> EngineFile:
    """An engine with a first layer that does not exist."""
    model = onnx.load(str(path))
    model.graph.node[0].op_type = layer
    path.write_bytes(model.SerializeToString())
    told = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
    return EngineFile(path.read_bytes(), EngineMetadata.from_json(told), path)


def test_a_network_that_tensorrt_cannot_read_is_refused_in_its_words(
    library: Library, own_engines_path: Path
) -> None:
    path = own_engines_path / "clear.onnx"
    with pytest.raises(
        EngineError, match=r"expected a network tensorrt_rtx .*Teleport.*again"
    ) as e:
        build(library, spoilt(path, "Teleport"))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_a_network_that_is_not_what_it_says_is_refused(library: Library, tmp_path: Path) -> None:
    few = write_segmentation_engine(tmp_path / "few.onnx", classes=CLASS_NAMES[:7])
    model = onnx.load(str(few))
    told = json.loads(model.metadata_props[0].value) | {"classes": list(CLASS_NAMES)}
    metadata = EngineMetadata.from_json(json.dumps(told))
    with pytest.raises(EngineError, match=r"expected 11 channels.*found 7"):
        build(library, EngineFile(few.read_bytes(), metadata, few))


def test_a_free_batch_axis_is_built_for_as_many_pictures_as_wanted(
    library: Library, own_engines_path: Path
) -> None:
    path = own_engines_path / "clear.onnx"
    with pytest.raises(EngineError, match="an engine for 4 pictures at once, found one for 1"):
        build(library, read_engine(path), batch=4)
    model = onnx.load(str(path))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    model.metadata_props[0].value = "{}"
    metadata = read_engine(path).metadata
    content = model.SerializeToString()
    assert build(library, EngineFile(content, metadata, path), batch=4)


@given(
    shape=st.floats(0.58, 3.0),
    height=st.integers(200, 3000),
    size=st.tuples(st.integers(5, 150), st.integers(5, 150)),
)
@example(shape=0.5625, height=328, size=(11, 95))
@example(shape=0.5625, height=384, size=(11, 128))
def test_every_usual_camera_is_within_the_range_of_a_plan(
    shape: float, height: int, size: tuple[int, int]
) -> None:
    rows, columns = (8 * number for number in size)
    metadata = EngineMetadata("clear", "segmentation", ("clear",), CLASS_NAMES, rows, columns)
    least, usual, most = np.array(picture_sizes(metadata, batch=2))
    camera = np.array((1, *working_size(height, math.floor(height * shape), metadata)))
    assert (least <= camera).all()
    assert (camera <= most).all()
    assert (least <= usual).all()
    assert (usual <= most).all()
    assert usual.tolist() == [2, rows, columns]
