"""Bags, read and written for real."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.bag_writer import write_bag
from adverse_perception.bags import Bag, BagError, camera_of
from adverse_perception.files import FileError
from adverse_perception.recordings import SourceError
from adverse_perception.sources import open_source
from tests.drives import (
    HEIGHT,
    START_NS,
    WIDTH,
    everything_in,
    files_at_most,
    picture,
    source_frame,
    storage_file,
    truncate,
    write_drive,
)

STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


@STORAGES
def test_a_bag_gives_back_pictures_headers_and_times(tmp_path: Path, storage: str) -> None:
    source = open_source(write_drive(tmp_path / "drive", storage))
    frames = list(source)

    assert len(source) == len(frames) == 4
    assert source.continuous
    assert source.rate_hz == pytest.approx(10, rel=0.01)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, picture(number))
        assert frame.stamp_ns == START_NS + number * 100_000_000
        assert frame.logged_ns == frame.stamp_ns + 5_000_000
        assert (frame.camera, frame.frame_id) == ("front", "front_optical")


@STORAGES
def test_a_storage_file_alone_is_a_bag(tmp_path: Path, storage: str) -> None:
    file = storage_file(write_drive(tmp_path / "drive", storage))
    (tmp_path / "drive" / "metadata.yaml").unlink()

    assert len(list(open_source(file))) == 4
    assert len(list(open_source(file.parent))) == 4


def test_compressed_pictures_are_read(tmp_path: Path) -> None:
    with write_bag(tmp_path / "drive") as bag:
        bag.jpeg("/rear/image_raw/compressed", picture(0), source_frame(0, "rear"))

    (frame,) = Bag(tmp_path / "drive")

    assert frame.camera == "rear"
    assert np.abs(frame.image.astype(int) - picture(0)).mean() < 6


def test_a_camera_recorded_raw_and_compressed_is_read_once(tmp_path: Path) -> None:
    with write_bag(tmp_path / "drive") as bag:
        for number in range(3):
            frame = source_frame(number)
            bag.jpeg("/front/image_raw/compressed", frame.image, frame)
            bag.image("/front/image_raw", frame.image, frame)
            bag.image("/front/labels", frame.image[:, :, 0], frame)

    assert [frame.topic for frame in Bag(tmp_path / "drive")] == ["/front/image_raw"] * 3
    chosen = Bag(tmp_path / "drive", ["/front/image_raw/compressed"])
    assert {frame.topic for frame in chosen} == {"/front/image_raw/compressed"}


def test_true_labels_find_their_picture_when_logged_before_or_after(tmp_path: Path) -> None:
    with write_bag(tmp_path / "drive") as bag:
        for number in range(4):
            frame = source_frame(number)
            truth = np.full((HEIGHT, WIDTH), number, np.uint8)
            late = replace(frame, logged_ns=frame.logged_ns + 250_000_000 * (number % 2))
            bag.image("/front/labels_truth", truth, late)
            if number != 2:
                bag.image("/front/image_raw", frame.image, frame)

    frames = list(Bag(tmp_path / "drive"))

    values = [frame.labels.max() for frame in frames if frame.labels is not None]
    assert values == [0, 1, 3]
    assert [frame.stamp_ns for frame in frames] == sorted(frame.stamp_ns for frame in frames)


def test_a_truth_topic_can_be_named_and_must_fit(tmp_path: Path) -> None:
    frame = source_frame(0)
    with write_bag(tmp_path / "drive") as bag:
        bag.image("/front/image_raw", frame.image, frame)
        bag.image("/exact", frame.image[:, :, 0] // 32, frame)
        bag.image("/small", np.zeros((4, 4), np.uint8), frame)

    (read,) = Bag(tmp_path / "drive", ["/front/image_raw"], "/exact")
    assert read.labels is not None
    with pytest.raises(SourceError, match="true labels of /front/image_raw"):
        list(Bag(tmp_path / "drive", ["/front/image_raw"], "/small"))
    with pytest.raises(BagError, match="no topic /nowhere"):
        Bag(tmp_path / "drive", ["/front/image_raw"], "/nowhere")


@STORAGES
def test_a_broken_message_is_counted_and_skipped(tmp_path: Path, storage: str) -> None:
    bag = Bag(write_drive(tmp_path / "drive", storage, frames=5, broken=(1, 3)))

    stamps = [frame.stamp_ns - START_NS for frame in bag]

    assert stamps == [0, 200_000_000, 400_000_000]
    assert bag.drops.counts == {"malformed": 2}
    assert "/front/image_raw" in bag.drops.messages["malformed"]


def test_a_picture_that_does_not_decode_is_counted_and_skipped(tmp_path: Path) -> None:
    with write_bag(tmp_path / "drive") as bag:
        bag.image("/front/image_raw", picture(0), source_frame(0), encoding="infrared9")
        bag.image("/front/image_raw", picture(1), source_frame(1))
    drive = Bag(tmp_path / "drive")

    assert len(list(drive)) == 1
    assert drive.drops.counts == {"undecodable": 1}
    assert "infrared9" in drive.drops.messages["undecodable"]


@STORAGES
def test_a_bag_without_pictures_is_refused_with_what_it_holds(
    tmp_path: Path, storage: str
) -> None:
    with write_bag(tmp_path / "drive", storage) as bag:
        bag.text("/chatter", "hello", START_NS)

    with pytest.raises(BagError, match=r"no camera pictures.*found /chatter \(std_msgs"):
        Bag(tmp_path / "drive")


def test_a_topic_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive")

    with pytest.raises(BagError, match="no image topic /rear: expected one of /front/image_raw"):
        Bag(tmp_path / "drive", ["/rear"])


@STORAGES
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.95])
def test_a_truncated_bag_is_refused(tmp_path: Path, storage: str, share: float) -> None:
    write_drive(tmp_path / "drive", storage, frames=8)
    truncate(storage_file(tmp_path / "drive"), share)

    with pytest.raises(BagError, match=r"drive cannot be read to its end: expected a whole"):
        list(Bag(tmp_path / "drive"))


def test_damage_in_the_middle_is_found_while_reading(tmp_path: Path) -> None:
    file = storage_file(write_drive(tmp_path / "drive", frames=60))
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 2000] = bytes(2000)
    file.write_bytes(content)
    drive = Bag(tmp_path / "drive")

    with pytest.raises(BagError, match="cannot be read to its end"):
        list(drive)


def test_a_ros_1_bag_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")

    with pytest.raises(BagError, match="rosbags-convert"):
        open_source(tmp_path / "old.bag")


@STORAGES
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, storage: str) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(FileError, match=f"cannot write {out / 'bag'}"),
        files_at_most(50_000),
        write_bag(out / "bag", storage) as bag,
    ):
        for number in range(200):
            noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            bag.image("/front/image_raw", noise, source_frame(number))

    assert list(out.iterdir()) == []


def test_a_failed_run_leaves_the_bag_of_the_run_before(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag", frames=2)
    with pytest.raises(RuntimeError), write_bag(tmp_path / "bag") as bag:
        bag.text("/chatter", "hello", START_NS)
        raise RuntimeError

    assert len(list(Bag(tmp_path / "bag"))) == 2
    assert everything_in(tmp_path) == ["bag/bag.mcap", "bag/metadata.yaml"]

    write_drive(tmp_path / "bag", frames=3)
    assert len(list(Bag(tmp_path / "bag"))) == 3


def test_a_folder_that_is_no_bag_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")

    with (
        pytest.raises(FileError, match="thesis is there already"),
        write_bag(tmp_path / "thesis"),
    ):
        pass

    assert everything_in(tmp_path) == ["thesis/chapter.txt"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = storage_file(write_drive(tmp_path / "drive")).read_bytes()
    shutil.rmtree(tmp_path / "drive")

    assert storage_file(write_drive(tmp_path / "drive")).read_bytes() == first


@pytest.mark.parametrize(
    ("topic", "camera"),
    [
        ("/front/image_raw", "front"),
        ("/front/image_raw/compressed", "front"),
        ("/car/rear/image_color", "car/rear"),
        ("/image_raw", "camera"),
        ("/eye", "eye"),
    ],
)
def test_a_camera_is_named_by_its_topic(topic: str, camera: str) -> None:
    assert camera_of(topic) == camera
