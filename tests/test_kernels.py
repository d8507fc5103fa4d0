from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.frames import Float32Array, UInt8Array
from adverse_perception.kernels import KernelError, definition, label

ROOT = Path(__file__).resolve().parents[1]


def torch_labels(logits: Float32Array, height: int, width: int) -> UInt8Array:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # faster than several on pictures this small
    large = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None],
        size=(height, width),
        mode="bilinear",
        align_corners=False,
    )
    return large[0].argmax(0).numpy().astype(np.uint8)


def lead(logits: Float32Array, height: int, width: int) -> Float32Array:
    """How far the greatest interpolated logit leads the next, by pixel."""
    two = np.partition(definition.upsample(logits, height, width), -2, axis=0)[-2:]
    return two[1] - two[0]


def street_like(classes: int, height: int, width: int, seed: int = 0) -> Float32Array:
    """Smooth logits: regions with borders, as a network gives them."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 6, (classes, 7, 13)).astype(np.float32)
    planes = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse
    ]
    return np.stack(planes).astype(np.float32)


sizes = st.integers(1, 12)
pictures = st.integers(1, 61)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 32), sizes, sizes, pictures, pictures, st.integers(0, 2**32 - 1))
def test_labels_equal_torch_wherever_rounding_cannot_decide(
    classes: int, h: int, w: int, height: int, width: int, seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (classes, h, w)).astype(np.float32)
    labels, _ = label(logits, height, width)
    wrong = labels != torch_labels(logits, height, width)
    assert not (wrong & (lead(logits, height, width) > 1e-5)).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 32), sizes, sizes, pictures, pictures, st.integers(0, 2**32 - 1))
def test_confidence_is_the_interpolated_probability_of_the_label(
    classes: int, h: int, w: int, height: int, width: int, seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (classes, h, w)).astype(np.float32)
    labels, confidence = label(logits, height, width)
    expected_labels, expected = definition.label(logits, height, width)
    same = labels == expected_labels
    difference = np.abs(confidence.astype(int) - expected)
    assert difference[same].max(initial=0) <= 1
    # off by one only where the exact value lies on the edge between two
    assert (difference[same] == 0).mean() > 0.98 or same.size < 200


@pytest.mark.parametrize("size", [(128, 256, 512, 1024), (90, 120, 360, 480), (88, 120, 713, 967)])
def test_every_pixel_of_a_street_equals_torch(size: tuple[int, int, int, int]) -> None:
    h, w, height, width = size
    logits = street_like(11, h, w)
    labels, _ = label(logits, height, width)
    assert len(np.unique(labels)) > 5
    np.testing.assert_array_equal(labels, torch_labels(logits, height, width))


def test_a_class_that_wins_no_corner_can_win_inside_a_cell() -> None:
    logits = np.array([[[9, -9]], [[-9, 9]], [[3, 3]]], np.float32)
    labels, _ = label(logits, 1, 40)
    assert 2 in labels
    np.testing.assert_array_equal(labels, torch_labels(logits, 1, 40))


def test_equal_logits_take_the_lowest_id() -> None:
    labels, confidence = label(np.zeros((5, 3, 4), np.float32), 12, 16)
    assert (labels == 0).all()
    assert (confidence == 51).all()


def test_far_apart_logits_are_certain() -> None:
    logits = np.full((3, 2, 2), -500, np.float32)
    logits[1] = 500
    labels, confidence = label(logits, 8, 8)
    assert (labels == 1).all()
    assert (confidence == 255).all()


def test_an_infinitely_unlikely_class_does_no_harm() -> None:
    logits = street_like(4, 6, 6)
    logits[2] = -3e38
    labels, _ = label(logits, 24, 24)
    assert not (labels == 2).any()


def test_logits_may_be_a_view() -> None:
    logits = street_like(6, 10, 20)
    view = np.ascontiguousarray(logits.transpose(1, 2, 0)).transpose(2, 0, 1)
    np.testing.assert_array_equal(label(view, 40, 80)[0], label(logits, 40, 80)[0])


def test_no_kind_of_array_is_compiled_for_while_driving() -> None:
    from adverse_perception.kernels import sparse

    logits = street_like(6, 10, 20)
    label(logits, 40, 80)
    before = len(sparse.correct.signatures)
    frozen = logits.copy()
    frozen.flags.writeable = False
    for other in (frozen, logits[:, ::2, ::2], np.asfortranarray(logits)):
        label(other, 40, 80)
    assert len(sparse.correct.signatures) == before


@pytest.mark.parametrize(
    ("logits", "height"),
    [
        (np.zeros((3, 4), np.float32), 8),
        (np.zeros((3, 4, 4), np.float64), 8),
        (np.zeros((0, 4, 4), np.float32), 8),
        (np.zeros((256, 4, 4), np.float32), 8),
        (np.zeros((3, 4, 4), np.float32), 0),
    ],
)
def test_logits_that_cannot_be_labelled_are_refused(logits: Float32Array, height: int) -> None:
    with pytest.raises(KernelError, match="expected"):
        label(logits, height, 8)


def test_a_missing_compiler_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_numba(name: str, *args: object) -> object:
        if name.partition(".")[0] == "numba":
            raise ImportError("No module named 'numba'")
        return real(name, *args)  # type: ignore[arg-type]

    for name in ("compiling", "sparse"):
        monkeypatch.delitem(sys.modules, f"adverse_perception.kernels.{name}", raising=False)
        monkeypatch.delattr(f"adverse_perception.kernels.{name}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_numba)
    with pytest.raises(ImportError, match="pip install numba"):
        label(np.zeros((2, 2, 2), np.float32), 4, 4)


def test_labelling_needs_no_disk_to_keep_its_code_on() -> None:
    script = "from adverse_perception.kernels import sparse"
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
    shown = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **nowhere}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
