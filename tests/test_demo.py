"""The demonstration as the user starts it: its own process, the real node, real DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import open_pipeline
from adverse_perception.files import FileError
from adverse_perception.frames import Frame, Weather
from adverse_perception.labels import CLASS_NAMES
from demo.findings import follow
from demo.footage import DemoError
from demo.pictures import choose, open_video
from demo.sample import DriveRequest, open_drive
from tests.drives import everything_in, files_at_most, picture
from training.drive import Drive

ROOT = Path(__file__).resolve().parent.parent
CLEAR, RAIN = Weather.CLEAR, Weather.RAIN
SAMPLE = DriveRequest(seconds=2.0, rate_hz=10.0, size=(160, 120))


def start(out: Path, engines: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo", "--out", str(out), "-p", f"engines_folder={engines}"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_in_the_foreground,
    )


def _in_the_foreground() -> None:
    """Heed Ctrl-C, which tests that a shell runs in its background would have a child ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(demo: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and last line on stderr."""
    try:
        said = demo.communicate(timeout=120)[1]
    finally:
        demo.kill()
    lines = [line for line in said.replace("\r", "\n").splitlines() if line.strip()]
    return demo.returncode, lines[-1] if lines else ""


def nodes_of(process: int) -> list[int]:
    """Process ids of the nodes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_text()
        except OSError:
            continue  # gone meanwhile
        if parent == process and "adverse_perception.node" in command:
            found.append(int(stat.parent.name))
    return found


def is_running(process: int) -> bool:
    """Whether there is such a process; one that only waits to be collected has ended."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_for_node(demo: subprocess.Popen[str]) -> int:
    """Wait until the demonstration has started its node; returns the node's process id."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and demo.poll() is None:
        if nodes := nodes_of(demo.pid):
            return nodes[0]
        time.sleep(0.1)
    raise AssertionError(f"no node came up: {finish(demo)}")


@pytest.fixture(scope="module")
def sample_run(
    engines_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], Path]]:
    folder = tmp_path_factory.mktemp("demo")
    demo = start(
        folder / "out",
        engines_path,
        *("--seconds", "2", "--rate", "10", "--size", "160x120", "--cache", str(folder / "cache")),
    )
    code, last = finish(demo)
    assert code == 0, last
    yield json.loads((folder / "out" / "report.json").read_text()), folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures."""
    folder = tmp_path / "drive" / "images"
    folder.mkdir(parents=True)
    for number in range(8):
        bgr = cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number:03}.png"), bgr)
    return folder.parent


def test_every_frame_is_accounted_for(sample_run: tuple[dict[str, Any], Path]) -> None:
    frames = sample_run[0]["frames"]
    assert frames["published"] == SAMPLE.frames
    assert frames["published"] >= frames["received"] >= frames["labelled"] > SAMPLE.frames // 2
    assert frames["dropped"] == frames["published"] - frames["labelled"]
    assert frames["dropped"] == sum(frames["dropped_by_cause"].values())
    assert frames["dropped_after_first_second"] <= frames["dropped"]


def test_report_scores_every_weather_of_the_drive(
    sample_run: tuple[dict[str, Any], Path],
) -> None:
    report = sample_run[0]
    assert set(report["miou"]) == {"all", *(weather.value for weather in Weather)}
    assert all(0 <= score <= 1 for score in report["miou"].values())
    assert list(report["iou"]) == list(CLASS_NAMES)
    assert sum(report["routes"].values()) == pytest.approx(1, abs=1e-3)
    assert [change["to"] for change in report["condition"]["changes"]] == ["rain", "fog", "night"]


def test_latency_is_told_from_stamp_to_labels_and_by_stage(
    sample_run: tuple[dict[str, Any], Path],
) -> None:
    latency = sample_run[0]["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert 0 < latency["to_publication"]["p50"] <= latency["p50"]
    assert {"classify", "infer", "label", "latency"} <= set(latency["stages"])
    assert sample_run[0]["machine"]["cores"] > 0


def test_video_and_contact_sheet_show_the_drive(sample_run: tuple[dict[str, Any], Path]) -> None:
    out = sample_run[1] / "out"
    video = cv2.VideoCapture(str(out / "drive.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == SAMPLE.frames
    assert video.get(cv2.CAP_PROP_FPS) == SAMPLE.rate_hz
    frame = video.read()[1]
    assert frame.shape == (120, 320, 3)
    assert frame.std() > 5  # something is drawn
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[0] > 8 * 160
    assert sorted(path.name for path in out.iterdir()) == [
        "contact_sheet.png", "drive.mp4", "node.log", "report.json",
    ]  # fmt: skip


def test_kept_drive_is_the_drive_and_is_not_drawn_again(
    sample_run: tuple[dict[str, Any], Path],
) -> None:
    cache = sample_run[1] / "cache"
    written = {path: path.stat().st_mtime_ns for path in cache.glob("*/images.npy")}
    shots = list(open_drive(SAMPLE, cache))
    assert written == {path: path.stat().st_mtime_ns for path in cache.glob("*/images.npy")}
    frame = Drive.draw(SAMPLE.seed, SAMPLE.size, SAMPLE.seconds).frame(0.7, 0.1)
    np.testing.assert_array_equal(shots[7].image, frame.image)
    np.testing.assert_array_equal(shots[7].labels, frame.labels)
    assert shots[7].weather is frame.weather


def test_own_pictures_are_scored_against_the_labels_beside_them(
    tmp_path: Path, engines_path: Path, pictures: Path
) -> None:
    (pictures / "labels").mkdir()
    config = PipelineConfig(engines_folder=str(engines_path), condition="clear")
    pipeline = open_pipeline(config)
    for number in range(8):
        labels = pipeline.process(Frame(picture(number), number)).labels
        cv2.imwrite(str(pictures / "labels" / f"{number:03}.png"), labels)
    (pictures / "images" / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    code, last = finish(
        start(out, engines_path, str(pictures), "--rate", "5", "-p", "condition=clear")
    )
    assert code == 0, last
    report = json.loads((out / "report.json").read_text())
    assert report["frames"]["published"] == 8
    assert report["frames"]["unreadable"] == 1
    assert report["frames"]["labelled"] >= 6
    # what comes back over the wire is, pixel by pixel, what the pipeline says in this process
    assert report["miou"]["all"] == report["miou"]["clear"] == 1.0
    assert report["routes"]["clear"] == 1.0
    assert report["condition"] == {}  # nobody knows the true weather


def test_node_that_cannot_start_is_told_in_one_line(tmp_path: Path, pictures: Path) -> None:
    nowhere = tmp_path / "nowhere"
    code, last = finish(start(tmp_path / "out", nowhere, str(pictures)))
    assert code == 1
    assert last.startswith("demo: ")
    assert str(nowhere) in last


def test_node_that_dies_is_told_with_the_end_of_its_log(
    tmp_path: Path, engines_path: Path, pictures: Path
) -> None:
    demo = start(tmp_path / "out", engines_path, str(pictures), "--rate", "1")
    os.kill(wait_for_node(demo), signal.SIGKILL)
    code, last = finish(demo)
    assert code == 1
    assert "ended by itself (signal SIGKILL)" in last
    assert "node.log" in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_demonstration_leaves_no_node_behind(
    tmp_path: Path, engines_path: Path, pictures: Path, number: signal.Signals
) -> None:
    demo = start(tmp_path / "out", engines_path, str(pictures), "--rate", "1")
    node = wait_for_node(demo)
    demo.send_signal(number)
    assert finish(demo) == (130, "demo: stopped")
    assert not is_running(node)


def test_killed_demonstration_leaves_no_node_behind(
    tmp_path: Path, engines_path: Path, pictures: Path
) -> None:
    demo = start(tmp_path / "out", engines_path, str(pictures), "--rate", "1")
    node = wait_for_node(demo)
    demo.kill()
    finish(demo)
    give_up = time.monotonic() + 30
    while is_running(node) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not is_running(node)


@pytest.mark.parametrize("room", [0, 20_000], ids=["nothing", "some"])
def test_video_that_the_disk_does_not_hold_is_not_left_behind(tmp_path: Path, room: int) -> None:
    random = np.random.default_rng(0)
    with pytest.raises((DemoError, FileError)), files_at_most(room):  # noqa: SIM117
        with open_video(tmp_path / "drive.mp4", 10.0) as video:
            for _ in range(30):
                video.add(random.integers(0, 256, (96, 128, 3), np.uint8))
    assert everything_in(tmp_path) == []


def test_source_that_is_not_there_is_told_in_one_line(tmp_path: Path, engines_path: Path) -> None:
    code, last = finish(start(tmp_path / "out", engines_path, str(tmp_path / "nowhere")))
    assert code == 1
    assert "does not exist" in last


def test_delay_of_a_change_is_counted_from_the_true_change() -> None:
    truths = [CLEAR] * 4 + [RAIN] * 6
    routes = [CLEAR] * 7 + [RAIN] * 3
    found = follow(list(zip(truths, routes, strict=True)), rate_hz=10.0)
    assert found["changes"] == [{"to": "rain", "at_s": 0.4, "delay_s": 0.3}]
    assert found["agreement"] == 0.7
    assert found["all_followed"]


def test_change_that_no_route_followed_is_told_as_such() -> None:
    found = follow([(CLEAR, CLEAR), (RAIN, CLEAR)], rate_hz=10.0)
    assert found["changes"][0]["delay_s"] is None
    assert not found["all_followed"]


def test_chosen_moments_show_every_weather_alike() -> None:
    weathers = [CLEAR] * 90 + [RAIN] * 30
    chosen = choose(weathers, count=8)
    assert [weathers[number] for number in chosen] == [CLEAR] * 4 + [RAIN] * 4
    assert chosen[0] > 0
    assert choose([CLEAR], count=8) == [0]
