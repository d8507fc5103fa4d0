"""Bags and folders through the vehicle's own pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from adverse_perception.bag_writer import write_bag
from adverse_perception.bags import Bag, BagError
from adverse_perception.config import PipelineConfig
from adverse_perception.drawing import caption, overlay, write_text
from adverse_perception.engines import Engines
from adverse_perception.frames import Segmentation, UInt8Array, Weather
from adverse_perception.inference import read_metadata, write_metadata
from adverse_perception.recordings import SourceError, SourceFrame
from adverse_perception.replay import LabellingRun, replay
from tests.drives import START_NS, everything_in, source_frame, storage_file, write_drive


@pytest.fixture(scope="module")
def config(engines_path: Path) -> PipelineConfig:
    return PipelineConfig(engines_folder=str(engines_path))


@pytest.fixture(scope="module")
def engines(config: PipelineConfig) -> Engines:
    return Engines.load(config)


def run_replay(
    bag: Path, out: Path, engines: Engines, config: PipelineConfig, **options: bool
) -> dict[str, Any]:
    restore = options.pop("restore", False)
    run = LabellingRun(Bag(bag), lambda: engines.pipeline(config), restore=restore)
    replay(run, run, out, **options)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def labels_in(bag: Path, topic: str = "/front/labels") -> dict[int, UInt8Array]:
    return {frame.stamp_ns: frame.image[:, :, 0] for frame in Bag(bag, [topic])}


def driven(bag: Path, engines: Engines, config: PipelineConfig) -> dict[int, Segmentation]:
    """What one pipeline says of a camera, frame by frame."""
    pipeline = engines.pipeline(config)
    return {frame.stamp_ns: pipeline.process(frame.frame) for frame in Bag(bag)}


def spoil(engine: Path) -> None:
    """Make an engine answer with nan while its description and checksum stay good."""
    metadata = read_metadata(engine)
    model = onnx.load(engine)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32("nan"), "bias"))
    onnx.save(model, engine)
    write_metadata(engine, metadata)


def test_every_frame_gets_the_labels_the_vehicle_would_have_given(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive", frames=12)

    run_replay(drive, tmp_path / "out", engines, config)

    written = labels_in(tmp_path / "out/labelled")
    expected = driven(drive, engines, config)
    assert list(written) == list(expected)
    for stamp_ns, segmentation in expected.items():
        np.testing.assert_array_equal(written[stamp_ns], segmentation.labels)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_two_replays_give_the_same_bag(
    tmp_path: Path, storage: str, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive", storage, 20, ("front", "rear"))

    first = run_replay(drive, tmp_path / "1", engines, config)
    second = run_replay(drive, tmp_path / "2", engines, config)

    assert first["labels_sha256"] == second["labels_sha256"]
    bags = [storage_file(tmp_path / run / "labelled").read_bytes() for run in "12"]
    assert bags[0] == bags[1]
    assert first["frames"] == {"read": 40, "labelled": 40, "dropped": 0, "causes": {}}


def test_the_labelled_bag_keeps_headers_and_times(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive")

    run_replay(drive, tmp_path / "out", engines, config)

    for topic in ("/front/labels", "/front/overlay"):
        for number, frame in enumerate(Bag(tmp_path / "out/labelled", [topic])):
            assert frame.stamp_ns == START_NS + number * 100_000_000
            assert frame.logged_ns == frame.stamp_ns + 5_000_000
            assert frame.frame_id == "front_optical"


def test_the_overlay_shows_labels_and_condition(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive", frames=1)

    run_replay(drive, tmp_path / "out", engines, config)

    (shown,) = Bag(tmp_path / "out/labelled", ["/front/overlay"])
    (said,) = driven(drive, engines, config).values()
    drawn = overlay(source_frame(0).image, said.labels)
    np.testing.assert_array_equal(shown.image, write_text(drawn, caption(said.condition)))


def test_ros_understands_the_labelled_bag(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    pytest.importorskip("rclpy", exc_type=ImportError)
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    drive = write_drive(tmp_path / "drive", frames=1)
    run_replay(drive, tmp_path / "out", engines, config)

    with AnyReader([tmp_path / "out/labelled"]) as reader:
        raw = {connection.topic: data for connection, _, data in reader.messages()}
        latched = [c for c in reader.connections if c.topic == "/front/label_info_json"]
    labels = deserialize_message(raw["/front/labels"], Image)
    (said,) = driven(drive, engines, config).values()
    assert (labels.encoding, labels.step, labels.header.frame_id) == ("mono8", 64, "front_optical")
    assert bytes(labels.data) == said.labels.tobytes()
    condition = json.loads(deserialize_message(raw["/front/condition"], String).data)
    assert condition["weather"] == said.condition.weather.value
    assert condition["stamp"]["nanosec"] == labels.header.stamp.nanosec
    assert latched[0].ext.offered_qos_profiles[0].durability == QosDurability.TRANSIENT_LOCAL


def test_originals_are_copied_and_overlays_compressed_when_asked(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive")

    run_replay(drive, tmp_path / "out", engines, config, jpeg=True, originals=True)

    labelled = tmp_path / "out/labelled"
    copies = list(Bag(labelled, ["/front/image_raw"]))
    assert [copy.serialized for copy in copies] == [frame.serialized for frame in Bag(drive)]
    assert len(list(Bag(labelled, ["/front/overlay/compressed"]))) == 4


def test_restored_pictures_are_in_the_bag_when_asked_for_and_change_nothing_else(
    tmp_path: Path, joint_engines_path: Path
) -> None:
    forced = PipelineConfig(engines_folder=str(joint_engines_path), condition="rain")
    joint = Engines.load(forced)
    drive = write_drive(tmp_path / "drive")

    plain = run_replay(drive, tmp_path / "plain", joint, forced)
    asked = run_replay(drive, tmp_path / "asked", joint, forced, restore=True)

    with pytest.raises(BagError, match="no image topic /front/restored"):
        Bag(tmp_path / "plain/labelled", ["/front/restored"])
    frames = list(Bag(tmp_path / "asked/labelled", ["/front/restored"]))
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in Bag(drive)]
    assert {(frame.frame_id, frame.image.shape) for frame in frames} == {
        ("front_optical", source_frame(0).image.shape)
    }
    assert plain["labels_sha256"] == asked["labels_sha256"]
    assert plain["miou"] == asked["miou"]
    assert "restore" not in plain["latency_ms"]
    assert list(asked["latency_ms"]) == [*plain["latency_ms"], "restore"]


def test_the_report_accounts_for_every_frame(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    drive = write_drive(tmp_path / "drive", frames=10, broken=(2, 7))

    report = run_replay(drive, tmp_path / "out", engines, config)

    assert report["frames"] == {
        "read": 10,
        "labelled": 8,
        "dropped": 2,
        "causes": {"malformed": 2},
    }
    assert sum(report["routes"].values()) == pytest.approx(1)
    assert set(report["routes"]) == {weather.value for weather in Weather}
    for stage in ("classify", "infer", "label"):
        assert report["latency_ms"][stage]["p50"] <= report["latency_ms"][stage]["p99"]
    assert report["machine"]["cores"] >= 1
    assert report["miou"]["all"] is None


def test_labels_are_scored_against_the_truth_in_the_bag(
    tmp_path: Path, engines: Engines, config: PipelineConfig
) -> None:
    plain = write_drive(tmp_path / "plain")
    answers = driven(plain, engines, config)
    with write_bag(tmp_path / "drive") as bag:
        for number, said in enumerate(answers.values()):
            frame: SourceFrame = source_frame(number)
            truth = np.where(number == 0, 255, said.labels).astype(np.uint8)
            truth[:2] = (said.labels[:2] + (number == 3)) % 11  # two rows wrong in one frame
            bag.image("/front/image_raw", frame.image, frame)
            bag.image("/front/labels_truth", truth, frame)

    report = run_replay(tmp_path / "drive", tmp_path / "out", engines, config)

    assert 0.8 < report["miou"]["all"] < 1
    (route,) = (name for name, share in report["routes"].items() if share == 1)
    assert report["miou"][route] == report["miou"]["all"]


def test_a_failing_engine_is_reported_while_the_clear_route_serves(
    tmp_path: Path, own_engines_path: Path
) -> None:
    spoil(own_engines_path / "all_weather.onnx")
    forced = PipelineConfig(engines_folder=str(own_engines_path), condition="rain")
    drive = write_drive(tmp_path / "drive", frames=3)

    report = run_replay(drive, tmp_path / "out", Engines.load(forced), forced)

    assert report["engines"] == {"clear": 3}
    assert report["engine_failures"]["all_weather"]["frames"] == 3
    assert "finite" in report["engine_failures"]["all_weather"]["message"]


def test_nothing_is_written_when_no_frame_could_be_labelled(
    tmp_path: Path, own_engines_path: Path
) -> None:
    spoil(own_engines_path / "clear.onnx")
    forced = PipelineConfig(engines_folder=str(own_engines_path), condition="clear")
    drive = write_drive(tmp_path / "drive", frames=3)

    with pytest.raises(SourceError, match=r"no frame of .*drive could be labelled.*finite"):
        run_replay(drive, tmp_path / "out", Engines.load(forced), forced)

    assert everything_in(tmp_path / "out") == []
