"""The command line, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from adverse_perception.cli import main
from adverse_perception.sources import read_picture
from tests.conftest import WEATHER_BRIGHTNESS, grey
from tests.drives import (
    everything_in,
    picture,
    write_drive,
)
from tests.shell import command, save


def test_segment_writes_labels_and_overlay_of_an_image(tmp_path: Path, engines_path: Path) -> None:
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
    tmp_path: Path, engines_path: Path
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


def test_still_pictures_are_judged_each_by_itself(tmp_path: Path, engines_path: Path) -> None:
    for number in range(4):
        for weather, brightness in WEATHER_BRIGHTNESS.items():
            save(tmp_path / f"in/{number}_{weather.value}.png", grey(brightness))

    command("segment", tmp_path / "in", "--out", tmp_path / "out", "--engines", engines_path)

    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["routes"] == dict.fromkeys(("clear", "rain", "fog", "night"), 0.25)


def test_segment_labels_a_video_frame_by_frame(tmp_path: Path, engines_path: Path) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 48))
    for number in range(4):
        writer.write(picture(number))
    writer.release()

    code, _, _ = command("segment", path, "--out", tmp_path / "out", "--engines", engines_path)

    assert code == 0
    names = [f"drive/{number:06d}.png" for number in range(4)]
    assert everything_in(tmp_path / "out/labels") == names


def test_a_route_can_be_forced(tmp_path: Path, engines_path: Path) -> None:
    image = save(tmp_path / "bright.png", grey(WEATHER_BRIGHTNESS[list(WEATHER_BRIGHTNESS)[2]]))
    words = ("segment", image, "--engines", engines_path, "--route", "fog", "--out")

    command(*words, tmp_path / "out")

    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["routes"]["fog"] == 1
    assert report["engines"] == {"all_weather": 1}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replay_labels_a_bag(tmp_path: Path, engines_path: Path, storage: str) -> None:
    drive = write_drive(tmp_path / "drive", storage, frames=5, broken=(1,))

    code, out, err = command("replay", drive, "--out", tmp_path / "out", "--engines", engines_path)

    assert (code, err) == (0, "")
    assert "5 read, 4 labelled, 1 dropped" in out
    assert "1 malformed, /front/image_raw" in out
    files = ["labelled/labelled.mcap", "labelled/metadata.yaml", "report.json"]
    assert everything_in(tmp_path / "out") == files


@pytest.mark.parametrize("words", [[], ["segment"], ["replay"], ["engines"], ["node"]])
def test_help_teaches(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])

    assert ended.value.code == 0
    assert f"adverse-perception {' '.join(words)}".strip() + " " in capsys.readouterr().out


def test_segmenting_loads_nothing_that_it_does_not_need(
    tmp_path: Path, engines_path: Path
) -> None:
    image = save(tmp_path / "a.png", picture(0, 360, 480))
    words = ["segment", str(image), "--out", str(tmp_path / "o"), "--engines", str(engines_path)]
    script = f"import sys; from adverse_perception.cli import main; main({words!r}); "
    script += "sys.exit(' '.join({'rosbags', 'rclpy', 'torch', 'openvino'} & set(sys.modules)))"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (tmp_path / "o").is_dir()
    assert done.stderr.strip() == ""


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
