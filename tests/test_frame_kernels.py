"""What a frame needs on a GPU beside the flow warp, held to its definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception import kernels
from adverse_perception.frames import UInt8Array
from adverse_perception.kernels import KernelError, definition
from adverse_perception.kernels.device import Device, DeviceArray, open_device
from adverse_perception.kernels.evidence import evidence_of, key_planes
from adverse_perception.kernels.fatbin import compile_by_nvcc, nvcc
from adverse_perception.kernels.frame_gpu import PARTS, SOURCE, FrameKernels, Verdict
from tests.host_device import HostDevice, with_our_kernels
from tests.test_flow_warp import architectures


class Bench:
    """The kernels on a device, from numpy to numpy."""

    def __init__(self, device: Device) -> None:
        self.device = device
        with device:
            self.kernels, self.stream = FrameKernels(device), device.stream()

    def put(self, array: np.ndarray) -> DeviceArray:
        host = self.device.pinned(array.shape, array.dtype)
        host[...] = array
        there = self.device.allocate(array.shape, array.dtype)
        self.device.upload(host, there, self.stream)
        self.device.synchronise(self.stream)
        return there

    def get(self, there: DeviceArray) -> np.ndarray:
        host = self.device.pinned(there.shape, there.dtype)
        self.device.download(there, host, self.stream)
        self.device.synchronise(self.stream)
        return host.copy()

    def resize(self, image: UInt8Array, height: int, width: int) -> np.ndarray:
        with self.device:
            to = self.device.allocate((height, width, 3), np.uint8)
            self.kernels.resize(self.put(image), to, self.stream)
            return self.get(to)

    def remember(self, logits: np.ndarray, small: UInt8Array) -> np.ndarray:
        with self.device:
            planes = self.put(np.concatenate([logits, np.full((4, *logits.shape[1:]), 7)], 0,
                dtype=np.float32))  # fmt: skip
            self.kernels.remember(planes, self.put(small), self.stream)
            return self.get(planes)

    def evidence(self, moved: Any, small: Any, flow: Any, wandered: Any) -> np.ndarray:
        with self.device:
            found = self.device.allocate((6, *flow.shape[:2]), np.float32)
            given = [self.put(one) for one in (moved, small, flow, wandered)]
            self.kernels.evidence(*given[:2], (given[2], given[3]), found, self.stream)
            return self.get(found)

    def judge(self, values: np.ndarray) -> Verdict:
        with self.device:
            found = self.device.allocate((len(values), PARTS, 2), np.float32)
            self.kernels.judge(self.put(values), found, self.stream)
            return Verdict.read(self.get(found), values[0].size)


@pytest.fixture(scope="module", params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "gpu":
        yield Bench(open_device())
    else:
        with pytest.MonkeyPatch.context() as patch:
            with_our_kernels(patch)
            yield Bench(HostDevice())  # type: ignore[arg-type]


def picture(height: int, width: int) -> UInt8Array:
    return np.random.default_rng(height * 7 + width).integers(0, 256, (height, width, 3), np.uint8)


def by_opencv(image: UInt8Array, height: int, width: int) -> UInt8Array:
    grows = height > image.shape[0] or width > image.shape[1]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


SIZES = [
    ((48, 64), (24, 32)), ((48, 64), (12, 16)), ((97, 131), (88, 120)), ((60, 80), (48, 56)),
    ((33, 200), (16, 96)), ((40, 40), (40, 40)), ((40, 40), (40, 24)), ((5, 7), (1, 1)),
    ((24, 32), (48, 64)), ((31, 45), (96, 136)), ((50, 63), (48, 64)), ((1, 1), (8, 8)),
    ((9, 900), (8, 352)), ((3, 2), (16, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_a_picture_comes_to_another_size_as_defined_and_as_opencv_does_it(
    bench: Bench, size: tuple[int, int], to: tuple[int, int]
) -> None:
    image = picture(*size)
    found, defined = bench.resize(image, *to), definition.resize(image, *to)
    np.testing.assert_array_equal(found, defined)
    assert np.abs(found.astype(int) - by_opencv(image, *to)).max() <= 1


@pytest.mark.parametrize(("size", "to"), SIZES)
def test_the_cpu_makes_pictures_smaller_exactly_as_defined(
    size: tuple[int, int], to: tuple[int, int]
) -> None:
    image = picture(*size)
    found, defined = kernels.resize(image, *to), definition.resize(image, *to)
    grows = to[0] > size[0] or to[1] > size[1]
    assert np.abs(found.astype(int) - defined).max() <= int(grows)


def test_a_picture_of_the_size_is_not_copied_and_others_are_left_as_they_were() -> None:
    image = picture(48, 64)
    assert kernels.resize(image, 48, 64) is image
    view = image[:, ::-1]
    small = kernels.resize(view, 20, 30)
    np.testing.assert_array_equal(small, definition.resize(view, 20, 30))
    turned = kernels.resize(image[..., ::-1], 20, 30)
    np.testing.assert_array_equal(turned, kernels.resize(image, 20, 30)[..., ::-1])
    assert turned.flags.c_contiguous
    assert image.flags.writeable
    image.flags.writeable = False
    np.testing.assert_array_equal(kernels.resize(image, 20, 30), small[:, ::-1])


def test_the_largest_camera_does_not_overflow() -> None:
    white = np.full((2160, 3840, 3), 255, np.uint8)
    assert kernels.resize(white, 376, 664).min() == 255
    huge = np.full((4100, 4100, 3), 255, np.uint8)
    assert kernels.resize(huge, 400, 400).min() == 255
    tall = np.full((70_000, 8, 3), 255, np.uint8)
    assert kernels.resize(tall, 30_000, 8).min() == 255


def test_sums_of_the_tallest_picture_are_exact() -> None:
    tall = picture(65_535, 8)
    three = tall.reshape(-1, 3, 8, 3).sum(axis=1, dtype=np.int64)
    np.testing.assert_array_equal(kernels.resize(tall, 21_845, 8), (2 * three + 3) // 6)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.float32), (2, 2)),
        (np.zeros((0, 4, 3), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.uint8), (0, 2)),
    ],
)
def test_what_is_no_picture_is_not_resized(image: Any, size: tuple[int, int]) -> None:
    with pytest.raises(KernelError, match=r"resize: expected a picture \(H, W, 3\) uint8"):
        kernels.resize(image, *size)


sides = st.integers(1, 50)


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides)
def test_any_size_comes_to_any_other(
    bench: Bench, height: int, width: int, to_height: int, to_width: int
) -> None:
    image, to = picture(height, width), (to_height, to_width)
    defined = definition.resize(image, *to)
    np.testing.assert_array_equal(bench.resize(image, *to), defined)
    grows = to_height > height or to_width > width
    assert np.abs(kernels.resize(image, *to).astype(int) - defined).max() <= int(grows)


@pytest.mark.parametrize("size", [(96, 128), (8, 8), (40, 352)])
def test_halves_are_those_of_opencv(bench: Bench, size: tuple[int, int]) -> None:
    half = size[0] // 2, size[1] // 2
    np.testing.assert_array_equal(
        bench.resize(picture(*size), *half), by_opencv(picture(*size), *half)
    )


def test_a_large_picture_is_counted_without_overflow(bench: Bench) -> None:
    white = np.full((2161, 3841, 3), 255, np.uint8)
    assert (bench.resize(white, 512, 920) == 255).all()


def planes_of(classes: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(classes).normal(0, 3, (classes, height, width)).astype(np.float32)


@pytest.mark.parametrize(("classes", "height", "width"), [(11, 24, 32), (2, 1, 1), (32, 17, 19)])
def test_a_key_frame_is_remembered_with_its_colours_and_entropy(
    bench: Bench, classes: int, height: int, width: int
) -> None:
    logits, small = planes_of(classes, height, width), picture(height, width)
    logits[1, 0, :] = 1e4  # sure
    logits[:, -1, -1] = 0.5  # all alike
    found, expected = bench.remember(logits, small), key_planes(logits, small)
    np.testing.assert_array_equal(found[:classes], logits)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_evidence_is_what_it_is_on_the_cpu(bench: Bench) -> None:
    generator = np.random.default_rng(1)
    moved = generator.random((9, 24, 31), np.float32)
    moved[-1, 3, 4], moved[-1, 4, 4], moved[-1, 5, 4] = np.nan, 1.0001, -0.0001
    flow = generator.normal(0, 4, (24, 31, 2)).astype(np.float32)
    flow[0, 0] = flow[-1, -1] = 0
    wandered = np.abs(generator.normal(0, 3, (1, 24, 31))).astype(np.float32)
    wandered[0, 2, 2], wandered[0, 2, 3] = np.nan, np.inf
    given = moved, picture(24, 31), flow, wandered
    found, expected = bench.evidence(*given), evidence_of(*given)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0 < expected[5].mean() < 1
    assert np.isnan(found).sum() == 2


@pytest.mark.parametrize("shape", [(6, 24, 32), (1, 3, 5), (3, 130, 170)])
def test_results_are_judged_by_their_mean_and_by_whether_they_are_numbers(
    bench: Bench, shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(2).normal(0.5, 0.6, shape).astype(np.float32)
    said = bench.judge(values)
    assert said.mean == pytest.approx(np.clip(values, 0, 1).mean(), abs=1e-6)
    assert said.finite
    for broken in (np.nan, np.inf, -np.inf):
        for place in (0, values.size // 2, values.size - 1):
            spoilt = values.copy()
            spoilt.flat[place] = broken
            assert not bench.judge(spoilt).finite


def test_the_source_compiles_for_every_current_architecture() -> None:
    compiler = nvcc()
    if compiler is None:
        pytest.skip("nvcc is not installed")
    known = architectures(compiler)
    assert len(compile_by_nvcc(compiler, SOURCE, known)) > 5_000 * len(known)


def test_arrays_that_do_not_fit_are_refused(bench: Bench) -> None:
    def array(*shape: int, dtype: Any = np.float32) -> DeviceArray:
        return DeviceArray(4096, shape, np.dtype(dtype))

    small, kernels = array(8, 9, 3, dtype=np.uint8), bench.kernels
    for planes, picture in (
        (array(4, 8, 9), small),
        (array(9, 8, 9, dtype=np.float16), small),
        (array(9, 8, 9), array(8, 8, 3, dtype=np.uint8)),
    ):
        with pytest.raises(KernelError, match=r"remember: .*expected.*found"):
            kernels.remember(planes, picture, 0)
    for flow, wandered, found in (
        (array(8, 9), array(1, 8, 9), array(6, 8, 9)),
        (array(8, 9, 2), array(8, 9), array(6, 8, 9)),
        (array(8, 9, 2), array(1, 8, 9), array(5, 8, 9)),
    ):
        with pytest.raises(KernelError, match=r"evidence: .*expected.*found"):
            kernels.evidence(array(9, 8, 9), small, (flow, wandered), found, 0)
    for to in (array(8, 9, 3), array(8, 9, dtype=np.uint8), array(8, 40_000, 3, dtype=np.uint8)):
        with pytest.raises(KernelError, match=r"resize: to: expected.*found"):
            kernels.resize(small, to, 0)
    with pytest.raises(KernelError, match=r"judge: found: expected"):
        kernels.judge(array(3, 8, 9), array(3, 8, 9), 0)
