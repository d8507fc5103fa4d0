"""The package as colcon and pip see it: described once, complete when installed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import Field
from email.utils import parseaddr
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any
from xml.etree import ElementTree

import pytest

import adverse_perception
from adverse_perception.config import NodeConfig, knobs
from adverse_perception.topics import CAMERA_INFO, IMAGES, LABEL_INFO, LATCHED_TEXTS, TEXTS

ROOT = Path(__file__).resolve().parents[1]
NAME = "adverse_perception"
SHARE = f"{NAME}-{adverse_perception.__version__}.data/data/share"


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a clean copy, so that what lies about in the checkout cannot help."""
    source = tmp_path_factory.mktemp("source")
    (source / "resource").mkdir()
    for path in [*ROOT.glob("*.*"), *(ROOT / "resource").iterdir()]:
        if path.is_file():
            copy(path, source / path.relative_to(ROOT))
    for room in (NAME, "training", "demo", "launch", "config", "rviz", "engines"):
        copytree(ROOT / room, source / room, ignore=ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    run([sys.executable, "-c", build, str(source / "dist")], source)
    return zipfile.ZipFile(next((source / "dist").glob("*.whl")))


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result


def test_version_is_the_same_everywhere(
    manifest: ElementTree.Element, wheel: zipfile.ZipFile
) -> None:
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    latest = re.search(r"^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)\n-+$", changelog, re.MULTILINE)
    assert latest is not None
    metadata = wheel.read(f"{NAME}-{adverse_perception.__version__}.dist-info/METADATA").decode()
    assert manifest.findtext("version") == adverse_perception.__version__ == latest[1]
    assert f"\nVersion: {adverse_perception.__version__}\n" in metadata


def test_manifest_is_what_ros_tools_accept(manifest: ElementTree.Element) -> None:
    assert manifest.attrib["format"] == "3"
    assert manifest.findtext("name") == NAME
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest.findtext("version", ""))
    assert manifest.findtext("license") == "Apache-2.0"
    assert manifest.findtext("export/build_type") == "ament_python"
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    address = parseaddr(maintainer.attrib["email"])[1]
    assert re.fullmatch(r"[\w.+-]+@[\w.-]+\.[a-z]{2,}", address)


def test_manifest_names_every_ros_package_that_is_imported(manifest: ElementTree.Element) -> None:
    sources = [*(ROOT / NAME).glob("**/*.py"), *(ROOT / "launch").glob("*.py")]
    pattern = re.compile(
        r"^\s*(?:from|import) (\w+_msgs|rclpy|cv_bridge|ament_index_python|launch\w*)\b",
        re.MULTILINE,
    )
    imported = {name for path in sources for name in pattern.findall(path.read_text("utf-8"))}
    named = {element.text for element in manifest.findall("exec_depend")}
    assert imported - named == set()
    assert {"rclpy", "sensor_msgs"} <= imported


def test_ament_finds_the_package_by_its_marker(wheel: zipfile.ZipFile) -> None:
    assert f"{SHARE}/ament_index/resource_index/packages/{NAME}" in wheel.namelist()
    assert f"{SHARE}/{NAME}/package.xml" in wheel.namelist()


@pytest.mark.parametrize(
    ("folder", "needed"),
    [
        ("launch", {"car.launch.py", "replay.launch.py"}),
        ("config", {"car.yaml", "fastdds.xml"}),
        ("rviz", {"car.rviz"}),
        ("engines", {"weather.onnx", "clear.onnx", "all_weather.onnx"}),
        ("engines/fp16", {"weather.onnx", "clear.onnx"}),
        ("engines/int8", {"weather.onnx", "clear.onnx"}),
    ],
)
def test_share_holds_what_a_drive_needs(
    wheel: zipfile.ZipFile, folder: str, needed: set[str]
) -> None:
    prefix = f"{SHARE}/{NAME}/{folder}/"
    installed = {name.removeprefix(prefix) for name in wheel.namelist() if prefix in name}
    assert needed <= installed


def test_only_what_drives_is_installed(wheel: zipfile.ZipFile) -> None:
    rooms = {name.split("/")[0] for name in wheel.namelist()}
    assert rooms == {
        NAME,
        Path(SHARE).parts[0],
        f"{NAME}-{adverse_perception.__version__}.dist-info",
    }


def test_colcon_finds_the_package_through_the_workspace() -> None:
    linked = ROOT / "ros_ws" / "src" / NAME
    assert linked.is_symlink()
    assert not linked.readlink().is_absolute()
    assert (linked / "package.xml").samefile(ROOT / "package.xml")


def test_colcon_puts_executables_where_ros2_run_looks(tmp_path: Path) -> None:
    install = ["install", "--prefix", str(tmp_path), "--single-version-externally-managed"]
    install += ["--record", str(tmp_path / "record")]
    build = ["egg_info", "--egg-base", str(tmp_path), "build", "--build-base", str(tmp_path / "b")]
    run([sys.executable, "setup.py", "-q", *build, *install], ROOT)
    assert (tmp_path / "lib" / NAME / "perception_node").is_file()
    assert (tmp_path / "lib" / NAME / "adverse-perception").is_file()
    assert (tmp_path / "share" / NAME / "package.xml").is_file()


def test_command_line_explains_itself() -> None:
    shown = run([sys.executable, "-m", NAME, "--help"], ROOT).stdout
    assert all(command in shown for command in ("segment", "replay", "engines", "node"))


def test_constraints_pin_every_dependency_exactly() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9.-]+==[\w.]+( *;.*)?$", pin) for pin in pins)
    described = set(
        re.findall(r'^ {4,8}"([a-z0-9-]+)[\[=<>]', (ROOT / "setup.py").read_text(), re.M)
    )
    assert "ros-rclpy" in described and "torch" in described
    assert described - {pin.split("==")[0] for pin in pins} == set()


@pytest.mark.parametrize("knob", list(knobs(NodeConfig)), ids=lambda knob: knob.name)
def test_every_parameter_is_documented_with_its_default(knob: Field[Any]) -> None:
    kind = type(knob.default)
    words = {
        bool: str(knob.default).lower(),
        tuple: ", ".join(knob.default) if kind is tuple else "",
    }
    default = words.get(kind, str(knob.default) or '""')
    text = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
    assert f"\n| `{knob.name}` | {default} |" in text


@pytest.mark.parametrize("topic", [*IMAGES, *TEXTS, *LATCHED_TEXTS, CAMERA_INFO, LABEL_INFO])
def test_every_topic_is_documented(topic: str) -> None:
    text = (ROOT / "docs" / "topics.md").read_text(encoding="utf-8")
    assert f"\n| `<camera>/{topic}` |" in text
