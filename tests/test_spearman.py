"""Rank correlations over checkpoints, held against values worked out by hand and by theory."""

from __future__ import annotations

import numpy as np
import pytest

from training.studies.spearman import (
    StudyError,
    rank_correlations,
    ranks,
    spearman,
)

# Ten children's IQ and hours of television a week, a textbook's example: rho = -29/165.
IQ = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
HOURS = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]


def test_textbook_example_comes_out() -> None:
    found = rank_correlations({"iq": IQ, "hours": HOURS})
    assert list(found) == [("iq", "hours")]
    correlation = found["iq", "hours"]
    assert correlation.rho == pytest.approx(-29 / 165)
    assert correlation.low < correlation.rho < correlation.high


def test_equal_values_share_their_ranks() -> None:
    assert ranks(np.array([10.0, 20.0, 20.0, 5.0])).tolist() == [2.0, 3.5, 3.5, 1.0]
    # by hand: ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4 are 4.5 / sqrt(4.5 * 5)
    found = spearman(np.array([1.0, 2.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found == pytest.approx(4.5 / np.sqrt(4.5 * 5.0))


def test_only_the_order_counts_and_its_reverse_is_minus_one() -> None:
    x = np.linspace(-1.0, 2.0, 12)
    found = rank_correlations(
        {"x": x.tolist(), "up": np.exp(3 * x).tolist(), "down": (-x).tolist()}
    )
    assert found["x", "up"] == (1.0, 1.0, 1.0)
    assert found["up", "down"] == (-1.0, -1.0, -1.0)
    assert len(found) == 3


def test_score_that_never_changes_has_no_correlation() -> None:
    found = rank_correlations({"flat": [1.0] * 6, "up": [1.0, 2, 3, 4, 5, 6]})
    assert np.isnan(found["flat", "up"]).all()


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(60):
        x = rng.normal(size=40)
        y = 0.6 * x + 0.8 * rng.normal(size=40)
        found = rank_correlations(
            {"x": x.tolist(), "y": y.tolist()}, block=1, draws=200, confidence=0.9
        )["x", "y"]
        hits += found.low <= 6 / np.pi * np.arcsin(0.6 / 2) <= found.high  # of a normal pair
    assert 45 <= hits <= 60


def test_blocks_widen_the_interval_of_alike_neighbours() -> None:
    rng = np.random.default_rng(3)
    slow = {name: np.cumsum(rng.normal(size=80)).tolist() for name in ("a", "b")}
    single, blocks = (rank_correlations(slow, block=n)["a", "b"] for n in (1, 12))
    assert single.rho == blocks.rho
    assert blocks.high - blocks.low > 1.5 * (single.high - single.low)


def test_same_seed_gives_the_same_interval() -> None:
    scores = {"iq": IQ, "hours": HOURS}
    assert rank_correlations(scores, seed=5) == rank_correlations(scores, seed=5)
    assert rank_correlations(scores, seed=5) != rank_correlations(scores, seed=6)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "found none"),
        ({"a": [1.0, 2, 3]}, "found {'a': 3}"),
        ({"a": [1.0, 2], "b": [1.0, 2]}, "3 or more checkpoints, found {'a': 2, 'b': 2}"),
        ({"a": [1.0, 2, 3], "b": [1.0, 2, 3, 4]}, "found {'a': 3, 'b': 4}"),
        ({"a": [1.0, 2, 3], "b": [1.0, float("nan"), 3]}, "score b: .* found nan at checkpoint 1"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores: dict[str, list[float]], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        rank_correlations(scores)
