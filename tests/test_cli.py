"""The command line, as a user meets it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.bag_writer import write_bag
from adverse_perception.cli import main
from adverse_perception.sources import read_picture
from tests.conftest import WEATHER_BRIGHTNESS, grey, write_segmentation_engine
from tests.drives import (
    START_NS,
    everything_in,
    files_at_most,
    picture,
    storage_file,
    truncate,
    write_drive,
)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run


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


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


def is_one_line(err: str, *said: str) -> bool:
    lines = err.strip().splitlines()
    good = len(lines) == 1 and lines[0].startswith("adverse-perception: error: ")
    return good and all(word in err for word in said)


def test_segment_writes_labels_and_overlay_of_an_image(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    image = save(tmp_path / "street.png", picture(0, 90, 123))

    code, out, _ = command("segment", image, "--out", tmp_path / "out", "--engines", engines_path)

    assert code == 0
    assert "1 labelled" in out
    labels = cv2.imread(str(tmp_path / "out/labels/street.png"), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    assert labels.shape == (90, 123)
    assert labels.max() < 11
    assert read_picture(tmp_path / "out/overlay/street.jpg").shape == (90, 123, 3)


def test_segment_keeps_relative_names_and_scores_against_labels_beside(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    for name in ("day/a", "day/b", "dusk/a"):
        save(tmp_path / "pack/images" / f"{name}.png", picture(len(name)))
    words = ("segment", tmp_path / "pack", "--engines", engines_path, "--out")
    command(*words, tmp_path / "first")
    # its own answers as the truth: now it must be right everywhere
    (tmp_path / "first/labels").rename(tmp_path / "pack/labels")

    code, out, _ = command(*words, tmp_path / "out")

    assert code == 0
    assert "mIoU of all labelled frames: 1.0000" in out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["miou"]["all"] == 1.0
    names = ["day/a.png", "day/b.png", "dusk/a.png"]
    assert everything_in(tmp_path / "out/labels") == names


def test_still_pictures_are_judged_each_by_itself(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    for number in range(4):
        for weather, brightness in WEATHER_BRIGHTNESS.items():
            save(tmp_path / f"in/{number}_{weather.value}.png", grey(brightness))

    command("segment", tmp_path / "in", "--out", tmp_path / "out", "--engines", engines_path)

    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["routes"] == dict.fromkeys(("clear", "rain", "fog", "night"), 0.25)


def test_segment_labels_a_video_frame_by_frame(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 48))
    for number in range(4):
        writer.write(picture(number))
    writer.release()

    code, _, _ = command("segment", path, "--out", tmp_path / "out", "--engines", engines_path)

    assert code == 0
    names = [f"drive/{number:06d}.png" for number in range(4)]
    assert everything_in(tmp_path / "out/labels") == names


def test_a_route_can_be_forced(tmp_path: Path, engines_path: Path, command: Command) -> None:
    image = save(tmp_path / "bright.png", grey(WEATHER_BRIGHTNESS[list(WEATHER_BRIGHTNESS)[2]]))
    words = ("segment", image, "--engines", engines_path, "--route", "fog", "--out")

    command(*words, tmp_path / "out")

    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["routes"]["fog"] == 1
    assert report["engines"] == {"all_weather": 1}


def test_one_unreadable_image_among_good_ones_is_named_and_the_rest_is_done(
    tmp_path: Path, engines_path: Path, command: Command
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
    tmp_path: Path, engines_path: Path, command: Command, name: str, said: str
) -> None:
    truncate(save(tmp_path / "broken.jpg", picture(0)), 0.5)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()

    code, out, err = command(
        "segment", tmp_path / name, "--out", tmp_path / "out", "--engines", engines_path
    )

    assert (code, out) == (1, "")
    assert is_one_line(err, name, said)
    assert not (tmp_path / "out").exists()


def test_inputs_that_would_write_the_same_files_are_refused(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    inputs = [save(tmp_path / side / "a.png", picture(0)) for side in ("left", "right")]

    code, _, err = command("segment", *inputs, "--out", tmp_path, "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, "two inputs are called a")


def test_engines_that_do_not_fit_end_a_command_with_one_clear_line(
    tmp_path: Path, own_engines_path: Path, command: Command
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


def test_a_value_out_of_range_ends_with_one_clear_line(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    image = save(tmp_path / "a.png", picture(0))

    code, _, err = command(
        "segment", image, "--out", tmp_path, "--engines", engines_path, "--threads", 0
    )

    assert code == 1
    assert is_one_line(err, "threads", "from 1 to 64", "found 0")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_labels_a_bag(
    tmp_path: Path, engines_path: Path, command: Command, storage: str
) -> None:
    drive = write_drive(tmp_path / "drive", storage, frames=5, broken=(1,))

    code, out, err = command("replay", drive, "--out", tmp_path / "out", "--engines", engines_path)

    assert (code, err) == (0, "")
    assert "5 read, 4 labelled, 1 dropped" in out
    assert "1 malformed, /front/image_raw" in out
    files = ["labelled/labelled.mcap", "labelled/metadata.yaml", "report.json"]
    assert everything_in(tmp_path / "out") == files


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_of_a_truncated_bag_ends_with_one_clear_line(
    tmp_path: Path, engines_path: Path, command: Command, storage: str
) -> None:
    drive = write_drive(tmp_path / "drive", storage, frames=8)
    truncate(storage_file(drive), 0.7)

    code, _, err = command("replay", drive, "--out", tmp_path / "out", "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, str(drive), "cannot be read to its end", "mcap recover")
    assert not (tmp_path / "out").exists()


def test_replay_of_a_bag_without_images_ends_with_one_clear_line(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    with write_bag(tmp_path / "drive") as bag:
        bag.text("/chatter", "hello", START_NS)

    code, _, err = command(
        "replay", tmp_path / "drive", "--out", tmp_path / "out", "--engines", engines_path
    )

    assert code == 1
    assert is_one_line(err, "no camera pictures", "/chatter (std_msgs/msg/String)")


def test_replay_on_a_full_disk_leaves_the_last_good_result(
    tmp_path: Path, engines_path: Path, command: Command
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
    tmp_path: Path, small_disk: Path, engines_path: Path, command: Command
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


def test_engines_are_listed_with_what_they_say_about_themselves(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    code, out, _ = command(
        "engines", "list", "--engines", engines_path, "--json", tmp_path / "list.json"
    )

    assert code == 0
    assert "clear/rain/fog/night" in out
    records = json.loads((tmp_path / "list.json").read_text())["engines"]
    roles = {record["name"]: record["role"] for record in records}
    assert roles == {"weather": "weather", "clear": "segmentation", "all_weather": "segmentation"}


def test_a_damaged_engine_fails_the_check_and_the_others_pass(
    own_engines_path: Path, command: Command
) -> None:
    assert command("engines", "check", "--engines", own_engines_path)[0] == 0
    content = bytearray((own_engines_path / "clear.onnx").read_bytes())
    # a weight, not the structure: only the checksum can tell
    place = content.find(b"bias") - 8
    content[place] ^= 1
    (own_engines_path / "clear.onnx").write_bytes(content)

    code, out, err = command("engines", "check", "--engines", own_engines_path)

    assert code == 1
    assert "clear.onnx        refused" in out
    assert is_one_line(err, "clear.onnx")


def test_the_bench_names_engine_machine_and_percentiles(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    words = ("engines", "bench", "clear", "--engines", engines_path, "--frames", 4)

    code, out, _ = command(*words, "--size", "160x100", "--json", tmp_path / "bench.json")

    assert code == 0
    assert "p95" in out
    (record,) = json.loads((tmp_path / "bench.json").read_text())["engines"]
    assert record["size"] == "160x96"
    assert set(record["latency_ms"]) == {"infer", "label"}
    assert record["latency_ms"]["infer"]["p50"] > 0
    assert record["machine"]["cpu"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nope",), "no engine nope: expected one of all_weather, clear, weather"),
        (("--frames", "0"), "--frames: expected 1 or more, found 0"),
        (("--size", "big"), "WIDTHxHEIGHT"),
    ],
)
def test_a_bench_that_cannot_be_done_ends_with_one_clear_line(
    engines_path: Path, command: Command, words: tuple[str, ...], said: str
) -> None:
    code, _, err = command("engines", "bench", *words, "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, said)


@pytest.mark.parametrize("words", [[], ["segment"], ["replay"], ["engines"], ["node"]])
def test_help_teaches(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])

    assert ended.value.code == 0
    assert f"adverse-perception {' '.join(words)}".strip() + " " in capsys.readouterr().out


def test_segmenting_one_image_from_the_shell_is_quick(
    tmp_path: Path, engines_path: Path, command: Command
) -> None:
    image = save(tmp_path / "a.png", picture(0, 360, 480))
    words = ["segment", image, "--out", tmp_path / "out", "--engines", engines_path]
    command(*words)  # the labelling is compiled once per installation

    quick = any(processor_s("-m", "adverse_perception", *map(str, words)) < 1.5 for _ in range(3))

    assert quick


def processor_s(*words: str) -> float:
    """Time of the processor, not of the clock: others may use the machine meanwhile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_reader_that_leaves_early_is_no_error(engines_path: Path) -> None:
    words = f"{sys.executable} -m adverse_perception engines list --engines {engines_path}"

    done = subprocess.run(f"{words} | true", shell=True, capture_output=True, check=False)

    assert done.stderr == b""


def test_the_command_line_imports_no_runtime_before_it_is_needed() -> None:
    code = (
        "import sys, adverse_perception.cli;"
        "heavy = {'rclpy', 'onnxruntime', 'openvino', 'rosbags', 'torch', 'numba', 'tqdm'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
