"""The engines at hand, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import write_correction_engine
from tests.shell import command, is_one_line


def test_engines_are_listed_with_what_they_say_about_themselves(
    tmp_path: Path, engines_path: Path
) -> None:
    code, out, _ = command(
        "engines", "list", "--engines", engines_path, "--json", tmp_path / "list.json"
    )

    assert code == 0
    assert "clear/rain/fog/night" in out
    records = json.loads((tmp_path / "list.json").read_text())["engines"]
    roles = {record["name"]: record["role"] for record in records}
    assert roles == {"weather": "weather", "clear": "segmentation", "all_weather": "segmentation"}


def test_a_damaged_engine_fails_the_check_and_the_others_pass(own_engines_path: Path) -> None:
    assert command("engines", "check", "--engines", own_engines_path)[0] == 0
    content = bytearray((own_engines_path / "clear.onnx").read_bytes())
    # a weight, not the structure: only the checksum can tell
    place = content.find(b"bias") - 8
    content[place] ^= 1
    (own_engines_path / "clear.onnx").write_bytes(content)

    code, out, err = command("engines", "check", "--engines", own_engines_path)

    assert code == 1
    assert "clear.onnx        refused" in out
    assert is_one_line(err, "clear.onnx")


def test_a_correction_engine_is_checked_and_timed_with_what_it_reads(tmp_path: Path) -> None:
    write_correction_engine(tmp_path / "correction.onnx")
    assert command("engines", "check", "--engines", tmp_path)[0] == 0
    code, out, _ = command("engines", "bench", "--engines", tmp_path, "--frames", "2")
    assert code == 0
    assert "correction.onnx" in out


def test_the_bench_names_engine_machine_and_percentiles(
    tmp_path: Path, engines_path: Path
) -> None:
    words = ("engines", "bench", "clear", "--engines", engines_path, "--frames", 4)

    code, out, _ = command(*words, "--size", "160x100", "--json", tmp_path / "bench.json")

    assert code == 0
    assert "p95" in out
    (record,) = json.loads((tmp_path / "bench.json").read_text())["engines"]
    assert record["size"] == "160x96"
    assert set(record["latency_ms"]) == {"infer", "label"}
    assert record["latency_ms"]["infer"]["p50"] > 0
    assert record["machine"]["cpu"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nope",), "no engine nope: expected one of all_weather, clear, weather"),
        (("--frames", "0"), "--frames: expected 1 or more, found 0"),
        (("--size", "big"), "WIDTHxHEIGHT"),
    ],
)
def test_a_bench_that_cannot_be_done_ends_with_one_clear_line(
    engines_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = command("engines", "bench", *words, "--engines", engines_path)

    assert code == 1
    assert is_one_line(err, said)
