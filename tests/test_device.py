"""The layer between our kernels and a GPU, as far as it goes without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adverse_perception.kernels import device, fatbin
from adverse_perception.kernels.device import DeviceArray, check_copy, open_device
from adverse_perception.kernels.errors import DeviceError, KernelError
from adverse_perception.kernels.gpu import SOURCE, FlowWarp
from tests.flow_warps import build_fake_driver, installed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a driver that runs our kernels on the CPU."""
    folder = tmp_path_factory.mktemp("driver")
    build_fake_driver(folder)
    return folder


TRY_EVERYTHING = """
import ctypes, sys
from pathlib import Path
import numpy as np
from adverse_perception.kernels import definition, frame_gpu, gpu
from adverse_perception.kernels.device import open_device
from adverse_perception.kernels.errors import DeviceError
from tests import goldens
from tests.flow_warps import by_gpu
from tests import test_frame_kernels as more
from tests.test_flow_warp import check_labels

gpu.built = frame_gpu.built = lambda *_: b"an image"
sys.modules["adverse_perception.kernels." + sys.argv[1]] = None
device = open_device()
driver = ctypes.CDLL("libcuda.so.1")
for dtype in (np.float32, np.float16):
    way = by_gpu(device, dtype)
    for case in list(goldens.warp_cases())[::7]:
        difference = way.warp(case.planes, case.flow) - definition.warp(case.planes, case.flow)
        assert abs(difference).max() <= way.rounding * abs(case.planes).max(), case.name
    for classes in (2, 19, 32):
        for case in goldens.label_cases(classes):
            check_labels(case, *way.correct_and_label(*case.inputs))
bench = more.Bench(device)
for size, to in more.SIZES:
    more.test_a_picture_comes_to_another_size_as_defined_and_as_opencv_does_it(bench, size, to)
more.test_a_key_frame_is_remembered_with_its_colours_and_entropy(bench, 11, 24, 32)
more.test_evidence_is_what_it_is_on_the_cpu(bench)
more.test_results_are_judged_by_their_mean_and_by_whether_they_are_numbers(bench, (6, 24, 32))
with device:
    first, last, stream = device.event(), device.event(), device.stream()
    here, there = device.allocate((3,), np.uint8), device.allocate((3,), np.uint8)
    host = device.pinned((3,), np.uint8)
    host[:] = 5, 6, 7
    device.upload(host, here, stream)
    host[:] = 0
    device.record(first, stream)
    device.copy(here, there, stream)
    device.record(last, stream)
    device.download(there, host, stream)
    device.synchronise(stream)
    assert host.tolist() == [5, 6, 7]
    assert device.elapsed_ms(first, last) == 1.5
    def round_trip():
        device.upload(host, here, stream)
        device.copy(here, there, stream)
        device.download(there, host, stream)
    graph = device.capture(stream, round_trip)
    device.upload(host, there, stream)
    for values in ([1, 2, 3], [4, 5, 6]):
        host[:] = values
        device.replay(graph, stream)
        device.synchronise(stream)
        assert host.tolist() == values
    device.discard(graph)
    for spoiling in (lambda: device.allocate((9,), np.uint8), lambda: device.synchronise(stream)):
        try:
            device.capture(stream, spoiling)
        except DeviceError as error:
            print("captured:", error)
    device.discard(device.capture(stream, round_trip))  # as if nothing had been
    before = driver.fake_taken()
    some = device.allocate((9,), np.uint8), device.pinned((9,), np.uint8), device.stream()
    device.free(*some)
    del some
    assert driver.fake_taken() == before
    assert device.handle(stream) > 0
    del host
try:
    device.stream()
except DeviceError as error:
    print("outside:", error)
print("pushed", driver.fake_pushed())
del first, last, stream, way, bench  # by pycuda they live as long as somebody knows them
device.close()
print("taken", driver.fake_taken())
print(device.name, device.architecture, type(device).__name__)
"""


