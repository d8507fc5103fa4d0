from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.scores import ConfusionMatrix, Latency, ScoreError, consistency


def drawn(classes: int, seed: int, void: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    known = generator.integers(1, classes + 1)  # leave some classes out
    predicted = generator.integers(0, known, (13, 17)).astype(np.uint8)
    truth = generator.integers(0, known, (13, 17)).astype(np.uint8)
    truth[generator.random(truth.shape) < void] = 255
    return predicted, truth


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_counts_and_iou_equal_torchmetrics(classes: int, seed: int, void: float) -> None:
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    predicted, truth = drawn(classes, seed, void)
    ours = ConfusionMatrix(classes)
    ours.add(predicted, truth)
    both = torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()
    counts = metrics.multiclass_confusion_matrix(*both, classes, ignore_index=255)
    np.testing.assert_array_equal(ours.counts[:, :-1], counts.numpy())
    iou = metrics.multiclass_jaccard_index(*both, classes, average="none", ignore_index=255)
    np.testing.assert_allclose(np.nan_to_num(ours.iou()), iou.numpy(), atol=1e-6)
    present = np.union1d(truth[truth != 255], predicted[truth != 255])
    if present.size:
        assert ours.miou() == pytest.approx(iou.numpy()[present].mean(), abs=1e-6)


def test_frames_are_counted_into_one_matrix() -> None:
    both, first, second = ConfusionMatrix(4), ConfusionMatrix(4), ConfusionMatrix(4)
    for seed, matrix in ((1, first), (2, second)):
        both.add(*drawn(4, seed, 0.2))
        matrix.add(*drawn(4, seed, 0.2))
    first.merge(second)
    np.testing.assert_array_equal(first.counts, both.counts)


def test_an_absent_class_does_not_count_but_a_wrongly_found_one_does() -> None:
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 0, 0, 0]], np.uint8))
    np.testing.assert_equal(matrix.iou(), [0.5, 0.0, math.nan])
    assert matrix.miou() == 0.25
    assert matrix.accuracy() == 0.5


def test_a_pixel_left_without_label_is_a_miss() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([[0, 255]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.iou()[0] == 0.5


def test_nothing_seen_has_no_score() -> None:
    assert math.isnan(ConfusionMatrix().miou())
    assert math.isnan(ConfusionMatrix().accuracy())


@pytest.mark.parametrize(
    ("predicted", "truth", "words"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "shape"),
        (np.full((2, 2), 11, np.uint8), np.zeros((2, 2), np.uint8), "found up to 11"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 30, np.uint8), "found up to 30"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(
    predicted: np.ndarray, truth: np.ndarray, words: str
) -> None:
    matrix = ConfusionMatrix()
    with pytest.raises(ScoreError, match=words):
        matrix.add(predicted, truth)
    assert not matrix.counts.any()


def test_latency_gives_its_percentiles() -> None:
    latency = Latency()
    assert math.isnan(latency.percentile(50))
    for value in range(101):
        latency.add(value)
    assert latency.summary() == {"p50": 50, "p95": 95, "p99": 99}
    assert len(latency) == 101


def test_consistency_is_the_share_of_kept_labels_among_known_ones() -> None:
    now = np.array([[1, 2, 3, 255]], np.uint8)
    before = np.array([[1, 2, 4, 4]], np.uint8)
    assert consistency(now, before) == pytest.approx(2 / 3)
    assert math.isnan(consistency(np.full((1, 1), 255, np.uint8), np.zeros((1, 1), np.uint8)))
    with pytest.raises(ScoreError, match="one shape"):
        consistency(now, before.T)
