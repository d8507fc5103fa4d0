"""The study of propagation: what its figures mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.files import write_picture

torch = pytest.importorskip("torch")

from tests.conftest import write_correction_engine, write_segmentation_engine  # noqa: E402
from tests.toys import moved  # noqa: E402
from tests.videos import textured_video  # noqa: E402
from training.datasets import read_image  # noqa: E402
from training.network_engine import NetworkEngine  # noqa: E402
from training.studies import carried  # noqa: E402
from training.studies import propagation as study  # noqa: E402
from training.studies.driving import driven, steadiness  # noqa: E402
from training.studies.videos import _agreed  # noqa: E402
from training.video_recipes import VIDEO_RECIPES  # noqa: E402
from training.video_scores import EveryFrame, FlowOnly, Held, LightStep  # noqa: E402

VIDEO = textured_video(14, 8)
TOY = replace(VIDEO_RECIPES["correction"], width=16, size=(96, 128))


@pytest.fixture(scope="module")
def correction() -> NetworkEngine:
    return NetworkEngine(TOY, moved(TOY.network()))


def test_curve_begins_at_the_key_network_and_falls_with_the_distance() -> None:
    held = study.curve(Held, [VIDEO])
    whole = study.curve(EveryFrame, [VIDEO])
    assert held["0"] == pytest.approx(whole["5"])
    assert held["0"] > held["1"] > held["4"]
    assert held["mean 0-4"] == pytest.approx(np.mean([held[str(d)] for d in range(5)]))


def test_labels_that_move_with_the_picture_are_steady_and_held_ones_are_not() -> None:
    true = [frame.labels for frame in VIDEO]
    assert steadiness(true, VIDEO) == 1.0
    assert steadiness([true[0]] * len(true), VIDEO) < 0.95


def test_key_frames_come_at_the_interval(correction: NetworkEngine) -> None:
    rows = {interval: study.drive_row(FlowOnly, [VIDEO], interval) for interval in (1, 5)}
    assert rows[1]["key frames"] == 1.0
    assert rows[5]["key frames"] == pytest.approx(3 / 14)
    assert float(rows[1]["mIoU"] or 0) >= float(rows[5]["mIoU"] or 0) > 60


def test_a_low_limit_of_distortion_makes_every_frame_a_key_frame(
    correction: NetworkEngine,
) -> None:
    always = driven(LightStep(correction), VIDEO, 20, 0.0)
    never = driven(LightStep(correction), VIDEO, 20, 1.0)
    assert (always.keyframes, never.keyframes) == (14, 1)
    assert len(always.labels) == len(never.labels) == 14


def test_choice_by_distortion_stands_beside_a_fixed_interval_of_equal_cost(
    correction: NetworkEngine,
) -> None:
    rows = study.adaptive_rows(lambda: LightStep(correction), [VIDEO])
    assert [row["fixed"] is None for row in rows] == [True] * 6 + [False] * 7
    text = study.text_of({"drawn": {"keyframes": rows}}, "command")
    assert "| every 5 frames |" in text
    assert "| distortion over 0.1 |" in text


def test_flow_that_does_not_return_is_unknown() -> None:
    back = np.full((8, 8, 2), 1.0, np.float32)
    assert not np.isnan(_agreed(back, -back)).any()
    assert np.isnan(_agreed(back, back)).all()


def test_a_sheet_shows_every_distance_beside_what_it_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_segmentation_engine(tmp_path / "clear.onnx", size=(96, 128))
    write_correction_engine(tmp_path / "correction.onnx")
    paths = [str(tmp_path / f"{number}.png") for number in range(4)]
    for path, frame in zip(paths, VIDEO, strict=False):
        write_picture(Path(path), frame.working)
    told = ["--engines", str(tmp_path), "--images", *paths, "--out", str(tmp_path / "sheet.png")]
    assert carried.main([*told, "--after", "1", "3"]) == 0
    height, width = VIDEO[0].working.shape[:2]
    assert read_image(tmp_path / "sheet.png").shape == (2 * height, 5 * width, 3)
    assert carried.main([*told, "--after", "4"]) == 2
    assert "expected distances from 1 to 3, found 4" in capsys.readouterr().err
