"""Where TensorRT cannot run: ONNX Runtime does, and says so, or the node refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.diagnostics import Level, node_status
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame
from adverse_perception.inference import EngineError, tensorrt_module
from adverse_perception.kernels import device
from tests.conftest import grey
from tests.drives import picture
from tests.shell import command, is_one_line, save

NO_DRIVER = "GPU: expected NVIDIA's driver, found none"


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_DRIVER", "libno_driver_of_this_name.so.1")


def config(engines_path: Path, **values: object) -> PipelineConfig:
    return PipelineConfig(engines_folder=str(engines_path), backend="tensorrt", **values)


def test_what_tensorrt_cannot_run_runs_on_onnx_runtime_and_diagnostics_say_why(
    engines_path: Path,
) -> None:
    wished = config(engines_path)
    engines = Engines.load(wished)
    (line,) = engines.stand_ins  # one for all of them: the reason is the same
    assert line.startswith("onnxruntime runs all_weather, clear, weather; tensorrt cannot: GPU:")
    said = engines.pipeline(wished).process(Frame(grey(150)))
    plain = Engines.load(PipelineConfig(engines_folder=str(engines_path)))
    assert plain.stand_ins == []
    assert (said.labels == plain.pipeline(wished).process(Frame(grey(150))).labels).all()
    status = node_status("active", "", engines)
    assert (status.level, status.message) == (Level.WARN, line)
    assert node_status("active", "", plain).level == Level.OK


def test_where_that_is_not_allowed_the_reason_is_the_error(engines_path: Path) -> None:
    with pytest.raises(EngineError, match=f"^{NO_DRIVER}"):
        Engines.load(config(engines_path, backend_fallback=False))


def test_an_engine_that_nothing_can_run_is_refused(own_engines_path: Path) -> None:
    path = own_engines_path / "clear.onnx"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EngineError, match="whole ONNX file"):
        Engines.load(config(own_engines_path))


def test_a_missing_openvino_is_stood_in_for_as_well(
    engines_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = "adverse_perception.inference.openvino_backend"
    monkeypatch.delitem(sys.modules, ours, raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    wished = PipelineConfig(engines_folder=str(engines_path), backend="openvino")
    (line,) = Engines.load(wished).stand_ins
    assert "openvino cannot: backend openvino: expected the package openvino" in line


def test_segment_says_what_stood_in(tmp_path: Path, engines_path: Path) -> None:
    image = save(tmp_path / "a.png", picture(0))
    words = ("segment", image, "--out", tmp_path / "out", "--engines", engines_path)
    code, out, _ = command(*words, "--backend", "tensorrt")
    assert code == 0
    assert f"tensorrt cannot: {NO_DRIVER}" in out
    (line,) = json.loads((tmp_path / "out/report.json").read_text())["stand_ins"]
    assert line in out
    code, _, err = command(*words, "--backend", "tensorrt", "--no-backend-fallback")
    assert code == 1
    assert is_one_line(err, NO_DRIVER)


@pytest.mark.parametrize("action", ["check", "bench"])
def test_engines_that_tensorrt_cannot_run_end_a_command_with_one_line(
    engines_path: Path, action: str
) -> None:
    code, _, err = command("engines", action, "--engines", engines_path, "--backend", "tensorrt")
    assert code == 1
    assert is_one_line(err, NO_DRIVER, "install NVIDIA's driver, or run the engines on the CPU")
    assert err.count("driver, found none") == 1


def test_engines_are_built_without_a_gpu_and_that_is_said(
    tmp_path: Path, engines_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    cache, told = tmp_path / "plans", tmp_path / "plans.json"
    words = ("engines", "build", "--engines", engines_path, "--cache", cache, "--json", told)
    words = (*words, "--backend", "tensorrt_rtx")
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    assert "built for no GPU, by tensorrt_rtx 1." in out
    assert str(cache) in out
    records = json.loads(told.read_text())["plans"]
    assert [Path(one["engine"]).stem for one in records] == ["all_weather", "clear", "weather"]
    assert all(Path(one["plan"]).stat().st_size == one["bytes"] for one in records)
    assert command(*words)[1].count("was there") == 3


def test_plans_that_cannot_be_kept_or_built_fail_the_command(
    tmp_path: Path, engines_path: Path, own_engines_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    (tmp_path / "file").write_text("no folder")
    build = ("engines", "build", "weather", "--backend", "tensorrt_rtx", "--cache")
    code, out, err = command(*build, tmp_path / "file/plans", "--engines", engines_path)
    assert code == 1
    assert "not kept" in out
    assert is_one_line(err, "cannot write", "choose another folder")
    (own_engines_path / "weather.onnx").write_bytes(b"nothing")
    code, out, err = command(*build, tmp_path / "plans", "--engines", own_engines_path)
    assert code == 1
    assert "refused" in out
    assert is_one_line(err, "weather.onnx", "whole ONNX file")
    code, _, err = command(*build, tmp_path, "--engines", engines_path, "--batch", 0)
    assert is_one_line(err, "--batch: expected 1 or more, found 0")


def test_without_tensorrt_building_ends_with_one_line(
    tmp_path: Path, engines_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(tensorrt_module, "_library", missing)
    code, _, err = command("engines", "build", "--engines", engines_path, "--cache", tmp_path)
    assert code == 1
    assert is_one_line(err, "expected the package tensorrt or tensorrt_rtx", "pip install")
