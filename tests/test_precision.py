"""Which precision of an engine runs, and what its user is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adverse_perception.config import PipelineConfig, knobs
from adverse_perception.diagnostics import Level, node_status
from adverse_perception.engines import Engines
from adverse_perception.frames import Weather
from adverse_perception.inference import (
    PRECISIONS,
    EngineError,
    EngineMetadata,
    Wish,
    open_engine,
    read_metadata,
    read_variant,
    variant_path,
    write_metadata,
)
from adverse_perception.kernels import device
from adverse_perception.labels import CLASS_NAMES
from tests.conftest import grey, write_correction_engine, write_segmentation_engine
from tests.shell import command
from tests.variants import write_variant

FEW_POINTS, MANY_POINTS = 0.005, 0.0061


@pytest.fixture
def clear(own_engines_path: Path) -> Path:
    return own_engines_path / "clear.onnx"


# Which file


@pytest.mark.parametrize(
    ("wished", "backend", "loss", "taken"),
    [
        ("auto", "tensorrt", FEW_POINTS, "fp16"),
        ("auto", "tensorrt_rtx", -0.01, "fp16"),
        ("auto", "tensorrt", MANY_POINTS, "fp32"),
        ("auto", "tensorrt", None, "fp32"),
        ("auto", "onnxruntime", 0.0, "fp32"),
        ("auto", "openvino", 0.0, "fp32"),
        ("fp32", "tensorrt", 0.0, "fp32"),
        ("fp16", "onnxruntime", 0.0, "fp16"),
        ("fp16", "tensorrt", FEW_POINTS, "fp16"),
    ],
)
def test_precision_is_taken_without_a_word_where_it_costs_little(
    clear: Path, wished: str, backend: str, loss: float | None, taken: str
) -> None:
    write_variant(clear, loss=loss)
    variant = read_variant(clear, wished, backend)
    assert variant.file.metadata.precision == taken
    assert variant.file.path == (clear if taken == "fp32" else variant_path(clear, taken))
    assert variant.remark == ""


@pytest.mark.parametrize(
    ("loss", "said"),
    [(MANY_POINTS, "scores up to 0.6 points less than fp32"), (None, "nobody has scored")],
)
def test_one_that_costs_much_runs_where_it_is_asked_for_and_that_is_said(
    clear: Path, loss: float | None, said: str
) -> None:
    place = write_variant(clear, "int8", loss=loss)
    variant = read_variant(clear, "int8", "tensorrt")
    assert variant.file.path == place
    assert variant.remark.startswith("clear runs in int8")
    assert said in variant.remark


def test_one_that_is_not_there_is_stood_in_for_by_fp32(clear: Path) -> None:
    variant = read_variant(clear, "int8")
    assert variant.file.path == clear
    assert f"expected {variant_path(clear, 'int8')} in int8, made from {clear}" in variant.remark
    assert "found none; make it with python -m training.precision" in variant.remark
    assert read_variant(clear, "auto", "tensorrt").remark == ""


@pytest.mark.parametrize("wished", ["fp16", "auto"])
def test_one_of_weights_that_are_no_more_is_not_run(clear: Path, wished: str) -> None:
    write_variant(clear, made_from="0" * 64)
    variant = read_variant(clear, wished, "tensorrt")
    assert variant.file.path == clear
    assert "found one made from other weights" in variant.remark


@pytest.mark.parametrize(
    "change", [{"input_height": 48}, {"conditions": ("clear", "rain")}, {"stride": 8}]
)
def test_one_of_an_engine_that_has_been_described_anew_is_not_run(
    clear: Path, change: dict[str, Any]
) -> None:
    write_variant(clear)
    write_metadata(clear, replace(read_metadata(clear), **change))
    variant = read_variant(clear, "auto", "tensorrt")
    assert variant.file.path == clear
    assert f"found one of another {next(iter(change))}" in variant.remark


def test_nothing_is_said_of_a_variant_that_nobody_makes(tmp_path: Path) -> None:
    correction = write_correction_engine(tmp_path / "correction.onnx")
    assert read_variant(correction, "int8").remark == ""
    assert "found none" in read_variant(correction, "fp16").remark


def test_one_of_another_precision_than_its_folder_is_not_run(clear: Path) -> None:
    place = write_variant(clear, "fp16")
    wrong = variant_path(clear, "int8")
    wrong.parent.mkdir()
    place.rename(wrong)
    variant = read_variant(clear, "int8")
    assert variant.file.path == clear
    assert "found one in fp16" in variant.remark


def test_a_damaged_one_is_an_error(clear: Path) -> None:
    place = write_variant(clear)
    place.write_bytes(place.read_bytes()[:300])
    assert read_variant(clear, "auto").file.path == clear
    with pytest.raises(EngineError, match="whole ONNX file"):
        read_variant(clear, "auto", "tensorrt")


def test_a_folder_of_variants_is_a_folder_of_engines(clear: Path) -> None:
    place = write_variant(clear)
    for wished in ("fp16", "fp32", "auto"):
        variant = read_variant(place, wished, "tensorrt")
        assert (variant.file.path, variant.remark) == (place, "")


def test_no_such_precision_is_refused(clear: Path) -> None:
    with pytest.raises(EngineError, match="expected one of auto, fp32, fp16, int8, found fp8"):
        open_engine(clear, Wish(precision="fp8"))
    (knob,) = (one for one in knobs(PipelineConfig) if one.name == "precision")
    assert knob.metadata["choices"] == ("auto", *PRECISIONS)


# What it loses


def described(**scores: float) -> EngineMetadata:
    reference = {"clear": 0.6, "rain": 0.5, "accuracy": 0.9}
    return EngineMetadata(
        "joint", "joint", ("clear", "rain"), CLASS_NAMES, 48, 64,
        scores=scores, precision="fp16", reference_scores=reference,
    )  # fmt: skip


def test_the_loss_is_the_largest_in_the_weathers_an_engine_is_for() -> None:
    assert described(clear=0.598, rain=0.496, fog=0.1, accuracy=0.1).loss == 0.004
    assert described(clear=0.605, rain=0.51).loss == -0.005
    assert described(accuracy=0.897).loss == 0.003
    assert described(fog=0.1).loss == float("inf")
    assert replace(described(), precision="fp32").loss == 0.0


def test_a_precision_that_does_not_exist_is_refused() -> None:
    told = json.loads(described().to_json()) | {"precision": "fp8"}
    with pytest.raises(EngineError, match=r"precision expects one of .*'int8'.*, found 'fp8'"):
        EngineMetadata.from_json(json.dumps(told))


# On the road


def test_a_wish_runs_and_the_node_says_in_what_and_what_is_missing(clear: Path) -> None:
    place = write_variant(clear, "int8")
    config = PipelineConfig(engines_folder=str(clear.parent), precision="int8")
    engines = Engines.load(config)
    engine, picture = engines.routes[Weather.CLEAR], grey(150)
    wanted = open_engine(place, Wish()).engine.run(picture)["logits"]
    np.testing.assert_array_equal(engine.run(picture)["logits"], wanted)
    assert [line.split()[0] for line in engines.stand_ins] == ["all_weather", "weather"]
    status = node_status("active", "", engines)
    assert status.level == Level.WARN
    assert status.values["route_clear"] == "clear (int8)"
    assert status.values["route_rain"] == "all_weather"


def test_what_the_gpu_refuses_runs_on_the_cpu_in_fp32(
    clear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_DRIVER", "libno_driver_of_this_name.so.1")
    write_variant(clear)
    loaded = open_engine(clear, Wish("tensorrt", fallback=True, precision="auto"))
    assert (loaded.backend, loaded.path, loaded.remark) == ("onnxruntime", clear, "")
    assert loaded.engine.metadata.precision == "fp32"


# On the command line


def test_variants_are_listed_with_what_they_lose(clear: Path) -> None:
    write_variant(clear, loss=0.002)
    write_variant(clear, "int8").write_bytes(b"nothing")
    code, out, _ = command("engines", "list", "clear", "--engines", clear.parent)
    lines = [line.split() for line in out.splitlines()]
    assert ["fp16/clear.onnx", "segmentation"] in [line[:2] for line in lines]
    assert ["int8/clear.onnx", "refused"] in [line[:2] for line in lines]
    assert "clear 0.598, rain 0.100 (at most 0.20 points below fp32)" in out
    assert code == 1


def test_what_is_checked_and_timed_is_what_runs(clear: Path, tmp_path: Path) -> None:
    place = write_variant(clear, loss=MANY_POINTS)
    words = ("--engines", clear.parent, "--precision", "fp16", "--json", tmp_path / "told.json")
    code, out, _ = command("engines", "check", *words)
    assert code == 0
    assert "fp16/clear.onnx" in out
    assert "clear runs in fp16, which scores up to 0.6 points less than fp32" in out
    assert "weather runs in fp32: expected" in out
    code, out, _ = command("engines", "bench", "clear", *words, "--frames", 1)
    assert code == 0
    (record,) = json.loads((tmp_path / "told.json").read_text())["engines"]
    assert (record["engine"], record["precision"]) == (str(place), "fp16")
    assert record["weights_sha256"] == read_metadata(place).weights_sha256
    assert out.count("0.6 points less") == 1


def test_plans_are_built_for_what_a_drive_runs(clear: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    place = write_variant(clear)
    words = ("engines", "build", "clear", "weather", "--engines", clear.parent)
    words = (*words, "--backend", "tensorrt_rtx", "--cache", tmp_path / "plans")
    built = []
    for precision in ("auto", "fp32", "int8"):
        told = tmp_path / f"{precision}.json"
        code, out, _ = command(*words, "--precision", precision, "--json", told)
        assert code == 0
        assert ("runs in fp32: expected" in out) == (precision == "int8")
        built.append([one["engine"] for one in json.loads(told.read_text())["plans"]])
    itself = [str(clear), str(clear.with_name("weather.onnx"))]
    assert built == [[str(place), itself[1]], itself, itself]


def test_nothing_is_said_of_an_engine_that_no_weather_uses(clear: Path) -> None:
    conditions = [weather.value for weather in Weather if weather is not Weather.CLEAR]
    write_segmentation_engine(clear.with_name("other.onnx"), conditions)
    engines = Engines.load(PipelineConfig(engines_folder=str(clear.parent), precision="fp16"))
    assert {line.split()[0] for line in engines.stand_ins} == {"clear", "other", "weather"}
