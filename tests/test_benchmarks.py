"""The benchmarks themselves: one small run of their parts, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

ROOT = Path(__file__).resolve().parents[1]


def benchmarks(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, words)]
    environment = os.environ | {"TQDM_DISABLE": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_parts_are_printed_and_kept_beside_earlier_ones(
    engines_path: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "figures.json"
    for part in ("engines", "stages"):
        done = benchmarks(part, "--quick", "--engines", engines_path, "--json", kept)
        assert done.returncode == 0, done.stderr
        assert "all_weather" in done.stdout or "decode" in done.stdout
    records = json.loads(kept.read_text())
    engines = {Path(row["engine"]).stem for row in records["engines"]["rows"]}
    assert engines == {"weather", "clear", "all_weather"}
    (row,) = records["stages"]["rows"]
    assert {"decode", "resize", "infer", "label", "fill"} <= set(row["stages_ms"])
    assert records["stages"]["quick"] and records["stages"]["machine"]["cores"]


@pytest.mark.timeout(120)
def test_the_node_is_driven_and_what_it_costs_is_told(engines_path: Path, tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    done = benchmarks("node", "memory", "--quick", "--engines", engines_path, "--json", kept)
    assert done.returncode == 0, done.stderr
    records = json.loads(kept.read_text())
    twins, engines = records["node"]["loads"]
    for load in (twins, engines):
        assert load["sent"] == load["labelled"] + sum(load["dropped"].values()) == 30
        spent = load["cpu_ms_per_frame"]
        assert 0 < load["rest_ms_per_frame"] < spent["all"] < 1000
        assert spent["transport"] + spent["executor"] < spent["all"]
    assert 20 < records["memory"]["rss_mb"]["middle"] < records["memory"]["peak_mb"] + 1


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    done = benchmarks("nodes")
    assert done.returncode == 2
    assert "expected engines, stages, node, cameras, startup, memory, gpu, found 'nodes'" in done.stderr
