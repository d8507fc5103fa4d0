"""What a run says of itself at the end, and how it is written."""

from __future__ import annotations

import json
import stat
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


def test_a_report_without_frames_is_valid_json(tmp_path: Path) -> None:
    Report("nothing").write(tmp_path / "report.json")

    record = json.loads((tmp_path / "report.json").read_text())
    assert record["frames"]["labelled"] == 0
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