WAYS = [
    ("cuda.bindings", "pycuda_device", "CudaDevice"),
    ("pycuda", "cuda_device", "PyCudaDevice"),
]
"""Package, our module for the other one, and the device that is made of it."""


@pytest.mark.parametrize(("package", "other", "name"), WAYS)
def test_a_device_runs_our_kernels_and_lets_go_of_all_it_took(
    fake_driver: Path, package: str, other: str, name: str
) -> None:
    if not installed(package):
        pytest.skip(f"{package} is not installed")
    shown = subprocess.run(
        [sys.executable, "-c", TRY_EVERYTHING, other],
        env={**os.environ, "LD_LIBRARY_PATH": str(fake_driver)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert f"Fake sm_99 {name}" in shown.stdout
    assert "outside: " in shown.stdout  # no context there
    assert shown.stdout.count("captured: ") == 2
    assert "pushed 0\ntaken 0\n" in shown.stdout


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_DRIVER", "libno_driver_of_this_name.so.1")
    with pytest.raises(DeviceError, match=r"expected NVIDIA's driver, found none.*on the CPU"):
        open_device()


def test_a_machine_without_bindings_is_told_which_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "check_driver", lambda: None)
    for name in ("pycuda_device", "cuda_device"):
        monkeypatch.setitem(sys.modules, f"adverse_perception.kernels.{name}", None)
    with pytest.raises(DeviceError, match=r"pycuda or cuda-bindings, found neither.*pip install"):
        open_device()


def test_copies_are_between_arrays_that_fit() -> None:
    there = DeviceArray(0, (3, 4), np.dtype(np.float32))
    check_copy(np.zeros((3, 4), np.float32), there)
    for host in (
        np.zeros((4, 3), np.float32),
        np.zeros((3, 4), np.float16),
        np.zeros((4, 3), np.float32).T,
    ):
        with pytest.raises(DeviceError, match="expected a contiguous"):
            check_copy(host, there)


class Recorder:
    """A device that only notes what is started."""

    architecture = "sm_90"

    def __init__(self) -> None:
        self.launches: list[tuple[Any, ...]] = []

    def load(self, image: bytes, names: list[str]) -> dict[str, str]:
        return {name: name for name in names}

    def launch(self, *launch: Any) -> None:
        self.launches.append(launch)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def flow_warp(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> FlowWarp:
    monkeypatch.setattr("adverse_perception.kernels.gpu.built", lambda *_: b"")
    return FlowWarp(recorder)  # type: ignore[arg-type]


def array(*shape: int, dtype: Any = np.float16) -> DeviceArray:
    return DeviceArray(4096, shape, np.dtype(dtype))


def test_a_grid_covers_every_pixel_and_no_block_is_idle(
    flow_warp: FlowWarp, recorder: Recorder
) -> None:
    planes = array(19, 256, 512)
    flow_warp.warp(planes, array(256, 512, 2, dtype=np.float32), planes, "stream")
    picture = array(1024, 2048, dtype=np.uint8)
    flow_warp.correct_and_label((planes, planes), array(256, 512), picture, picture, "stream")
    warp, label = recorder.launches
    assert warp[:3] == ("warp_half", (512, 2), 256)
    assert label[:3] == ("correct_and_label_half", (17, 37), 256)
    assert [one.dtype.kind for one in label[3]] == ["u"] * 5 + ["i"] * 5
    assert [int(one) for one in label[3][5:]] == [19, 256, 512, 1024, 2048]


def test_device_arrays_that_do_not_fit_are_refused(flow_warp: FlowWarp) -> None:
    flow = array(8, 9, 2, dtype=np.float32)
    picture = array(32, 36, dtype=np.uint8)
    good = array(5, 8, 9)
    for planes, to, there in (
        (array(8, 9), good, flow),
        (array(5, 8, 9, dtype=np.uint8), good, flow),
        (good, array(5, 8, 9, dtype=np.float32), flow),
        (good, good, array(8, 9, 2)),
        (array(5, 2**15, 2**14), array(5, 2**15, 2**14), flow),
    ):
        with pytest.raises(KernelError, match=r"warp: .*expected.*found"):
            flow_warp.warp(planes, there, to, None)
    for logits, distortion, labels in (
        ((array(33, 8, 9), array(33, 8, 9)), array(8, 9), picture),
        ((good, array(4, 8, 9)), array(8, 9), picture),
        ((good, good), array(9, 8), picture),
        ((good, good), array(8, 9, dtype=np.float32), picture),
        ((good, good), array(8, 9), array(32, dtype=np.uint8)),
        ((good, good), array(8, 9), array(32, 40, dtype=np.uint8)),
    ):
        with pytest.raises(KernelError, match=r"correct_and_label: .*expected.*found"):
            flow_warp.correct_and_label(logits, distortion, labels, picture, None)


def test_a_kernel_is_compiled_once_for_every_source_and_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(fatbin, "_compiled", lambda *what: compiled.append(what) or b"image")
    source = tmp_path / "kernel.cu"
    source.write_text("first")
    cache = tmp_path / "made" / "here"
    for architecture in ("sm_90", "sm_90", "sm_87"):
        assert fatbin.built(source, architecture, cache) == b"image"
    assert len(compiled) == 2
    source.write_text("second")
    fatbin.built(source, "sm_90", cache)
    assert len(compiled) == 3
    (tmp_path / "included.cuh").write_text("third")
    fatbin.built(source, "sm_90", cache)
    assert len(compiled) == 4


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fatbin, "_compiled", lambda *_: b"image")
    (tmp_path / "file").write_text("no folder")
    assert fatbin.built(SOURCE, "sm_90", tmp_path / "file" / "cache") == b"image"


def test_nvcc_is_found_where_it_usually_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(fatbin, "_PLACES", ())
    assert fatbin.nvcc() is None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch(mode=0o755)
    assert fatbin.nvcc() == str(tmp_path / "bin" / "nvcc")


def test_what_nvcc_says_is_passed_on(tmp_path: Path) -> None:
    compiler = fatbin.nvcc()
    if compiler is None:
        pytest.skip("nvcc is not installed")
    (tmp_path / "broken.cu").write_text("__global__ void broken() { nonsense; }\n")
    with pytest.raises(DeviceError, match=r"broken.cu.*sm_90.*nonsense"):
        fatbin.compile_by_nvcc(compiler, tmp_path / "broken.cu", ["sm_90"])


def test_without_any_compiler_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fatbin, "nvcc", lambda: None)
    monkeypatch.setitem(sys.modules, "adverse_perception.kernels.cuda_device", None)
    with pytest.raises(DeviceError, match=r"nvcc or cuda-bindings.*pip install"):
        fatbin._compiled(SOURCE, {}, "sm_90")


def test_without_nvcc_the_source_is_compiled_by_nvrtc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed("cuda.bindings"):
        pytest.skip("cuda-bindings is not installed")
    from cuda.bindings import nvrtc

    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {error}")
    monkeypatch.setattr(fatbin, "nvcc", lambda: None)
    assert fatbin.built(SOURCE, "sm_87", tmp_path).startswith(b"\x7fELF")
    with pytest.raises(DeviceError, match="nonsense"):
        fatbin._compiled(SOURCE, {SOURCE.name: b"__global__ void broken() { nonsense; }"}, "sm_90")


def test_a_benchmark_without_a_gpu_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import flow_warp

    def no_gpu() -> None:
        raise DeviceError("GPU: expected NVIDIA's driver, found none")

    monkeypatch.setattr(flow_warp, "open_device", no_gpu)
    monkeypatch.setattr(sys, "argv", ["flow_warp"])
    with pytest.raises(SystemExit, match=r"needs a GPU, nothing was measured.*driver"):
        flow_warp.main()
