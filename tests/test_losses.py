"""The loss of labels of different detail, held against torch's own on what both can say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverse_perception.labels import CLASS_ID, CLASS_NAMES
from tests.packs import OURS_TO_COARSE

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy, interpolate, softmax  # noqa: E402

from training.losses import (  # noqa: E402
    CLASS_SHARES,
    class_weights,
    grouped_cross_entropy,
    log_error,
)

torch.set_num_threads(1)
CLASSES = len(CLASS_NAMES)
FINE = torch.eye(CLASSES)
COARSE = torch.zeros(CLASSES, CLASSES)
COARSE[OURS_TO_COARSE, range(CLASSES)] = 1


def drawn(seed: int, rows: int, void: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, K, 4, 5) and labels (2, 8, 10) of which some are unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, 4, 5, generator=generator) * 4
    labels = torch.randint(0, rows, (2, 8, 10), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < void] = 255
    return logits, labels


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 0.9))
def test_fine_labels_cost_what_torchs_cross_entropy_says(
    seed: int, power: float, void: float
) -> None:
    logits, labels = drawn(seed, CLASSES, void)
    weights = class_weights(power)
    seen = labels[:, ::2, ::2]
    total = cross_entropy(logits, seen, weights, ignore_index=255, reduction="sum")
    expected = total / (seen != 255).sum().clamp_min(1)
    found = grouped_cross_entropy(logits, labels, FINE.expand(2, -1, -1), weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_coarse_label_costs_the_sum_of_its_classes_chances(seed: int) -> None:
    logits, labels = drawn(seed, 7, void=0.0)
    chances = softmax(logits, 1).numpy()
    seen = labels[:, ::2, ::2].numpy()
    total = 0.0
    for sample, row, column in np.ndindex(*seen.shape):
        group = np.array(OURS_TO_COARSE) == seen[sample, row, column]
        total -= np.log(chances[sample, group, row, column].sum())
    found = grouped_cross_entropy(logits, labels, COARSE.expand(2, -1, -1), torch.ones(CLASSES))
    assert float(found) == pytest.approx(total / seen.size, rel=1e-4)


def test_samples_of_different_detail_share_a_batch() -> None:
    logits, labels = drawn(3, 7, void=0.0)
    weights = class_weights(0.4)
    both = grouped_cross_entropy(logits, labels, torch.stack([FINE, COARSE]), weights)
    fine = grouped_cross_entropy(logits[:1], labels[:1], FINE[None], weights)
    coarse = grouped_cross_entropy(logits[1:], labels[1:], COARSE[None], weights)
    torch.testing.assert_close(both, (fine + coarse) / 2)


def test_finer_logits_are_brought_to_half_the_labels_size() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, CLASSES, 3, 4, generator=generator)
    labels = torch.randint(0, CLASSES, (1, 11, 15), generator=generator)
    half = interpolate(logits, size=(6, 8), mode="bilinear")
    expected = cross_entropy(half, labels[:, ::2, ::2])
    found = grouped_cross_entropy(logits, labels, FINE[None], torch.ones(CLASSES))
    torch.testing.assert_close(found, expected)


def test_picture_without_labels_costs_nothing() -> None:
    logits, _ = drawn(0, CLASSES)
    logits.requires_grad_()
    nothing = torch.full((2, 8, 10), 255)
    loss = grouped_cross_entropy(logits, nothing, FINE.expand(2, -1, -1), torch.ones(CLASSES))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_hopeless_pixel_still_has_a_gradient() -> None:
    logits = torch.zeros(1, CLASSES, 1, 1)
    logits[0, CLASS_ID["sky"]] = 40.0
    logits.requires_grad_()
    labels = torch.full((1, 2, 2), CLASS_ID["road"])
    grouped_cross_entropy(logits, labels, FINE[None], torch.ones(CLASSES)).backward()
    assert logits.grad is not None
    assert float(logits.grad[0, CLASS_ID["road"]]) == pytest.approx(-1.0, abs=1e-3)


def test_mixed_precision_does_not_round_the_loss() -> None:
    logits, labels = drawn(5, CLASSES, void=0.0)
    arguments = (labels, FINE.expand(2, -1, -1), class_weights(0.4))
    expected = grouped_cross_entropy(logits * 3, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_cross_entropy(logits * 3, *arguments)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_rare_classes_weigh_more_and_pixels_weigh_one_on_average() -> None:
    weights = class_weights(0.4)
    assert weights[CLASS_ID["bicyclist"]] > weights[CLASS_ID["pole"]] > weights[CLASS_ID["road"]]
    assert float((weights * torch.tensor(CLASS_SHARES)).sum()) == pytest.approx(1.0)
    assert class_weights(0.0).unique().numel() == 1


def test_coarse_label_weighs_what_its_pixels_would_weigh() -> None:
    weights, shares = class_weights(0.4), torch.tensor(CLASS_SHARES)
    logits = torch.zeros(1, CLASSES, 1, 1)
    living = OURS_TO_COARSE[CLASS_ID["pedestrian"]]
    loss = grouped_cross_entropy(logits, torch.full((1, 2, 2), living), COARSE[None], weights)
    group = [CLASS_ID["pedestrian"], CLASS_ID["bicyclist"]]
    weight = float((weights * shares)[group].sum() / shares[group].sum())
    assert float(loss) == pytest.approx(weight * np.log(CLASSES / 2), rel=1e-4)


def test_log_error_is_in_tens_of_decibels_by_picture() -> None:
    clean = torch.zeros(2, 3, 8, 8)
    restored = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.3)])
    expected = (np.log10(0.01 + 1e-4) + np.log10(0.09 + 1e-4)) / 2
    assert float(log_error(restored, clean)) == pytest.approx(expected, abs=1e-5)
    assert float(log_error(clean, clean)) == pytest.approx(-4)
