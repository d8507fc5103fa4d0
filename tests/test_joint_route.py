"""The route of rain and fog: labels for every frame, the restored picture for who asks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import open_pipeline
from adverse_perception.frames import Frame, UInt8Array, Weather
from adverse_perception.inference import read_metadata
from adverse_perception.segmenters import to_working_size
from adverse_perception.sources import read_picture
from tests.conftest import WEATHER_BRIGHTNESS, grey, write_joint_engine
from tests.drives import picture
from tests.shell import command, save
from tests.test_replay import spoil


@pytest.fixture(params=["onnxruntime", "openvino"])
def config(request: pytest.FixtureRequest, joint_engines_path: Path) -> PipelineConfig:
    pytest.importorskip(request.param)
    return PipelineConfig(engines_folder=str(joint_engines_path), backend=request.param)


@pytest.mark.parametrize("weather", Weather)
def test_rain_and_fog_are_the_joint_engines(joint_engines_path: Path, weather: Weather) -> None:
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(joint_engines_path)))
    said = pipeline.process(Frame(grey(WEATHER_BRIGHTNESS[weather]), restore=True))
    routes = {Weather.CLEAR: "clear", Weather.NIGHT: "all_weather"}
    assert said.engine == routes.get(weather, "joint")
    assert (said.restored is not None) == (said.engine == "joint")


def test_the_picture_is_restored_only_for_frames_that_ask(config: PipelineConfig) -> None:
    pipeline = open_pipeline(replace(config, condition="rain"))
    frame = Frame(picture(1, 96, 128))
    plain, asked = pipeline.process(frame), pipeline.process(replace(frame, restore=True))
    assert plain.restored is None
    assert asked.restored is not None
    np.testing.assert_array_equal(plain.labels, asked.labels)
    assert list(plain.timing_ms) == ["classify", "resize", "infer", "label"]
    assert list(asked.timing_ms) == [*plain.timing_ms, "restore"]


@pytest.mark.parametrize(
    "size", [(96, 128), (360, 480), (97, 131), (30, 40), (9, 300), (1, 1), (540, 330)]
)
def test_the_restored_picture_has_the_geometry_of_the_frame(
    joint_engines_path: Path, size: tuple[int, int]
) -> None:
    pipeline = open_pipeline(
        PipelineConfig(engines_folder=str(joint_engines_path), condition="fog")
    )
    image = picture(5, *size)
    restored = pipeline.process(Frame(image, restore=True)).restored
    assert restored is not None
    assert (restored.shape, restored.dtype) == (image.shape, np.uint8)
    seen = to_working_size(image, read_metadata(joint_engines_path / "joint.onnx"))
    shrinks = seen[..., 0].size > image[..., 0].size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    change = cv2.resize(255 - 2 * seen.astype(np.float32), size[::-1], interpolation=how)
    expected = np.clip(image + change.reshape(image.shape), 0, 255)
    np.testing.assert_allclose(restored, expected, atol=1)


def test_what_is_left_alone_stays_as_sharp_as_the_camera_saw_it(
    joint_engines_path: Path, tmp_path: Path
) -> None:
    engines = shutil.copytree(joint_engines_path, tmp_path / "engines")
    write_joint_engine(engines / "joint.onnx", alone=True)
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(engines), condition="fog"))
    image = picture(3, 361, 637)
    np.testing.assert_array_equal(pipeline.process(Frame(image, restore=True)).restored, image)


def test_a_bright_corner_of_the_restored_picture_stays_where_it_was(
    config: PipelineConfig,
) -> None:
    image = np.full((361, 637, 3), 255, np.uint8)
    image[:90, -160:] = (0, 40, 80)
    restored = open_pipeline(replace(config, condition="rain")).process(Frame(image, restore=True))
    assert restored.restored is not None
    found = np.argwhere(restored.restored[..., 0] > 128)
    assert found.min(axis=0) == pytest.approx((0, 637 - 160), abs=6)
    assert found.max(axis=0) == pytest.approx((89, 636), abs=6)
    assert restored.restored[20, -20] == pytest.approx((255, 215, 175), abs=2)


def test_a_joint_engine_that_fails_hands_its_frames_to_the_clear_one(
    joint_engines_path: Path, tmp_path: Path
) -> None:
    engines = shutil.copytree(joint_engines_path, tmp_path / "engines")
    spoil(engines / "joint.onnx")
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(engines), condition="fog"))
    said = pipeline.process(Frame(picture(2), restore=True))
    assert (said.engine, said.restored) == ("clear", None)
    assert said.condition.weather is Weather.FOG
    assert "finite" in pipeline.errors["joint"].message


def test_a_picture_that_cannot_be_restored_costs_nothing_while_nobody_asks(
    joint_engines_path: Path, tmp_path: Path
) -> None:
    engines = shutil.copytree(joint_engines_path, tmp_path / "engines")
    write_joint_engine(engines / "joint.onnx", shrink=2)
    pipeline = open_pipeline(PipelineConfig(engines_folder=str(engines), condition="rain"))
    frame = Frame(picture(2, 96, 128))
    assert pipeline.process(frame).engine == "joint"
    assert not pipeline.errors
    assert pipeline.process(replace(frame, restore=True)).engine == "clear"
    assert "expected 'restored' of shape (1, 96, 128, 3)" in pipeline.errors["joint"].message


def test_segment_writes_the_restored_pictures_there_are(
    tmp_path: Path, joint_engines_path: Path
) -> None:
    for weather in (Weather.CLEAR, Weather.RAIN):
        save(tmp_path / f"in/{weather.value}.png", grey(WEATHER_BRIGHTNESS[weather], 90, 123))
    words = (
        "segment",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        "--engines",
        joint_engines_path,
    )

    code, _, _ = command(*words)

    assert code == 0
    assert [file.name for file in (tmp_path / "out/restored").iterdir()] == ["rain.jpg"]
    restored: UInt8Array = read_picture(tmp_path / "out/restored/rain.jpg")
    assert restored.shape == (90, 123, 3)
    assert np.abs(restored.astype(float) - (255 - WEATHER_BRIGHTNESS[Weather.RAIN])).max() <= 2


def test_a_joint_engine_is_listed_checked_and_timed_with_and_without_its_picture(
    tmp_path: Path, joint_engines_path: Path
) -> None:
    where = ("--engines", joint_engines_path)
    code, out, _ = command("engines", "list", *where)
    assert code == 0
    assert " ".join(next(line for line in out.splitlines() if "joint" in line).split()[:4]) == (
        "joint.onnx joint rain/fog 11"
    )
    assert command("engines", "check", *where)[0] == 0

    command("engines", "bench", "joint", *where, "--frames", 9, "--json", tmp_path / "b.json")

    (record,) = json.loads((tmp_path / "b.json").read_text())["engines"]
    times = {stage: found["p50"] for stage, found in record["latency_ms"].items()}
    assert list(times) == ["infer", "infer + restored", "label"]
    assert times["infer + restored"] > times["infer"]


def test_the_check_finds_a_picture_of_another_size(tmp_path: Path) -> None:
    write_joint_engine(tmp_path / "joint.onnx", shrink=2)
    code, _, err = command("engines", "check", "--engines", tmp_path)
    assert code == 1
    assert "expected 'restored' of shape (1, 96, 128, 3)" in err
