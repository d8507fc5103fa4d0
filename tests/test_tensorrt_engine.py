"""TensorRT's engines at work: on a GPU where there is one, on a stand-in for it everywhere."""

from __future__ import annotations

import gc
import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from adverse_perception.config import PipelineConfig
from adverse_perception.engines import Engines
from adverse_perception.frames import Frame, Weather
from adverse_perception.inference import (
    EngineError,
    PlanSettings,
    load_engine,
    tensorrt_backend,
)
from adverse_perception.inference.tensorrt_module import usable
from adverse_perception.kernels import sharing
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.labels import CLASS_NAMES
from adverse_perception.propagation import EVIDENCE
from tests.conftest import write_correction_engine, write_joint_engine

pytest.importorskip("tensorrt_rtx")

from tests.stand_in_tensorrt import StandIn

PICTURE = np.random.default_rng(5).integers(0, 256, (96, 128, 3)).astype(np.uint8)
SMALL = PICTURE[::2, ::2]
MAPS = {
    name: np.random.default_rng(6).random((planes, 24, 32), np.float32)
    for name, planes in (("warped", len(CLASS_NAMES)), ("evidence", len(EVIDENCE)))
}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(monkeypatch)


@pytest.fixture
def plans(tmp_path: Path) -> PlanSettings:
    return PlanSettings(tmp_path / "plans")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, engines_path: Path) -> Path:
    """A folder with an engine of every role."""
    path = tmp_path_factory.mktemp("every_role")
    for name in ("weather", "clear"):
        (path / f"{name}.onnx").write_bytes((engines_path / f"{name}.onnx").read_bytes())
    write_joint_engine(path / "joint.onnx")
    write_correction_engine(path / "correction.onnx")
    return path


WORK = {
    "clear": (PICTURE, (), {}),
    "joint": (PICTURE, (), {}),
    "joint labels": (PICTURE, ("logits",), {}),
    "joint picture": (PICTURE, ("restored",), {}),
    "correction": (SMALL, (), MAPS),
    "weather": (SMALL[:24, :32], (), {}),
    "a view": (PICTURE[:, ::-1], (), {}),
}
ENGINES = {"joint labels": "joint", "joint picture": "joint", "a view": "clear"}


def check_work(folder: Path, work: str, plans: PlanSettings, tolerance: float) -> None:
    """Compare an engine with the same one on ONNX Runtime."""
    path = folder / f"{ENGINES.get(work, work)}.onnx"
    picture, outputs, maps = WORK[work]
    found = load_engine(path, backend="tensorrt", plans=plans).run(picture, outputs, maps)
    wanted = load_engine(path).run(picture, outputs, maps)
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
        scale = tolerance * max(1.0, float(np.abs(values).max()))
        difference = np.abs(found[name].astype(np.float64) - values.astype(np.float64))
        assert difference.max() <= scale, name


@pytest.mark.gpu
@pytest.mark.parametrize("work", WORK)
def test_on_a_gpu_tensorrt_computes_what_onnx_runtime_does(
    folder: Path, work: str, plans: PlanSettings
) -> None:
    if not usable():
        pytest.skip("needs tensorrt or tensorrt_rtx")
    check_work(folder, work, plans, tolerance=1e-2)  # TF32 has ten bits


@pytest.mark.parametrize("work", WORK)
def test_pictures_and_results_find_their_way(
    stand_in: StandIn, folder: Path, work: str, plans: PlanSettings
) -> None:
    check_work(folder, work, plans, tolerance=0)


def test_sizes_change_and_results_outlive_the_next_run(
    stand_in: StandIn, engines_path: Path, plans: PlanSettings
) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend="tensorrt", plans=plans)
    other = load_engine(engines_path / "clear.onnx")
    taken = len(stand_in.devices[0].taken)
    kept = []
    for height, width in ((96, 128), (64, 88), (144, 176), (96, 128)):
        picture = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        found, wanted = (one.run(picture)["logits"] for one in (engine, other))
        kept.append((found, wanted))
    for found, wanted in kept:
        np.testing.assert_array_equal(found, wanted)
    assert len(stand_in.devices[0].taken) == taken == 4  # memory is taken once
    assert stand_in.devices[0].entered == 0


@pytest.mark.parametrize(
    ("picture", "maps", "said"),
    [
        (np.zeros((96, 1280, 3), np.uint8), {}, "from (1, 56, 72, 3) to (1, 152, 192, 3)"),
        (np.zeros((8, 8, 3), np.uint8), {}, "set backend to onnxruntime"),
        (np.zeros((96, 128, 4), np.uint8), {}, "found (1, 96, 128, 4)"),
        (np.zeros((96, 128), np.uint8), {}, "found (1, 96, 128)"),
        (PICTURE, {"warped": PICTURE}, "expected ['image'], found ['image', 'warped']"),
    ],
)
def test_a_picture_that_the_plan_does_not_take_is_refused(
    stand_in: StandIn,
    engines_path: Path,
    plans: PlanSettings,
    picture: np.ndarray,
    maps: dict[str, np.ndarray],
    said: str,
) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend="tensorrt", plans=plans)
    with pytest.raises(EngineError, match=f"engine clear failed.*{re.escape(said)}"):
        engine.run(picture, (), maps)
    assert engine.run(PICTURE)["logits"].shape == (11, 24, 32)


