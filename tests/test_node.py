"""The real node over real DDS: what it publishes, its lifecycle, its parameters."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import ReliabilityPolicy
from std_msgs.msg import String

from adverse_perception import topics
from adverse_perception.config import NodeConfig, PipelineConfig, knobs
from adverse_perception.drawing import colour, overlay
from adverse_perception.engines import open_pipeline
from adverse_perception.frames import Frame, Weather
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.messages import to_rgb
from tests.conftest import WEATHER_BRIGHTNESS
from tests.ros_bench import (
    LATCHED,
    Bench,
    CameraInfo,
    Image,
    bench,
    image,
    jpeg,
    one_bench,
    picture,
)

__all__ = ["bench", "one_bench"]


def expected_labels(engines: Path, pixels: np.ndarray) -> np.ndarray:
    config = PipelineConfig(engines_folder=str(engines))
    return open_pipeline(config).process(Frame(pixels)).labels


def ids(message: Image) -> np.ndarray:
    assert (message.encoding, message.is_bigendian) == ("mono8", 0)
    return to_rgb(message)[:, :, 0]


def test_labels_come_back_under_the_header_of_their_picture(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path)
    heard, sent = bench.listen(Image, "camera/labels"), image()
    labels = bench.answer(sent, heard)
    assert labels.header == sent.header
    np.testing.assert_array_equal(ids(labels), expected_labels(engines_path, picture()))


def test_confidence_colour_and_overlay_show_the_labels(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, overlay_opacity=0.25)
    heard = {name: bench.listen(Image, f"camera/{name}") for name in topics.IMAGES}
    bench.answer(image(), heard["overlay"])
    found = {name: to_rgb(messages[-1]) for name, messages in heard.items() if messages}
    labels = found["labels"][:, :, 0]
    np.testing.assert_array_equal(found["color"], colour(labels))
    unwritten = np.s_[48:]  # the condition is written above
    expected = overlay(picture(), labels, 0.25)
    np.testing.assert_array_equal(found["overlay"][unwritten], expected[unwritten])
    assert (found["overlay"] != expected).any()
    assert found["confidence"].max() > 0
    assert "restored" not in found  # no route of these engines restores


def test_nothing_is_drawn_while_nobody_looks(
    bench: Bench, engines_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(topics, "overlay", lambda image, labels, _: drawn.append("") or image)
    bench.start(engines_path)
    heard = bench.listen(String, "camera/condition")
    bench.send(image())
    bench.until(lambda: heard)
    assert not drawn
    bench.answer(image(), bench.listen(Image, "camera/overlay"))
    assert drawn


def test_the_restored_picture_comes_under_the_header_of_its_own_and_only_where_it_rains(
    bench: Bench, joint_engines_path: Path
) -> None:
    bench.start(joint_engines_path, classifier_interval=1, smoothing_s=0.0, hold_s=0.0)
    restored, labels = (bench.listen(Image, f"camera/{name}") for name in ("restored", "labels"))
    rainy = picture(WEATHER_BRIGHTNESS[Weather.RAIN])
    sent = image(rainy)
    found = bench.answer(sent, restored)
    assert (found.header, found.encoding) == (sent.header, "rgb8")
    np.testing.assert_array_equal(to_rgb(found), 255 - rainy)
    dry = bench.answer(image(), labels)
    bench.answer(sent, restored)  # whatever is published in order has come by now
    assert dry.header.stamp not in [message.header.stamp for message in restored]


def test_nothing_is_restored_while_nobody_looks(bench: Bench, joint_engines_path: Path) -> None:
    bench.start(joint_engines_path, condition="fog")
    heard = bench.listen(String, "camera/condition")

    def stages() -> set[str]:
        said = len(heard)
        bench.until(lambda: bench.send(image()) and len(heard) > said)
        return set(json.loads(heard[-1].data)["timing_ms"])

    assert "infer" in stages() and "restore" not in stages()
    listening = bench.user.create_subscription(Image, "camera/restored", lambda _: None, 10)
    bench.until(lambda: "restore" in stages())
    bench.user.destroy_subscription(listening)
    bench.until(lambda: "restore" not in stages())


def test_every_camera_has_its_own_topics(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, cameras=["front", "rear/left"], image_topic="image_rect")
    sizes = {"front": (48, 64), "rear/left": (96, 128)}
    for camera, size in sizes.items():
        heard = bench.listen(Image, f"{camera}/labels")
        labels = bench.answer(image(picture(150, *size)), heard, topic=f"{camera}/image_rect")
        assert (labels.height, labels.width) == size


def test_compressed_pictures_are_labelled(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, image_transport="compressed")
    heard = bench.listen(Image, "camera/labels")
    labels = bench.answer(jpeg(), heard, topic="camera/image_raw/compressed")
    assert ids(labels).shape == (96, 128)


def test_camera_info_goes_out_with_the_stamp_of_the_labels(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path)
    heard = bench.listen(CameraInfo, "camera/labels/camera_info")
    info = CameraInfo(height=96, width=128)
    info.k[0] = 77.0
    bench.send(info, "camera/camera_info")
    bench.until(lambda: bench.send(image()) and heard)
    assert (heard[-1].k[0], heard[-1].header.frame_id) == (77.0, "front_optical")


def test_who_comes_late_still_learns_the_classes(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    bench.spin(0.1)
    heard = bench.listen(String, "camera/label_info_json", LATCHED)
    told = json.loads(bench.until(lambda: heard)[0].data)
    assert [label["name"] for label in told["classes"]] == list(CLASS_NAMES)
    assert told["unlabelled"] == 255


def test_the_condition_is_told_with_every_score_and_the_stamp(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path)
    heard = bench.listen(String, "camera/condition")
    sent = bench.send(image(picture(30)))
    told = json.loads(bench.until(lambda: heard)[0].data)
    assert (told["weather"], told["engine"], told["forced"]) == ("night", "all_weather", False)
    assert sum(told["scores"].values()) == pytest.approx(1.0, abs=1e-3)
    assert told["stamp"] == {
        "sec": sent.header.stamp.sec,
        "nanosec": sent.header.stamp.nanosec,
    }
    assert {"latency", "wait", "decode", "infer"} <= set(told["timing_ms"])


def test_diagnostics_give_rate_latency_drops_and_condition(
    bench: Bench, engines_path: Path
) -> None:
    bench.start(engines_path)
    for _ in range(4):
        bench.send(image())
        bench.spin(0.02)
    values = bench.until(lambda: bench.values("camera").get("labelled", "0") != "0" and
                         bench.values("camera"))  # fmt: skip
    assert float(values["received_hz"]) > 0
    assert float(values["latency_p95_ms"]) >= float(values["latency_p50_ms"])
    assert {"dropped_superseded", "dropped_lost_in_transport", "score_fog"} <= set(values)
    assert (values["condition"], values["engine"]) == ("clear", "clear")
    assert bench.values("node")["route_night"] == "all_weather"


def test_key_frames_and_the_frames_between_are_published_and_told_apart(
    bench: Bench, correction_engines_path: Path
) -> None:
    bench.start(correction_engines_path, condition="clear", keyframe_interval=3)
    labels, said = bench.listen(Image, "camera/labels"), bench.listen(String, "camera/condition")

    def told() -> list[dict[str, object]]:
        return [json.loads(message.data) for message in said]

    bench.until(lambda: bench.answer(image(), labels) and
                len({one["keyframe"] for one in told()}) == 2)  # fmt: skip
    for one in told():
        assert ("infer" in one["timing_ms"]) == one["keyframe"]
        assert (one["distortion"] is None) == one["keyframe"]
    values = bench.until(lambda: "distortion" in bench.values("camera") and bench.values("camera"))
    assert 0 < float(values["keyframes"]) < 1
    assert {"flow_p50_ms", "correct_p50_ms", "latency_mean_ms"} <= set(values)
    assert "latency_keyframe_p95_ms" in values
    assert bench.set_parameter("keyframe_interval", 1).successful
    before = len(said)
    bench.until(lambda: bench.answer(image(), labels) and len(said) > before + 1)
    assert all(one["keyframe"] for one in told()[before + 1 :])


def test_the_standard_transitions_bring_the_node_up_and_down(
    bench: Bench, engines_path: Path
) -> None:
    node = bench.start(engines_path, autostart=False)
    heard = bench.listen(Image, "camera/labels")
    assert not bench.change_state(Transition.TRANSITION_ACTIVATE)
    for _ in range(2):
        assert bench.change_state(Transition.TRANSITION_CONFIGURE)
        assert node.count_subscribers("/camera/image_raw") == 0
        assert bench.change_state(Transition.TRANSITION_ACTIVATE)
        assert bench.answer(image(), heard)
        assert bench.change_state(Transition.TRANSITION_DEACTIVATE)
        bench.until(lambda: node.count_subscribers("/camera/image_raw") == 0)
        assert bench.change_state(Transition.TRANSITION_CLEANUP)
        bench.until(lambda: node.count_publishers("/camera/labels") == 0)
    assert bench.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)


def test_a_live_parameter_takes_effect_while_running(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    heard = bench.listen(String, "camera/condition")
    assert bench.set_parameter("condition", "fog").successful
    bench.send(image())
    told = json.loads(bench.until(lambda: heard)[0].data)
    assert (told["weather"], told["forced"]) == ("fog", True)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("condition", "snow", "one of auto, clear, rain, fog, night"),
        ("smoothing_s", 1e6, "range"),
        ("smoothing_s", 1, "DOUBLE"),
        ("cameras", ["front"], "clean up the node first"),
        ("no_such_thing", 1, "declared"),
    ],
)
def test_a_bad_change_is_refused_with_the_reason(
    bench: Bench, engines_path: Path, name: str, value: object, reason: str
) -> None:
    bench.start(engines_path)
    result = bench.set_parameter(name, value)
    assert not result.successful
    assert reason.lower() in result.reason.lower()


def test_every_parameter_is_described_with_its_range(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, autostart=False)
    names = [knob.name for knob in knobs(NodeConfig)]
    request = DescribeParameters.Request(names=names)
    described = bench.call(DescribeParameters, "describe_parameters", request).descriptors
    by_name = {one.name: one for one in described}
    assert all(one.description for one in described)
    assert by_name["threads"].integer_range[0].from_value == 1
    assert by_name["overlay_opacity"].floating_point_range[0].to_value == 1.0
    assert "fog" in by_name["condition"].additional_constraints


def test_quality_of_service_can_be_overridden_for_one_camera(
    bench: Bench, engines_path: Path
) -> None:
    override = {"qos_overrides./front/image_raw.subscription.reliability": "reliable"}
    node = bench.start(engines_path, cameras=["front", "rear"], **override)

    def quality(topic: str) -> SimpleNamespace:
        return node.get_subscriptions_info_by_topic(topic)[0].qos_profile

    assert quality("/front/image_raw").reliability == ReliabilityPolicy.RELIABLE
    assert quality("/rear/image_raw").reliability == ReliabilityPolicy.BEST_EFFORT
    assert node.get_publishers_info_by_topic("/rear/labels")[0].qos_profile.reliability == (
        ReliabilityPolicy.RELIABLE
    )
