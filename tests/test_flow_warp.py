"""One contract for every implementation of the flow warp: `kernels/definition.py`."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception import kernels
from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels import KernelError, correct_and_label, definition, label, warp
from adverse_perception.kernels.device import Device, open_device
from adverse_perception.kernels.errors import DeviceError
from adverse_perception.kernels.fatbin import compile_by_nvcc, nvcc
from adverse_perception.kernels.gpu import SOURCE
from tests import goldens
from tests.flow_warps import EXACT, Implementation, by_gpu, by_source
from tests.goldens import LabelCase
from tests.host_device import compiled

TARGETS = ("75", "80", "86", "87", "89", "90", "100", "110", "120", "121")
"""Every current architecture, as far as the compiler at hand knows it."""


@pytest.fixture(scope="session")
def compiled_source() -> ctypes.CDLL:
    """The CUDA source, compiled for the CPU; what a GPU would stumble over aborts."""
    return compiled(SOURCE)


@pytest.fixture(scope="session")
def gpu() -> Device:
    try:
        return open_device()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(
    scope="session",
    params=["cpu-twin", "source-float", "source-half", "gpu-float", "gpu-half"],
)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    way, _, name = request.param.partition("-")
    dtype = {"half": np.float16}.get(name, np.float32)
    if way == "source":
        return by_source(request.getfixturevalue("compiled_source"), name, dtype)
    if way == "gpu":
        return by_gpu(request.getfixturevalue("gpu"), dtype)
    return Implementation(warp, correct_and_label)


def blended(case: LabelCase) -> Float32Array:
    """Logits of every pixel, (K, H, W)."""
    large = [definition.upsample(one, case.height, case.width) for one in case.inputs[:2]]
    damage = definition.upsample(case.distortion[np.newaxis], case.height, case.width)
    return definition.blend(*large, damage)


def undecided(large: Float32Array) -> np.ndarray:
    """Pixels whose two greatest logits are so close that rounding decides, (H, W) bool."""
    second, first = np.partition(large, -2, axis=0)[-2:]
    return np.asarray(first - second <= EXACT * np.abs(large).max())


def check_labels(case: LabelCase, labels: UInt8Array, confidence: UInt8Array) -> None:
    expected_labels, expected = definition.correct_and_label(*case.inputs)
    same = labels == expected_labels
    assert (same | undecided(blended(case))).all(), case.name
    difference = np.abs(confidence.astype(int) - expected)[same]
    assert difference.max(initial=0) <= 1, case.name
    # off by one only where the exact value lies on the edge between two
    assert (difference == 0).mean() > 0.98 or difference.size < 400, case.name


def one_thread_of_torch() -> Any:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # faster than several on arrays this small
    return torch


def test_warping_takes_what_the_flow_points_at(implementation: Implementation) -> None:
    for case in goldens.warp_cases():
        warped = implementation.warp(case.planes, case.flow)
        difference = np.abs(warped - definition.warp(case.planes, case.flow))
        limit = implementation.rounding * np.abs(case.planes).max()
        assert difference.max() <= limit, case.name


def test_labels_are_those_of_the_corrected_logits(implementation: Implementation) -> None:
    for classes in goldens.EVERY_CLASS_COUNT:
        for case in goldens.label_cases(classes):
            check_labels(case, *implementation.correct_and_label(*case.inputs))


@pytest.mark.parametrize("size", [(360, 480), (252, 452)])
def test_every_pixel_of_a_street_is_right(
    implementation: Implementation, size: tuple[int, int]
) -> None:
    case = goldens.street_case(19, *size)
    labels, confidence = implementation.correct_and_label(*case.inputs)
    assert len(np.unique(labels)) > 9
    check_labels(case, labels, confidence)


def test_distortion_chooses_between_the_warped_logits_and_the_correction(
    implementation: Implementation,
) -> None:
    case = goldens.street_case(7, 100, 140)
    for share, chosen in ((0, case.warped), (1, case.correction)):
        distortion = np.full_like(case.distortion, share)
        labels, _ = implementation.correct_and_label(
            case.warped, case.correction, distortion, case.height, case.width
        )
        expected, _ = label(chosen, case.height, case.width)
        exact = ~undecided(definition.upsample(chosen, case.height, case.width))
        np.testing.assert_array_equal(labels[exact], expected[exact])


def test_distortion_is_a_share_whatever_an_engine_says(implementation: Implementation) -> None:
    case = goldens.street_case(7, 60, 80)
    beyond = np.float32(3) * case.distortion - np.float32(1)
    assert beyond.min() < 0
    assert beyond.max() > 1
    case = replace(case, distortion=beyond)
    exact = replace(case, distortion=np.clip(beyond, 0, 1))
    check_labels(exact, *implementation.correct_and_label(*case.inputs))


def test_a_class_that_neither_set_prefers_can_win_between_them(
    implementation: Implementation,
) -> None:
    warped = np.array([9, -9, 3], np.float32).reshape(3, 1, 1)
    correction = np.array([-9, 9, 3], np.float32).reshape(3, 1, 1)
    half = np.full((1, 1), 0.5, np.float32)
    labels, _ = implementation.correct_and_label(warped, correction, half, 3, 5)
    assert (labels == 2).all()


def test_equal_logits_take_the_lowest_id_when_corrected(implementation: Implementation) -> None:
    zeros = np.zeros((5, 3, 4), np.float32)
    for distortion in (0, 0.25, 1):
        share = np.full((3, 4), distortion, np.float32)
        labels, confidence = implementation.correct_and_label(zeros, -zeros, share, 11, 17)
        assert (labels == 0).all()
        assert (confidence == 51).all()


def test_of_classes_that_win_side_by_side_the_lowest_is_taken(
    implementation: Implementation,
) -> None:
    logits = np.array([[[9, -9]], [[0, 0]], [[0, 0]]], np.float32)
    labels, _ = implementation.correct_and_label(logits, logits, logits[1], 1, 40)
    assert set(labels[0]) == {0, 1}


def test_what_is_no_number_names_a_class_all_the_same(implementation: Implementation) -> None:
    generator = np.random.default_rng(0)
    for broken in (np.nan, np.inf, -np.inf):
        arrays = [generator.normal(0, 3, shape) for shape in ((4, 9, 8), (4, 9, 8), (9, 8))]
        for array in arrays:
            array[generator.random(array.shape) < 0.3] = broken
        labels, _ = implementation.correct_and_label(
            *(array.astype(np.float32) for array in arrays), 37, 31
        )
        assert labels.max() < 4


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 32), st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_picture_may_have_any_size(
    implementation: Implementation,
    classes: int,
    grid: tuple[int, int],
    picture: tuple[int, int],
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    warped, correction, distortion = (
        one.astype(np.float16).astype(np.float32)
        for one in (
            generator.normal(0, 3, (classes, *grid)),
            generator.normal(0, 3, (classes, *grid)),
            generator.random(grid),
        )
    )
    case = LabelCase("any", warped, correction, distortion, *picture)
    check_labels(case, *implementation.correct_and_label(*case.inputs))


def test_warping_is_what_torch_calls_grid_sample(implementation: Implementation) -> None:
    torch = one_thread_of_torch()
    for case in goldens.warp_cases():
        _, height, width = case.planes.shape
        if min(height, width) == 1 or not np.isfinite(case.flow).all():
            continue  # torch divides by size - 1, and has its own idea of what is no number
        rows, columns = np.mgrid[:height, :width]
        # float64, and no further than torch can count
        place = np.stack([columns, rows], -1) + np.clip(case.flow, -1e4, 1e4).astype(float)
        grid = torch.from_numpy(2 * place / [width - 1, height - 1] - 1)[None]
        expected = torch.nn.functional.grid_sample(
            torch.from_numpy(case.planes.astype(float))[None],
            grid,
            padding_mode="border",
            align_corners=True,
        )
        warped = implementation.warp(case.planes, case.flow)
        limit = 10 * implementation.rounding * np.abs(case.planes).max()
        assert np.abs(warped - expected[0].numpy()).max() <= limit, case.name


def test_labels_are_those_of_torch(implementation: Implementation) -> None:
    torch = one_thread_of_torch()
    case = goldens.street_case(11, 180, 244)
    warped, correction, distortion = (
        torch.nn.functional.interpolate(
            torch.from_numpy(one)[None], (case.height, case.width), mode="bilinear"
        )[0]
        for one in (case.warped, case.correction, case.distortion[np.newaxis])
    )
    large = (1 - distortion) * warped + distortion * correction
    labels, _ = implementation.correct_and_label(*case.inputs)
    wrong = labels != large.argmax(0).numpy()
    assert not (wrong & ~undecided(large.numpy())).any()


def architectures(compiler: str) -> list[str]:
    listed = subprocess.run(
        [compiler, "--list-gpu-arch"], capture_output=True, text=True, check=True
    )
    known = [f"sm_{one}" for one in TARGETS if f"compute_{one}\n" in listed.stdout]
    assert len(known) > 4
    return known


def test_the_source_compiles_for_every_current_architecture() -> None:
    compiler = nvcc()
    if compiler is None:
        pytest.skip("nvcc is not installed")
    known = architectures(compiler)
    image = compile_by_nvcc(compiler, SOURCE, known)
    assert len(image) > 20_000 * len(known)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"warped": np.zeros((3, 4), np.float32)}, "warped"),
        ({"correction": np.zeros((2, 4, 4), np.float32)}, r"\(2, 4, 4\)"),
        ({"correction": np.zeros((3, 4, 4), np.float64)}, "float64"),
        ({"distortion": np.zeros((4, 5), np.float32)}, r"\(4, 5\)"),
        ({"distortion": np.zeros((4, 4), np.float16)}, "float16"),
        ({"height": 0}, "0x8"),
    ],
)
def test_what_cannot_be_corrected_is_refused(change: dict[str, Any], named: str) -> None:
    logits = np.zeros((3, 4, 4), np.float32)
    arguments: dict[str, Any] = {
        "warped": logits,
        "correction": logits,
        "distortion": logits[0],
        "height": 8,
        "width": 8,
    }
    with pytest.raises(KernelError, match=f"expected.*found.*{named}|{named}.*expected"):
        correct_and_label(**{**arguments, **change})


@pytest.mark.parametrize(
    ("planes", "flow"),
    [
        (np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.float32)),
        (np.zeros((3, 4, 4), np.float64), np.zeros((4, 4, 2), np.float32)),
        (np.zeros((0, 4, 4), np.float32), np.zeros((4, 4, 2), np.float32)),
        (np.zeros((3, 4, 4), np.float32), np.zeros((2, 4, 4), np.float32)),
        (np.zeros((3, 4, 4), np.float32), np.zeros((4, 4, 2), np.float16)),
    ],
)
def test_what_cannot_be_warped_is_refused(planes: Any, flow: Any) -> None:
    with pytest.raises(KernelError, match="expected"):
        warp(planes, flow)


def test_after_warming_up_no_kind_of_array_is_compiled_for() -> None:
    from adverse_perception.kernels import gather, sparse

    kernels.warm_up()
    before = len(gather.warp.signatures), len(sparse.correct.signatures)
    case = goldens.street_case(5, 40, 80)
    frozen = case.warped.copy()
    frozen.flags.writeable = False
    flow = np.zeros((10, 20, 2), np.float32)
    for planes in (frozen, np.asfortranarray(case.warped)):
        warp(planes, flow[::-1])
        correct_and_label(planes, planes, case.distortion[::-1], 40, 80)
    assert (len(gather.warp.signatures), len(sparse.correct.signatures)) == before
