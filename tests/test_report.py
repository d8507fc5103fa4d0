"""What a run says of itself at the end, and how it is written."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.files import FileError, write_aside, write_json
from adverse_perception.frames import Condition, Segmentation, Weather
from adverse_perception.report import Report, machine, summary, table
from tests.drives import everything_in


def said(weather: Weather, value: int, infer_ms: float = 1.0) -> Segmentation:
    labels = np.full((4, 4), value, np.uint8)
    return Segmentation(labels, labels, Condition(weather), "tiny", timing_ms={"infer": infer_ms})


def test_scores_are_counted_for_all_and_by_weather() -> None:
    report = Report("test")
    truth = np.full((4, 4), 2, np.uint8)
    report.add(said(Weather.CLEAR, 2), truth)
    report.add(said(Weather.NIGHT, 3), truth)
    report.add(said(Weather.NIGHT, 3))  # without truth: a route, not a score

    record = report.record()

    assert record["miou"] == {"all": 0.25, "clear": 1.0, "rain": None, "fog": None, "night": 0.0}
    assert record["routes"] == {"clear": 0.3333, "rain": 0.0, "fog": 0.0, "night": 0.6667}
    assert record["iou"]["pole"] == 0.5
    assert record["iou"]["sky"] is None


def test_latency_is_told_by_stage() -> None:
    report = Report("test")
    for duration_ms in range(1, 101):
        report.add(said(Weather.CLEAR, 0, infer_ms=duration_ms))

    assert report.record()["latency_ms"] == {"infer": {"p50": 50.5, "p95": 95.05, "p99": 99.01}}


def kind(keyframe: bool, total_ms: float, distortion: float | None = None) -> Segmentation:
    """A frame of this kind that took so long, in two stages."""
    timing = {"infer": total_ms - 1, "label": 1.0}
    plain = said(Weather.CLEAR, 0)
    return replace(plain, keyframe=keyframe, distortion=distortion, timing_ms=timing)


def test_key_frames_are_told_apart_from_the_frames_between(tmp_path: Path) -> None:
    report = Report("test")
    report.add(kind(True, 41.0))
    for number in range(1, 5):
        report.add(kind(False, 10.0 + number, distortion=number / 10))
    report.write(tmp_path / "report.json")

    told = json.loads((tmp_path / "report.json").read_text())["keyframes"]

    assert (told["count"], told["share"]) == (1, 0.2)
    assert told["distortion"] == {"p50": 0.25, "p95": 0.385}
    latency = told["latency_ms"]
    assert latency["key frame"] == {"mean": 41, "p50": 41, "p95": 41, "p99": 41}
    assert (latency["between"]["p50"], latency["between"]["p99"]) == (12.5, 13.97)
    assert latency["all"]["mean"] == pytest.approx(18.2)
    shown = summary(report.record())
    assert "key frames: 1, share 0.200, mean distortion 0.250 (p50)" in shown
    assert "between" in shown


def test_where_nothing_is_carried_on_every_frame_is_a_key_frame() -> None:
    report = Report("test")
    report.add(kind(True, 41.0))

    record = report.record()

    assert (record["keyframes"]["share"], record["keyframes"]["distortion"]) == (1.0, None)
    assert set(record["keyframes"]["latency_ms"]) == {"all", "key frame"}
    assert "between" not in summary(record)


def test_a_report_without_frames_is_valid_json(tmp_path: Path) -> None:
    Report("nothing").write(tmp_path / "report.json")

    record = json.loads((tmp_path / "report.json").read_text())
    assert record["frames"]["labelled"] == 0
    assert record["keyframes"] == {
        "count": 0,
        "share": 0.0,
        "distortion": None,
        "latency_ms": {},
    }
    assert "mIoU" in summary({**record})


def test_the_machine_is_described_well_enough_to_compare_figures() -> None:
    described = machine()

    assert described["cpu"]
    assert described["cores"] >= 1
    assert described["numpy"] == np.__version__


def test_a_table_lines_its_columns_up() -> None:
    lines = table(("name", "share"), [("clear", 0.5), ("a", None)]).splitlines()

    assert lines == ["name   share", "------------", "clear  0.500", "a      -"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep/report.json"
    write_json(target, {"run": 1})
    with pytest.raises(RuntimeError), write_aside(target) as aside:
        aside.write_text("half")
        raise RuntimeError

    assert json.loads(target.read_text()) == {"run": 1}
    assert everything_in(tmp_path) == ["deep/report.json"]


def test_a_written_file_can_be_read_by_others_as_the_umask_says(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_json(tmp_path / "report.json", {})

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "report.json")]
    assert modes[0] == modes[1]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(FileError, match=r"cannot write .*out/report\.json"):
        write_json(tmp_path / "out/report.json", {})
