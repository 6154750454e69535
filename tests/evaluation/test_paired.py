"""Blocks of time, Student's t on them, and the confidence sequence, against definitions and by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.paired import (
    EFFECT,
    Difference,
    blocked_difference,
    confidence_sequence,
    time_blocks,
)


def bounds(found: Difference) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (39, 1), (40, 2), (100, 5), (160, 8), (159, 7), (12_345, 8)])
def test_blocks_are_even_where_nothing_else_is_said(rows: int, blocks: int) -> None:
    starts = time_blocks(np.ones(rows), None)
    sizes = np.diff(starts, append=rows)
    assert len(starts) == blocks
    assert starts[0] == 0
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(time_blocks(np.ones(rows), np.arange(rows)), starts)


def test_rows_of_one_time_stay_together() -> None:
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(0, 30, 3_000))
    weight = rng.uniform(0.5, 2.0, 3_000)
    starts = time_blocks(weight, time)
    assert len(starts) == 8
    assert all(time[start] != time[start - 1] for start in starts[1:])
    share = np.add.reduceat(weight, starts) / weight.sum()
    assert np.all(np.abs(share - 1 / 8) < 1 / 30)
    assert time_blocks(weight, np.zeros(3_000)).tolist() == [0]
    assert len(time_blocks(weight, time // 10)) == 3


def test_blocks_have_rows_with_weight() -> None:
    weight = np.zeros(1_000)
    weight[400:500] = 1.0
    starts = time_blocks(weight, None)
    assert np.all(np.add.reduceat(weight > 0.0, starts) >= 20)
    assert len(starts) == 5
    heavy = np.ones(1_000)
    heavy[:10] = 1_000.0  # the first cuts would fall among ten rows
    assert np.all(np.diff(time_blocks(heavy, None), append=1_000) >= 20)


# --- Student's t ----------------------------------------------------------------------------------------------------


def test_equal_blocks_are_a_t_test_of_their_means() -> None:
    # Block means that alternate do not resemble each other, so nothing widens the interval.
    difference = np.random.default_rng(0).normal(0.1, 1.0, 800) + np.repeat((-1.0) ** np.arange(8), 100)
    starts = time_blocks(np.ones(800), None)
    found = blocked_difference(difference, np.ones(800), starts, 0.05)
    means = difference.reshape(8, 100).mean(axis=1)
    expected = stats.t.interval(0.95, 7, means.mean(), stats.sem(means))
    assert found.value == pytest.approx(difference.mean())
    assert bounds(found) == pytest.approx(expected)


def test_blocks_that_resemble_their_neighbours_widen_it() -> None:
    means = np.array([3.0, 2.0, 1.0, 0.0, 0.0, -1.0, -2.0, -3.0])
    starts = np.arange(0, 160, 20)
    low, high = bounds(blocked_difference(np.repeat(means, 20), np.ones(160), starts, 0.05))
    mixed = blocked_difference(np.repeat(means[[0, 7, 1, 6, 2, 5, 3, 4]], 20), np.ones(160), starts, 0.05)
    correlation = means[1:] @ means[:-1] / (means @ means) + 1 / 8
    assert (high - low) / (bounds(mixed)[1] - bounds(mixed)[0]) == pytest.approx(
        math.sqrt((1 + correlation) / (1 - correlation))
    )


def test_few_blocks_have_a_value_and_no_interval() -> None:
    found = blocked_difference(np.arange(80.0), np.ones(80), time_blocks(np.ones(80), None), 0.05)
    assert found == Difference(39.5, None, None)


@pytest.mark.parametrize("first", [1.0, 10.0, 50.0])
def test_intervals_cover_where_one_block_is_heavy(first: float) -> None:
    rng, covered, trials = np.random.default_rng(1), 0, 1_500
    weight = np.repeat([first, *[1.0] * 7], 25)
    starts = np.arange(0, 200, 25)
    for _ in range(trials):
        # A block's mean has a variance inversely proportional to its weight, as that of many rows has.
        difference = np.repeat(rng.normal(size=8) / np.sqrt(weight[starts]), 25)
        low, high = bounds(blocked_difference(difference, weight, starts, 0.05))
        covered += low <= 0.0 <= high
    # With one block of most of the weight there is little to go by, and the interval is on the safe side.
    assert 0.935 <= covered / trials <= (0.975 if first == 1.0 else 0.999)


def test_scale_and_sign_of_the_difference_carry_over() -> None:
    difference = np.random.default_rng(0).normal(0.1, 1.0, 400)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 400)
    starts = time_blocks(weight, None)
    low, high = bounds(blocked_difference(difference, weight, starts, 0.05))
    assert bounds(blocked_difference(-1e-9 * difference, 1e6 * weight, starts, 0.05)) == pytest.approx(
        (-1e-9 * high, -1e-9 * low)
    )


# --- confidence sequence --------------------------------------------------------------------------------------------


def log_bayes_factor(mean: Array, weight: Array, null: float) -> float:
    """Return the log of the marginal likelihoods' ratio, from the covariance matrices themselves."""
    scale = np.sqrt(weight / weight[0])
    rest = scale * (mean - null)
    covariance = np.eye(len(mean)) + EFFECT**2 * np.outer(scale, scale)
    ratio = (rest @ rest) / (rest @ np.linalg.solve(covariance, rest))
    return float(-0.5 * np.linalg.slogdet(covariance)[1] + 0.5 * len(mean) * math.log(ratio))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_at_its_ends_the_bayes_factor_is_one_over_alpha(alpha: float) -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2.0, 20)
    # Looks that alternate do not resemble each other, so nothing widens the interval.
    mean = 0.3 + 0.1 * (-1.0) ** np.arange(20) + 0.01 * rng.normal(size=20)
    found = confidence_sequence(mean, weight, alpha)
    assert found.value == pytest.approx(np.average(mean, weights=weight))
    for end in bounds(found):
        assert log_bayes_factor(mean, weight, end) == pytest.approx(-math.log(alpha), rel=1e-9)


