"""The executable as a user has it: its own process, camera-sized pictures, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from adverse_perception.transport import PROFILE_VARIABLE
from tests.ros_bench import Bench, Image, bench, image, one_bench, picture

__all__ = ["bench", "one_bench"]

ROOT = Path(__file__).resolve().parents[1]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(engines_path: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_node(*arguments: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k != PROFILE_VARIABLE}
        environment["ROS_LOG_DIR"] = str(tmp_path)
        command = [sys.executable, "-m", "adverse_perception.node", "--ros-args"]
        command += ["-p", f"engines_folder:={engines_path}", *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_node
    for process in started:
        process.kill()
        process.communicate()


def labelling(bench: Bench, size: tuple[int, int] = (96, 128)) -> None:
    heard = bench.listen(Image, "camera/labels")
    bench.until(lambda: bench.send(image(picture(150, *size))) and (bench.spin(0.2) or heard), 60)
    assert (heard[0].height, heard[0].width) == size


def test_camera_sized_pictures_arrive_at_best_effort(bench: Bench, start: Start) -> None:
    process = start()
    labelling(bench, (1080, 1920))
    heard = bench.listen(Image, "camera/labels")
    for _ in range(5):
        bench.answer(image(picture(150, 1080, 1920)), heard)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM],
        [signal.SIGINT, signal.SIGINT],
        [signal.SIGTERM, signal.SIGINT, signal.SIGTERM],
    ],
    ids=lambda signals: "+".join(one.name for one in signals),
)
def test_signals_end_it_cleanly(bench: Bench, start: Start, signals: list[signal.Signals]) -> None:
    process = start()
    labelling(bench)
    for one in signals:
        process.send_signal(one)
        time.sleep(0.02)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in said) == (0, False), said


def test_a_parameter_file_that_cannot_be_read_ends_it_with_a_line(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("adverse_perception: [")
    process = start("--params-file", str(tmp_path / "bad.yaml"))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "perception_node: " in said and "Traceback" not in said
