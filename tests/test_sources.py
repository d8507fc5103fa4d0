"""Pictures, folders and videos as sources."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from adverse_perception.labels import CLASS_NAMES
from adverse_perception.recordings import SourceError
from adverse_perception.sources import open_source
from tests.drives import HEIGHT, WIDTH, picture, truncate
from tests.shell import save


def labels(value: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Three labelled pictures in the layout of the data packs."""
    for number, name in enumerate(("b", "a", "c")):
        save(tmp_path / "pack/images/test" / f"{name}.png", picture(number))
        save(tmp_path / "pack/labels/test" / f"{name}.png", labels(number))
    return tmp_path / "pack"


def test_a_folder_gives_its_pictures_in_order_of_name_with_the_labels_beside(pack: Path) -> None:
    frames = list(open_source(pack / "images/test", rate_hz=10))

    assert [frame.name for frame in frames] == ["a", "b", "c"]
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]
    assert [int(frame.labels.max()) for frame in frames if frame.labels is not None] == [1, 0, 2]
    np.testing.assert_array_equal(frames[0].image, picture(1))


def test_a_pack_is_read_without_taking_its_labels_for_pictures(pack: Path) -> None:
    assert [frame.name for frame in open_source(pack)] == ["test/a", "test/b", "test/c"]


def test_labels_are_found_in_a_folder_beside_or_inside(tmp_path: Path) -> None:
    save(tmp_path / "camera/one.png", picture(0))
    save(tmp_path / "labels/one.png", labels(3))
    save(tmp_path / "camera/two.png", picture(1))
    save(tmp_path / "camera/labels/two.png", labels(4))

    found = [frame.labels for frame in open_source(tmp_path / "camera")]

    assert [int(truth.max()) for truth in found if truth is not None] == [3, 4]


def test_labels_of_other_classes_are_not_used(pack: Path) -> None:
    others = [{"id": 0, "name": "road"}, {"id": 1, "name": "sky"}]
    (pack / "classes.json").write_text(json.dumps({"classes": others}))
    assert [frame.labels for frame in open_source(pack)] == [None] * 3

    ours = [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES)]
    (pack / "classes.json").write_text(json.dumps({"classes": ours}))
    assert all(frame.labels is not None for frame in open_source(pack))


@pytest.mark.parametrize(
    ("wrong", "said"), [(labels(0, 10, 10), "expected one 8-bit"), (labels(77), "class id 77")]
)
def test_labels_that_do_not_fit_are_named(pack: Path, wrong: np.ndarray, said: str) -> None:
    save(pack / "labels/test/a.png", wrong)
    source = open_source(pack)

    assert [frame.name for frame in source] == ["test/b", "test/c"]
    assert said in source.drops.messages["unreadable"]
    assert "labels/test/a.png" in source.drops.messages["unreadable"]


def test_unreadable_pictures_are_counted_and_left_out(tmp_path: Path) -> None:
    save(tmp_path / "good.jpg", picture(0))
    truncate(save(tmp_path / "cut.jpg", picture(1)), 0.6)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    source = open_source(tmp_path)

    for _ in range(2):  # a second iteration counts anew
        assert [frame.name for frame in source] == ["good"]
        assert source.drops.counts == {"unreadable": 3}
    assert "cut.jpg" in source.drops.messages["unreadable"]


def test_grey_and_16_bit_pictures_become_rgb(tmp_path: Path) -> None:
    deep = (picture(0).astype(np.uint16) * 257)[:, :, ::-1]
    assert cv2.imwrite(str(tmp_path / "deep.png"), deep)
    save(tmp_path / "grey.png", labels(99))

    images = {frame.name: frame.image for frame in open_source(tmp_path)}

    np.testing.assert_allclose(images["deep"], picture(0), atol=1)
    np.testing.assert_array_equal(images["grey"], np.full((HEIGHT, WIDTH, 3), 99, np.uint8))


def test_a_video_gives_its_frames_with_their_times(tmp_path: Path) -> None:
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (WIDTH, HEIGHT))
    for number in range(5):
        writer.write(cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR))
    writer.release()
    source = open_source(path)
    frames = list(source)

    assert source.continuous
    assert len(source) == len(frames) == 5
    assert [frame.stamp_ns for frame in frames] == [number * 50_000_000 for number in range(5)]
    assert frames[3].name == "drive/000003"
    # MJPG is lossy; swapped channels would be much further away
    assert np.abs(frames[2].image.astype(int) - picture(2)).mean() < 12


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.jpg", "does not exist"),
        ("text.mp4", "neither a video nor a picture"),
        ("empty", "holds no pictures"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "text.mp4").write_text("not a video at all")
    (tmp_path / "empty").mkdir()

    with pytest.raises(SourceError, match=said) as refused:
        open_source(tmp_path / name)

    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
