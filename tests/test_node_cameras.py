"""The real node with several cameras: one vote, fair turns, several at a time."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from adverse_perception.frames import Weather
from tests.conftest import WEATHER_BRIGHTNESS, write_segmentation_engine, write_weather_engine
from tests.ros_bench import Bench, Image, bench, image, one_bench, picture

__all__ = ["bench", "one_bench"]

CAMERAS = ["front", "left", "right"]
CLEAR, RAIN, FOG, NIGHT = Weather


def conditions(bench: Bench, heard: dict[str, Any], *weathers: Weather) -> list[Any]:
    """What is said of the cameras when each of them sees a weather."""
    return [
        json.loads(
            bench.answer(
                image(picture(WEATHER_BRIGHTNESS[weather])),
                heard[camera],
                topic=f"{camera}/image_raw",
            ).data
        )
        for camera, weather in zip(CAMERAS, weathers, strict=True)
    ]


class Told(list[Any]):
    """Condition messages, which carry their stamp in the text."""

    def __iter__(self) -> Any:
        return map(_Stamped, super().__iter__())


class _Stamped:
    def __init__(self, message: String) -> None:
        self.data = message.data
        self.header = image().header
        stamp = json.loads(message.data)["stamp"]
        self.header.stamp.sec, self.header.stamp.nanosec = stamp["sec"], stamp["nanosec"]


def listen(bench: Bench) -> dict[str, Any]:
    heard = {camera: Told() for camera in CAMERAS}
    for camera, told in heard.items():
        bench.user.create_subscription(String, f"{camera}/condition", told.append, 10)
    return heard


def test_a_covered_camera_is_outvoted_and_says_so(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, cameras=CAMERAS, classifier_interval=1)
    heard = listen(bench)
    conditions(bench, heard, CLEAR, CLEAR, RAIN)
    for _ in range(30):
        found = conditions(bench, heard, NIGHT, CLEAR, RAIN)
        if found[0]["alone"]:
            break
    assert [one["weather"] for one in found] == ["clear", "clear", "rain"]
    assert [one["alone"] for one in found] == ["night", None, None]
    told = bench.until(lambda: "by vote" in bench.values("front").get("condition", "") and
                       bench.values("front"))  # fmt: skip
    assert told["condition"] == "clear (by vote; alone night)"


def test_the_vote_can_be_switched_off_while_running(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, cameras=CAMERAS, classifier_interval=1, smoothing_s=0.0)
    heard = listen(bench)
    conditions(bench, heard, CLEAR, CLEAR, CLEAR)
    assert bench.set_parameter("weather_vote", False).successful
    for _ in range(30):
        found = conditions(bench, heard, NIGHT, CLEAR, CLEAR)
        if found[0]["weather"] == "night":
            break
    assert [one["weather"] for one in found] == ["night", "clear", "clear"]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_camera_starves_when_all_are_faster_than_the_machine(
    bench: Bench, tmp_path: Path, workers: int
) -> None:
    write_weather_engine(tmp_path / "weather.onnx")
    everything = [weather.value for weather in Weather]
    large = (1536, 2048)  # so that the machine is the slower one
    write_segmentation_engine(tmp_path / "all.onnx", everything, size=large)
    bench.start(tmp_path, cameras=CAMERAS, workers=workers, classifier_interval=1000)
    heard = {camera: bench.listen(Image, f"{camera}/labels") for camera in CAMERAS}
    sent: dict[str, list[Any]] = {camera: [] for camera in CAMERAS}
    for number in range(60):
        for camera in CAMERAS[: 3 if number % 4 == 0 else 2]:  # one of them is slower
            message = image(picture(150, 48, 64))
            sent[camera].append(bench.send(message, f"{camera}/image_raw", 0.001).header.stamp)
        bench.spin(0.002)
    for camera in CAMERAS:  # the newest picture is labelled, of every camera
        newest = sent[camera][-1]
        bench.until(lambda c=camera, n=newest: any(m.header.stamp == n for m in heard[c]))
    counts = {camera: len(messages) for camera, messages in heard.items()}
    assert counts["front"] < len(sent["front"])
    assert min(counts["front"], counts["left"]) > 0.5 * max(counts["front"], counts["left"])
    assert counts["right"] > 0.5 * min(counts["front"], len(sent["right"]))
    for camera, messages in heard.items():
        stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages]
        assert stamps == sorted(set(stamps)), camera
    told = bench.until(lambda: bench.values("node"))
    assert told["workers"] == str(workers)


def test_several_cameras_are_labelled_at_the_same_time_as_one_by_one(
    bench: Bench, engines_path: Path
) -> None:
    expected = {}
    pictures = {camera: picture(150 + 5 * n) for n, camera in enumerate(CAMERAS)}
    for workers in (1, 3):
        bench.start(engines_path, cameras=CAMERAS, workers=workers, condition="clear")
        heard = {camera: bench.listen(Image, f"{camera}/labels") for camera in CAMERAS}
        for camera, pixels in pictures.items():
            bench.send(image(pixels), f"{camera}/image_raw")
        for camera, pixels in pictures.items():
            bench.answer(image(pixels), heard[camera], topic=f"{camera}/image_raw")
            found = np.array(heard[camera][-1].data)
            np.testing.assert_array_equal(found, expected.setdefault(camera, found))
        bench.clear()
    labelling = [one for one in threading.enumerate() if one.name.startswith("labelling")]
    assert labelling == []