def test_missing_maps_are_not_taken_from_the_last_run(
    stand_in: StandIn, folder: Path, plans: PlanSettings
) -> None:
    engine = load_engine(folder / "correction.onnx", backend="tensorrt", plans=plans)
    engine.run(SMALL, (), MAPS)
    with pytest.raises(EngineError, match=r"expected \['evidence', 'image', 'warped'\], found"):
        engine.run(SMALL)


def test_threads_share_an_engine(
    stand_in: StandIn, engines_path: Path, plans: PlanSettings
) -> None:
    engine = load_engine(engines_path / "clear.onnx", backend="tensorrt", plans=plans)
    pictures = [np.full((96, 128, 3), 10 * number, np.uint8) for number in range(8)]
    wanted = [engine.run(picture)["logits"] for picture in pictures]
    found: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = engine.run(pictures[number])["logits"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, values in found.items():
        np.testing.assert_array_equal(values, wanted[number])
    assert len(found) == 8


def test_plans_are_built_at_the_first_start_and_found_at_the_next(
    stand_in: StandIn, folder: Path, plans: PlanSettings
) -> None:
    for _ in range(2):
        load_engine(folder / "joint.onnx", backend="tensorrt", plans=plans)
        assert [path.stem for path in stand_in.built] == ["joint", "joint"]  # with and without
    assert len(list((plans.folder or Path()).glob("*.plan"))) == 2


def test_a_pipeline_builds_what_it_needs_where_it_is_told_to_and_says_so(
    stand_in: StandIn, engines_path: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    plain = PipelineConfig(engines_folder=str(engines_path))
    wished = replace(plain, backend="auto", plans_folder=str(tmp_path / "kept"))
    engines = Engines.load(wished, lines.append)
    assert (engines.stand_ins, engines.routes[Weather.CLEAR].name) == ([], "clear")
    assert type(engines.weather).__name__ == "TensorRtEngine"
    assert len(list((tmp_path / "kept").glob("*.plan"))) == 3
    assert any(line.startswith("building a plan of clear (logits) for Stand-in") for line in lines)
    frame = Frame(np.kron(PICTURE[::8, ::8], np.ones((8, 8, 1), np.uint8)))
    found = engines.pipeline(wished).process(frame)
    wanted = Engines.load(plain).pipeline(plain).process(frame)
    np.testing.assert_array_equal(found.labels, wanted.labels)


def test_a_kept_plan_that_the_gpu_refuses_is_built_again(
    stand_in: StandIn, engines_path: Path, plans: PlanSettings
) -> None:
    path = engines_path / "weather.onnx"
    load_engine(path, backend="tensorrt", plans=plans)
    stand_in.runtime.known.clear()
    for _ in range(2):
        load_engine(path, backend="tensorrt", plans=plans)
        assert len(stand_in.built) == 2


def test_a_gpu_that_refuses_what_was_built_for_it_is_named(
    stand_in: StandIn,
    engines_path: Path,
    plans: PlanSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(plan: bytes) -> None:
        stand_in.library.complaints.append("this GPU is not supported")

    def fail(plan: bytes) -> None:
        raise RuntimeError("out of memory")

    for answer, said in ((refuse, "this GPU is not"), (fail, "out of memory")):
        monkeypatch.setattr(stand_in.runtime, "deserialize_cuda_engine", answer)
        words = rf"clear.onnx: expected .* to run it on Stand-in \(sm_00\), found: {said}"
        with pytest.raises(EngineError, match=words):
            load_engine(engines_path / "clear.onnx", backend="tensorrt", plans=plans)
        assert len(stand_in.built) == 1  # building it again would help nobody


def test_a_gpu_that_nothing_reaches_is_told_of_in_one_line(
    stand_in: StandIn, engines_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreached() -> None:
        raise DeviceError("GPU 0: expected pycuda or cuda-bindings, found neither")

    monkeypatch.setattr(sharing, "open_device", unreached)
    for deed in (
        partial(load_engine, engines_path / "clear.onnx"),
        tensorrt_backend.open_workshop,
    ):
        with pytest.raises(EngineError, match=r"^backend tensorrt: GPU 0: expected pycuda"):
            deed(backend="tensorrt")


def test_the_gpu_is_let_go_with_the_engine(
    stand_in: StandIn, engines_path: Path, plans: PlanSettings
) -> None:
    engine, other = (
        load_engine(engines_path / f"{name}.onnx", backend="tensorrt", plans=plans)
        for name in ("weather", "clear")
    )
    (gpu,) = stand_in.devices
    before = len(gpu.taken)
    del other
    gc.collect()
    assert 0 < len(gpu.taken) < before
    assert not gpu.closed
    assert engine.name == "weather"
    del engine
    gc.collect()
    assert stand_in.devices[0].closed
