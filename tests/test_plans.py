"""TensorRT's plans are built once, never by two at once, and again where they do not fit."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adverse_perception.inference import EngineError, plans
from adverse_perception.inference.plans import PlanCache, Request, cache_folder

REQUEST = Request(
    "clear", "ab" * 32, ("logits",), "tensorrt", "10.3.0", "Orin", "sm_87",
    ((1, 96, 96), (1, 96, 128), (1, 192, 192)),
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]


class Kept:
    """A cache, what it told, and how often something was built."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.builds = 0
        self.folder = folder
        self._cache = PlanCache(folder, self.lines.append)

    def get(self, request: Request = REQUEST, refused: bytes = b"") -> plans.Plan:
        return self._cache.get(request, self._build, refused)

    def _build(self) -> bytes:
        self.builds += 1
        return b"plan %d" % self.builds

    def file(self, suffix: str) -> Path:
        (found,) = self.folder.glob(f"*{suffix}")
        return found


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "plans")


def test_a_plan_is_built_once_and_kept_with_what_it_is_for(kept: Kept) -> None:
    first, second = kept.get(), kept.get()
    assert (first.content, second.content, kept.builds) == (b"plan 1", b"plan 1", 1)
    assert first.path == second.path == kept.file(".plan")
    assert first.built_s > 0 == second.built_s
    told = json.loads(kept.file(".json").read_text())
    assert {"tensorrt", "10.3.0", "Orin", "sm_87", "ab" * 32} <= {
        value for value in told.values() if isinstance(value, str)
    }
    assert "there is none yet" in kept.lines[0]
    assert "Orin (sm_87), tensorrt 10.3.0" in kept.lines[0]


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"outputs": ("logits", "restored")},
        {"module": "tensorrt_rtx"},
        {"version": "10.16.1"},
        {"gpu": "Thor"},
        {"architecture": "sm_110"},
        {"sizes": ((1, 96, 96), (4, 96, 128), (4, 192, 192))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_plan_for_anything_else_is_not_used(kept: Kept, change: dict[str, Any]) -> None:
    other = replace(REQUEST, **change)
    kept.get()
    assert kept.get(other).content == b"plan 2"
    assert kept.get(other).content == b"plan 2"


def test_plans_of_several_machines_lie_side_by_side_and_a_new_version_replaces_the_old(
    kept: Kept,
) -> None:
    for request in (REQUEST, replace(REQUEST, gpu="Thor"), REQUEST):
        kept.get(request)
    assert (kept.builds, len(list(kept.folder.glob("*.plan")))) == (2, 2)
    kept.get(replace(REQUEST, version="10.16.1"))
    assert (kept.builds, len(list(kept.folder.glob("*.plan")))) == (3, 2)
    assert "version was 10.3.0, is 10.16.1" in kept.lines[-2]


def described(kept: Kept, **changes: object) -> None:
    told = json.loads(kept.file(".json").read_text())
    kept.file(".json").write_text(json.dumps({**told, **changes}))


DAMAGES: dict[str, tuple[Callable[[Kept], object], str]] = {
    "truncated plan": (
        lambda kept: kept.file(".plan").write_bytes(b"pla"), "is truncated or damaged"
    ),
    "flipped bit": (
        lambda kept: kept.file(".plan").write_bytes(b"plan 2"), "is truncated or damaged"
    ),
    "no plan": (lambda kept: kept.file(".plan").unlink(), ".plan is missing"),
    "no description": (lambda kept: kept.file(".json").unlink(), ".json is missing"),
    "broken description": (
        lambda kept: kept.file(".json").write_text('{"format": 1,'), ".json cannot be read"
    ),
    "description of bytes": (
        lambda kept: kept.file(".json").write_bytes(b"\xff\xfe"), ".json cannot be read"
    ),
    "description of a list": (
        lambda kept: kept.file(".json").write_text("[]"), "of another format"
    ),
    "later format": (lambda kept: described(kept, format=2), "of another format"),
    "foreign version": (
        lambda kept: described(kept, version="8.5.2"), "version was 8.5.2, is 10.3.0"
    ),
    "other GPU": (lambda kept: described(kept, gpu="Thor"), "gpu was Thor, is Orin"),
    "other weights": (lambda kept: described(kept, weights_sha256=None), "was None, is abab"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_match_is_built_again_with_one_line_that_says_why(
    kept: Kept, damage: str
) -> None:
    kept.get()
    break_it, words = DAMAGES[damage]
    break_it(kept)
    kept.lines.clear()
    assert kept.get().content == b"plan 2"
    assert [line for line in kept.lines if words in line] == kept.lines[:1]
    assert kept.get().content == b"plan 2"
    assert kept.builds == 2


def test_a_plan_that_the_gpu_refuses_is_built_again(kept: Kept) -> None:
    refused = kept.get().content
    assert kept.get(refused=refused).content == b"plan 2"
    assert "is refused by tensorrt" in kept.lines[-2]
    assert kept.get(refused=refused).content == b"plan 2"


def test_a_build_that_fails_leaves_what_was_there(kept: Kept) -> None:
    kept.get()
    described(kept, version="8.5.2")
    before = {path.name: path.read_bytes() for path in kept.folder.iterdir()}

    def fail() -> bytes:
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        PlanCache(kept.folder).get(REQUEST, fail)
    assert {path.name: path.read_bytes() for path in kept.folder.iterdir()} == before
    assert kept.get().content == b"plan 2"


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    kept = Kept(tmp_path / "file" / "plans")
    for number in (1, 2):
        plan = kept.get()
        assert (plan.content, plan.path) == (b"plan %d" % number, None)
        assert "cannot write" in plan.problem
    assert "free space or permissions there" in kept.lines[-1]
    assert "built at every start" in kept.lines[-1]


def test_a_full_disk_costs_time_only(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise plans.FileError("cannot write: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(plans, "write_json", full)
        assert "No space left" in kept.get().problem
    assert kept.get().problem == ""


def test_a_long_build_says_that_it_goes_on(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_TOLD_EVERY_S", 0.01)
    told = threading.Event()
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if "so far" in line:
            told.set()

    PlanCache(kept.folder, tell).get(REQUEST, lambda: b"plan" if told.wait(30) else b"")
    assert "0 s so far" in lines[1]
    assert lines[-1].startswith("built a plan of clear (logits) for Orin (sm_87)")


def test_plans_are_kept_where_such_files_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "adverse_perception/plans"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/adverse_perception/plans"


def test_an_engines_name_is_no_path(kept: Kept) -> None:
    kept.get(replace(REQUEST, engine="../my engine"))
    assert kept.file(".plan").name.startswith(".._my_engine-logits-")


BUILD = """
import sys, time
from pathlib import Path
from adverse_perception.inference import PlanSettings, read_engine, tensorrt_building
from adverse_perception.inference.tensorrt_building import Workshop
from adverse_perception.inference.tensorrt_module import find_library

build = tensorrt_building.build
def slowly(*what):
    print("begun", flush=True)
    sys.stdin.readline()
    return build(*what)
tensorrt_building.build = slowly
settings = PlanSettings(Path(sys.argv[2]), tell=lambda line: print(line, flush=True))
workshop = Workshop(find_library("tensorrt_rtx"), settings=settings)
(plan,) = workshop.plans(read_engine(Path(sys.argv[1]))).values()
print("built" if plan.built_s else "found", len(plan.content), plan.content[:4])
"""


def started(engine: Path, folder: Path, until: str) -> subprocess.Popen[str]:
    """A process that builds a plan, once it has said something."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(engine), str(folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert any(until in line for line in process.stdout), f"it never said {until}"
    return process


def test_of_two_processes_one_builds_and_the_other_waits_for_it(
    engines_path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    first = started(engines_path / "clear.onnx", tmp_path, "begun")
    second = started(engines_path / "clear.onnx", tmp_path, "waiting for another process")
    built, _ = first.communicate("go on\n", timeout=60)
    found, _ = second.communicate("", timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert built.splitlines()[-1].startswith("built ")
    assert found.splitlines() == [built.splitlines()[-1].replace("built", "found")]
    assert len(list(tmp_path.glob("*.plan"))) == 1
    assert not list(tmp_path.glob(".*"))  # nothing that was written aside is left
