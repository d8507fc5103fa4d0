"""Every name of TensorRT that the source uses is in 10, 11 and TensorRT-RTX."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from adverse_perception.inference.tensorrt_module import find_library
from adverse_perception.kernels.device import Device

ROOT = Path(__file__).resolve().parents[1]
ROOM = ROOT / "adverse_perception/inference"
TABLE: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests/tensorrt_api.json").read_text(encoding="utf-8")
)["classes"]
BEYOND = {"DataType": {"name"}}
"""What every enumeration of the bindings has, beside the values in the table."""


def declared() -> dict[str, set[str]]:
    """The members of TensorRT that the source declares, by class; nothing else passes mypy."""
    found: dict[str, set[str]] = {}
    for name in ("tensorrt_api", "tensorrt_module"):
        for node in ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                defined = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                annotated = {
                    one.target.id
                    for one in node.body
                    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                }
                kept = {name for name in defined | annotated if not name.endswith("__")}
                found["module" if node.name == "Module" else node.name] = kept
    return found


def test_every_name_in_use_is_in_all_three_tensorrts() -> None:
    used = declared()
    assert {"Builder", "OnnxParser", "IExecutionContext", "module"} <= set(used)
    missing = {
        f"{kind}.{name}"
        for kind, names in used.items()
        for name in names - BEYOND.get(kind, set())
        if name not in TABLE.get(kind, {"all": ()})["all"]
    }
    assert not missing
    assert set(used) - {"module", "Dims", "IHostMemory"} <= set(TABLE)
    assert set(used) - {"module"} <= set(TABLE["module"]["all"])


def test_no_name_that_one_of_them_lacks_stands_anywhere_in_the_source() -> None:
    everywhere = {name for members in TABLE.values() for name in members["all"]}
    somewhere = {name for members in TABLE.values() for name in members["some"]} - everywhere
    assert {"FP16", "device_memory_size", "get_engine_validity", "set_compute_capability"} <= (
        somewhere
    )
    for path in sorted(ROOM.glob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        lacking = somewhere & (attributes | texts) - set(vars(Device))
        assert not lacking, path.name


def test_the_table_agrees_with_the_tensorrt_that_is_installed() -> None:
    pytest.importorskip("tensorrt_rtx")
    library = find_library("tensorrt_rtx")
    if library.version != "1.7.1.116":
        pytest.skip(f"the table has no {library}")
    for kind, members in TABLE.items():
        owner = library.module if kind == "module" else getattr(library.module, kind, None)
        has = {*members["all"], *(n for n, where in members["some"].items() if "R" in where)}
        lacks = set(members["some"]) - has
        assert [name for name in has if not hasattr(owner, name)] == []
        assert [name for name in lacks if hasattr(owner, name)] == []
