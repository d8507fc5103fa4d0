"""The real node survives whatever it is given, says what is wrong once, and goes on."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition

from tests.conftest import write_segmentation_engine
from tests.ros_bench import Bench, Image, bench, image, jpeg, one_bench, picture

__all__ = ["bench", "one_bench"]


def spoilt(message: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def cut(message: Any, left: int) -> Any:
    message.data = message.data[:left]
    return message


BAD_PICTURES: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown encoding": (lambda: spoilt(image(), encoding="bgr7"), "unknown encoding 'bgr7'"),
    "truncated": (lambda: cut(image(), 1000), "1000 bytes"),
    "empty": (lambda: cut(image(), 0), "found step 384 and 0 bytes"),
    "without pixels": (lambda: Image(encoding="rgb8"), "empty picture"),
    "short step": (lambda: spoilt(image(), step=10), "found step 10"),
    "half a block": (lambda: spoilt(image(encoding="uyvy"), width=127), "blocks of 2x1"),
}
BAD_JPEGS: dict[str, tuple[Callable[[], Any], str]] = {
    "cut off": (lambda: cut(jpeg(), 900), "cut off after 900 bytes"),
    "empty": (lambda: cut(jpeg(), 0), "without data"),
    "no picture": (lambda: spoilt(jpeg(), data=array.array("B", b"hello" * 9)), "cannot decode"),
}
CASES = [
    *(("raw", "camera/image_raw", image, *case) for case in BAD_PICTURES.values()),
    *(("compressed", "camera/image_raw/compressed", jpeg, *case) for case in BAD_JPEGS.values()),
]


@pytest.mark.parametrize(
    ("transport", "topic", "good", "bad", "reason"), CASES, ids=[*BAD_PICTURES, *BAD_JPEGS]
)
def test_a_bad_picture_is_complained_of_once_and_the_next_one_labelled(
    bench: Bench,
    engines_path: Path,
    transport: str,
    topic: str,
    good: Callable[[], Any],
    bad: Callable[[], Any],
    reason: str,
) -> None:
    bench.start(engines_path, image_transport=transport)
    heard = bench.listen(Image, "camera/labels")
    bench.answer(good(), heard, topic=topic)
    for _ in range(3):
        bench.send(bad(), topic)
        bench.spin(0.03)
    bench.answer(good(), heard, topic=topic)
    said = bench.until(lambda: [line for line in bench.log() if reason in line])
    assert len(said) == 1
    assert said[0].startswith("camera: ")


def test_an_unusable_picture_shows_in_the_diagnostics(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    bench.send(spoilt(image(), encoding="bgr7"))
    values = bench.until(
        lambda: bench.values("camera").get("dropped_unusable") == "1" and bench.values("camera")
    )
    assert "bgr7" in values["last_unusable"]
    assert "bgr7" in bench.status("camera").message


def test_the_size_may_change_in_mid_stream(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    heard = bench.listen(Image, "camera/labels")
    for size in ((96, 128), (48, 64), (100, 52), (96, 128)):
        labels = bench.answer(image(picture(150, *size)), heard)
        assert (labels.height, labels.width, labels.step) == (*size, size[1])


def test_stamps_may_jump(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    heard = bench.listen(Image, "camera/labels")
    for step_s in (0.1, 3600.0, -7200.0, 0.1):
        assert bench.answer(image(), heard, step_s=step_s)
    bench.until(lambda: any("stamps went back by 7200.0 s" in line for line in bench.log()))


def test_a_late_frame_is_dropped_and_counted(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path)
    heard = bench.listen(Image, "camera/labels")
    bench.answer(image(), heard)
    late = bench.send(image(), step_s=-0.1)
    bench.spin(0.2)
    bench.answer(image(), heard, step_s=0.2)
    assert late.header.stamp not in [labels.header.stamp for labels in heard]
    bench.until(lambda: bench.values("camera").get("dropped_out_of_order") == "1")


def test_a_camera_may_stop_and_come_back(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, silent_after_s=0.1)
    heard = bench.listen(Image, "camera/labels")
    bench.answer(image(), heard)
    bench.until(lambda: (s := bench.status("camera")) and s.level == b"\x03" and s)
    assert "no picture for" in bench.status("camera").message
    assert sum("no picture for" in line for line in bench.log()) <= 1
    assert bench.set_parameter("silent_after_s", 30.0).successful
    bench.answer(image(), heard, step_s=60.0)
    bench.until(lambda: bench.status("camera").level == b"\x00")


def truncate(engines: Path) -> None:
    path = engines / "clear.onnx"
    path.write_bytes(path.read_bytes()[:200])


def replace_by_text(engines: Path) -> None:
    (engines / "clear.onnx").write_text("no engine at all")


def wrong_classes(engines: Path) -> None:
    write_segmentation_engine(engines / "clear.onnx", ["clear"], classes=["cat", "dog"])


def remove_all(engines: Path) -> None:
    for path in engines.glob("*.onnx"):
        path.unlink()


@pytest.mark.parametrize("damage", [truncate, replace_by_text, wrong_classes, remove_all])
def test_a_bad_engine_is_refused_and_the_node_can_be_configured_anew(
    bench: Bench, own_engines_path: Path, engines_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(own_engines_path)
    bench.start(own_engines_path)
    status = bench.until(lambda: bench.status("node"))
    assert status.level == b"\x02"
    assert str(own_engines_path) in status.message
    assert not bench.change_state(Transition.TRANSITION_CONFIGURE)
    assert bench.set_parameter("engines_folder", str(engines_path)).successful
    assert bench.change_state(Transition.TRANSITION_CONFIGURE)
    assert bench.change_state(Transition.TRANSITION_ACTIVATE)
    assert bench.answer(image(), bench.listen(Image, "camera/labels"))


@pytest.mark.parametrize(
    ("name", "value", "mended", "reason"),
    [
        ("threads", 0, 1, "int from 1 to 64"),
        ("smoothing_s", 1, 1.0, "write 25.0 for 25"),
        ("condition", "snow", "auto", "one of auto, clear"),
        ("cameras", ["a", "a"], ["a"], "names that differ"),
    ],
)
def test_a_bad_value_at_start_is_explained_and_can_be_mended(
    bench: Bench, engines_path: Path, name: str, value: Any, mended: Any, reason: str
) -> None:
    bench.start(engines_path, **{name: value})
    bench.until(lambda: any(name in line and reason in line for line in bench.log()))
    assert not bench.change_state(Transition.TRANSITION_CONFIGURE)
    assert bench.set_parameter(name, mended).successful
    assert bench.change_state(Transition.TRANSITION_CONFIGURE)


def test_an_unknown_parameter_is_named_once(bench: Bench, engines_path: Path) -> None:
    bench.start(engines_path, treads=2)
    bench.until(lambda: "unknown parameter treads: did you mean threads?" in bench.log())
