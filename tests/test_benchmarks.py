"""The benchmarks themselves: one small run of their parts, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adverse_perception import kernels
from adverse_perception.inference import (
    engines_folder,
    load_engine,
    read_metadata,
    read_variant,
    variant_path,
)
from benchmarks.asked import Asked
from benchmarks.gpu import sized_engines
from benchmarks.street_pictures import street

ROOT = Path(__file__).resolve().parents[1]
MODULE = ("-m", "benchmarks")
WITHOUT_ROS = ("-c", "import sys; sys.modules['rclpy'] = None; import benchmarks.__main__ as all;"
               " sys.exit(all.main())")  # fmt: skip


def benchmarks(
    *words: str | Path, start: tuple[str, ...] = MODULE, **more: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *start, *map(str, words)]
    environment = os.environ | {"TQDM_DISABLE": "1"} | more
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_parts_are_printed_and_kept_beside_earlier_ones(
    engines_path: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "figures.json"
    for parts in (("engines",), ("stages", "cameras")):
        done = benchmarks(*parts, "--quick", "--engines", engines_path, "--json", kept)
        assert done.returncode == 0, done.stderr
        assert "all_weather" in done.stdout or "decode" in done.stdout
    records = json.loads(kept.read_text())
    engines = {Path(row["engine"]).stem for row in records["engines"]["rows"]}
    assert engines == {"weather", "clear", "all_weather"}
    (row,) = records["stages"]["rows"]
    assert {"decode", "resize", "infer", "label", "fill"} <= set(row["stages_ms"])
    assert records["stages"]["quick"] and records["stages"]["machine"]["cores"]
    for row in records["cameras"]["rows"]:
        assert row["frames/s"] > 1
        assert 0 < row["p50 ms"] <= row["p95 ms"]


@pytest.mark.timeout(120)
def test_the_node_is_driven_and_what_it_costs_is_told(engines_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    kept = tmp_path / "figures.json"
    done = benchmarks("node", "memory", "--quick", "--engines", engines_path, "--json", kept)
    assert done.returncode == 0, done.stderr
    records = json.loads(kept.read_text())
    twins, engines = records["node"]["loads"]
    for load in (twins, engines):
        assert load["sent"] == 30
        # at best effort one may be lost that nobody can count; one sent before may still come
        assert load["labelled"] + sum(load["dropped"].values()) == pytest.approx(30, abs=3)
        spent, inference = load["cpu_ms_per_frame"], load["inference_ms_per_frame"]
        assert 0 < spent["all"] < 1000
        assert inference > 0
        assert load["rest_ms_per_frame"] == pytest.approx(spent["all"] - inference, abs=0.02)
        assert spent["transport"] + spent["executor"] <= spent["all"] + 0.02
    assert 20 < records["memory"]["rss_mb"]["middle"] < records["memory"]["peak_mb"] + 1


def test_what_needs_ros_is_left_out_without_it_and_the_rest_is_measured(
    engines_path: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "figures.json"
    asked = ("node", "startup", "memory", "engines", "--quick", "--engines", engines_path)
    done = benchmarks(*asked, "--json", kept, start=WITHOUT_ROS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left out: benchmarks of the node need ROS 2") == 3
    assert set(json.loads(kept.read_text())) == {"engines"}


def test_without_a_gpu_its_part_is_left_out(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    done = benchmarks("gpu", "--json", kept, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert "left out: a GPU is needed" in done.stdout
    assert not kept.exists()


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    done = benchmarks("nodes")
    assert done.returncode == 2
    assert (
        "expected engines, stages, node, cameras, startup, memory, gpu, found 'nodes'"
        in done.stderr
    )


# What runs on a GPU only, as far as it goes without


def test_engines_of_another_size_keep_their_variants_for_a_gpu(tmp_path: Path) -> None:
    folder = sized_engines(Asked(tmp_path), 512, 1024)
    for name, size in (("clear", (512, 1024)), ("correction", (256, 512))):
        path = folder / f"{name}.onnx"
        chosen = read_variant(path, "auto", "tensorrt").file
        assert chosen.path == variant_path(path, "fp16")
        for told in (read_metadata(path), chosen.metadata):
            assert (told.input_height, told.input_width) == size
    usual = read_metadata(engines_folder() / "weather.onnx")
    assert read_metadata(folder / "weather.onnx").input_width == usual.input_width


def test_the_rival_in_torch_labels_as_the_shipped_engine_does() -> None:
    pytest.importorskip("torch")
    from benchmarks.torch_rival import TorchRoad

    picture = street((160, 96))[0]
    weights = ROOT / "training" / "weights" / "clear.pt"
    labels, _ = TorchRoad(weights, (96, 160), "eager", "cpu").run(picture)
    engine = load_engine(engines_folder() / "clear.onnx")
    expected, _ = kernels.label(engine.run(picture)["logits"], 96, 160)
    assert len(np.unique(expected)) > 2
    assert (labels == expected).mean() >= 0.999


def test_the_rival_in_half_precision_normalises_in_full() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.torch_rival import halved
    from training.networks.blocks import Normalise

    picture = torch.arange(192, dtype=torch.uint8).view(1, 8, 8, 3)
    network = halved(torch.nn.Sequential(Normalise(), torch.nn.Conv2d(3, 4, 1)))
    assert torch.equal(network[0](picture), Normalise()(picture).half())
    assert network(picture).dtype == torch.float16
