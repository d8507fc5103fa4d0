"""What a user launches: launch files, parameter file, transport profile, RViz."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from adverse_perception import topics
from adverse_perception.config import NodeConfig, configured, knobs

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = ("car.launch.py", "replay.launch.py")
yaml = pytest.importorskip("yaml")


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_launch_files_are_python_that_runs_on_every_supported_version(name: str) -> None:
    compile((ROOT / "launch" / name).read_text(), name, "exec")


def parameter_file() -> dict[str, object]:
    return yaml.safe_load((ROOT / "config/car.yaml").read_text())["/**"]["ros__parameters"]


def test_the_parameter_file_says_what_holds_without_it() -> None:
    values = parameter_file()
    assert set(values) == {knob.name for knob in knobs(NodeConfig)}
    assert configured(NodeConfig, values) == NodeConfig()
    floats = [knob.name for knob in knobs(NodeConfig) if isinstance(knob.default, float)]
    assert all(isinstance(values[name], float) for name in floats)


def test_the_parameter_file_marks_what_may_change_while_running() -> None:
    lines = (ROOT / "config/car.yaml").read_text().splitlines()
    for knob in knobs(NodeConfig):
        line = next(line for line in lines if line.strip().startswith(f"{knob.name}:"))
        assert ("# live" in line) == knob.metadata["live"], knob.name


def test_the_profile_leaves_no_small_segment_in_use() -> None:
    tree = ElementTree.parse(ROOT / "config/fastdds.xml")
    space = "{http://www.eprosima.com}"
    sizes = {e.tag.removeprefix(space): e.text for e in tree.iter() if e.text}
    assert int(sizes["segment_size"]) >= 2.5 * 1920 * 1080 * 3
    assert sizes["useBuiltinTransports"] == "false"
    participant = next(tree.iter(f"{space}participant"))
    assert participant.get("is_default_profile") == "true"


def test_rviz_shows_pictures_that_are_published() -> None:
    shown = yaml.safe_load((ROOT / "rviz/car.rviz").read_text())["Visualization Manager"]
    found = {d["Topic"]["Value"]: d for d in shown["Displays"]}
    assert {"/camera/image_raw", "/camera/overlay", "/camera/color"} <= set(found)
    ours = {f"/camera/{name}" for name in topics.IMAGES}
    assert set(found) - {"/camera/image_raw"} <= ours
    assert all(display["Topic"]["Depth"] == 1 for display in found.values())


def loaded(name: str) -> ModuleType:
    pytest.importorskip("launch_ros")  # "launch" alone would be found: it is a folder of ours
    spec = importlib.util.spec_from_file_location(name.split(".")[0], ROOT / "launch" / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_launch_argument_is_described(name: str) -> None:
    described = loaded(name).generate_launch_description()
    actions = described.get_launch_arguments()
    assert len(actions) >= 5
    assert all(action.description for action in actions)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a workspace in which the package is installed."""
    marker = tmp_path / "share/ament_index/resource_index/packages/adverse_perception"
    marker.parent.mkdir(parents=True)
    marker.touch()
    share = tmp_path / "share/adverse_perception"
    share.mkdir()
    for folder in ("config", "launch", "rviz"):
        (share / folder).symlink_to(ROOT / folder)
    executable = tmp_path / "lib/adverse_perception/perception_node"
    executable.parent.mkdir(parents=True)
    code = "from adverse_perception.node import main; main()"
    executable.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    executable.chmod(0o755)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    prefixes = os.pathsep.join([str(tmp_path), os.environ.get("AMENT_PREFIX_PATH", "")])
    yield {**os.environ, "PYTHONPATH": paths, "AMENT_PREFIX_PATH": prefixes}


LAUNCHED = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [tuple(word.split(":=")) for word in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


def test_a_launched_car_labels_and_ends_with_ctrl_c(
    engines_path: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("launch_ros")
    from tests.ros_bench import Bench, Image, image

    bench = Bench()
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    command = [sys.executable, str(script), str(ROOT / "launch/car.launch.py")]
    command += ["cameras:=front, rear", f"engines:={engines_path}", "namespace:=car"]
    process = subprocess.Popen(
        command, env={**installed, "ROS_DOMAIN_ID": os.environ["ROS_DOMAIN_ID"]},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        heard = bench.listen(Image, "car/rear/labels")
        bench.until(
            lambda: bench.send(image(), "car/rear/image_raw") and (bench.spin(0.2) or heard), 60
        )
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert "process has finished cleanly" in said, said
    finally:
        process.kill()
        bench.close()
