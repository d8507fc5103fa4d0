"""The command line given bad input: one clear line, and nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.bag_writer import write_bag
from adverse_perception.sources import read_picture
from tests.conftest import write_segmentation_engine
from tests.drives import (
    START_NS,
    everything_in,
    files_at_most,
    picture,
    storage_file,
    truncate,
    write_drive,
)
from tests.shell import command, is_one_line, save


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_one_unreadable_image_among_good_ones_is_named_and_the_rest_is_done(
    tmp_path: Path, engines_path: Path
) -> None:
    save(tmp_path / "in/good.png", picture(0))
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG nothing more")

    code, out, err = command(
        "segment", tmp_path / "in", "--out", tmp_path / "out", "--engines", engines_path
    )

    assert code == 1
    assert "1 labelled, 1 dropped" in out
    assert is_one_line(err, "1 unreadable", "in/bad.png")
    assert everything_in(tmp_path / "out/labels") == ["good.png"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.png", "does not exist"),
        ("broken.jpg", "not a whole picture"),
        ("text.mp4", "neither a video nor a picture"),
        ("empty", "holds no pictures"),
    ],
)
def test_input_that_cannot_be_read_ends_with_one_clear_line(
    tmp_path: Path,
    engines_path: Path,
    name: str,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    truncate(save(tmp_path / "broken.jpg", picture(0)), 0.5)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()

    code, out, err = command(
        "segment", tmp_path / name, "--out", tmp_path / "out", "--engines", engines_path
    )

    assert (code, out) == (1, "")
    assert is_one_line(err, name, said)
    assert capfd.readouterr() == ("", "")  # the libraries below are silent
    assert not (tmp_path / "out").exists()


def test_inputs_that_would_write_the_same_files_are_refused(
    tmp_path: Path, engines_path: Path
) -> None:
    inputs = [save(tmp_path / side / "a.png", picture(0)) for side in ("left", "right")]

    code, _, err = command("segment", *inputs, "--out", tmp_path, "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, "two inputs are called a")


def test_engines_that_do_not_fit_end_a_command_with_one_clear_line(
    tmp_path: Path, own_engines_path: Path
) -> None:
    image = save(tmp_path / "a.png", picture(0))
    words = ("segment", image, "--out", tmp_path / "out", "--engines")
    foreign = [f"class {number}" for number in range(19)]

    code, _, err = command(*words, tmp_path / "nowhere")
    assert code == 1
    assert is_one_line(err, "nowhere", "*.onnx")

    write_segmentation_engine(own_engines_path / "clear.onnx", classes=foreign)
    code, _, err = command(*words, own_engines_path)
    assert code == 1
    assert is_one_line(err, "clear.onnx", "19 classes", "expects 11")

    truncate(own_engines_path / "clear.onnx", 0.5)
    code, _, err = command(*words, own_engines_path)
    assert code == 1
    assert is_one_line(err, "clear.onnx")

    assert not (tmp_path / "out").exists()


def test_a_value_out_of_range_ends_with_one_clear_line(tmp_path: Path, engines_path: Path) -> None:
    image = save(tmp_path / "a.png", picture(0))

    code, _, err = command(
        "segment", image, "--out", tmp_path, "--engines", engines_path, "--threads", 0
    )

    assert code == 1
    assert is_one_line(err, "threads", "from 1 to 64", "found 0")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_of_a_truncated_bag_ends_with_one_clear_line(
    tmp_path: Path, engines_path: Path, storage: str
) -> None:
    drive = write_drive(tmp_path / "drive", storage, frames=8)
    truncate(storage_file(drive), 0.7)

    code, _, err = command("replay", drive, "--out", tmp_path / "out", "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, str(drive), "cannot be read to its end", "mcap recover")
    assert not (tmp_path / "out").exists()


def test_replay_of_a_bag_without_images_ends_with_one_clear_line(
    tmp_path: Path, engines_path: Path
) -> None:
    with write_bag(tmp_path / "drive") as bag:
        bag.text("/chatter", "hello", START_NS)

    code, _, err = command(
        "replay", tmp_path / "drive", "--out", tmp_path / "out", "--engines", engines_path
    )

    assert code == 1
    assert is_one_line(err, "no camera pictures", "/chatter (std_msgs/msg/String)")


def test_replay_on_a_full_disk_leaves_the_last_good_result(
    tmp_path: Path, engines_path: Path
) -> None:
    words = ("--out", tmp_path / "out", "--engines", engines_path)
    command("replay", write_drive(tmp_path / "short", frames=2), *words)
    before = {
        name: (tmp_path / "out" / name).read_bytes() for name in everything_in(tmp_path / "out")
    }
    long = write_drive(tmp_path / "long", frames=200)

    with files_at_most(40_000):
        code, _, err = command("replay", long, *words)

    assert code == 1
    assert is_one_line(err, "cannot write", "out/labelled", "choose another folder")
    after = {
        name: (tmp_path / "out" / name).read_bytes() for name in everything_in(tmp_path / "out")
    }
    assert after == before


def test_segment_on_a_full_disk_leaves_only_whole_files(
    tmp_path: Path, small_disk: Path, engines_path: Path
) -> None:
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)
        save(tmp_path / f"in/{number:02d}.png", noise)

    code, _, err = command(
        "segment", tmp_path / "in", "--out", small_disk / "out", "--engines", engines_path
    )

    assert code == 1
    assert is_one_line(err, "cannot write", "No space left on device")
    written = everything_in(small_disk / "out")
    assert 0 < len(written) < 24
    for name in written:
        assert read_picture(small_disk / "out" / name).shape == (96, 128, 3)