def test_all_intervals_together_cover() -> None:
    rng, trials, missed = np.random.default_rng(5), 400, 0
    for _ in range(trials):
        weight = rng.uniform(0.5, 2.0, 80)
        mean = 1.0 + rng.normal(size=80) / np.sqrt(weight)
        every = [confidence_sequence(mean[:looks], weight[:looks], 0.2) for looks in range(1, 81)]
        missed += any(one.low is not None and one.high is not None and not one.low <= 1.0 <= one.high for one in every)
    assert missed <= 0.2 * trials
    # An interval for one look, at every look, misses far more often.
    assert missed > 0


def test_looks_that_resemble_each_other_widen_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    lasting = np.array([noise[max(0, i - 4) : i + 1].sum() for i in range(40)])
    low, high = bounds(confidence_sequence(lasting, np.ones(40), 0.05))
    shuffled = confidence_sequence(rng.permutation(lasting), np.ones(40), 0.05)
    assert high - low > 1.5 * (bounds(shuffled)[1] - bounds(shuffled)[0])


def test_it_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    mean, weight = rng.normal(size=12), rng.uniform(0.5, 2.0, 12)
    low, high = bounds(confidence_sequence(mean, weight, 0.05))
    assert bounds(confidence_sequence(1e-8 * mean, 1e7 * weight, 0.05)) == pytest.approx((1e-8 * low, 1e-8 * high))


def test_four_looks_and_a_strict_alpha_give_no_interval() -> None:
    assert confidence_sequence(np.arange(4.0), np.ones(4), 0.05) == Difference(1.5, None, None)
    assert confidence_sequence(np.arange(5.0), np.ones(5), 1e-4) == Difference(2.0, None, None)


def test_equal_looks_leave_no_doubt() -> None:
    assert confidence_sequence(np.full(12, 0.25), np.ones(12), 0.05) == Difference(0.25, 0.25, 0.25)
