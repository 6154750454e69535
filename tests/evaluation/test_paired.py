"""Blocks of time, Student's t on them, and the tests of looks, against definitions and by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from batchlearn.evaluation.paired import (
    Difference,
    analyses_tested,
    blocked_difference,
    largest_correlation,
    sequential_difference,
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


# --- looks ----------------------------------------------------------------------------------------------------------


def test_looks_are_tested_when_they_have_doubled() -> None:
    assert [analyses_tested(looks) for looks in (0, 14, 15, 29, 30, 59, 60, 119, 120, 10_000)] == [
        *(0, 0, 15, 15, 30, 30, 60, 60, 120),
        7_680,
    ]


@pytest.mark.parametrize(("looks", "share"), [(15, 1 / 4), (30, 3 / 8), (60, 3 / 16), (120, 3 / 32)])
def test_each_test_is_a_t_test_at_its_share_of_alpha(looks: int, share: float) -> None:
    # Looks that alternate do not resemble each other, so nothing widens the interval.
    mean = 0.3 + (-1.0) ** np.arange(looks) * np.random.default_rng(looks).uniform(0.9, 1.1, looks)
    assert largest_correlation(mean, np.ones(looks)) == 0.0
    found = sequential_difference(mean, np.ones(looks), 0.05)
    expected = stats.t.interval(1.0 - 0.05 * share, looks - 1, mean.mean(), stats.sem(mean))
    assert found.value == pytest.approx(mean.mean())
    assert bounds(found) == pytest.approx(expected)


def test_all_its_intervals_together_cover() -> None:
    rng, trials, missed, naive = np.random.default_rng(5), 300, 0, 0
    for _ in range(trials):
        mean, weight = 1.0 + rng.normal(size=60), np.ones(60)
        every = [sequential_difference(mean[:looks], weight[:looks], 0.2) for looks in (15, 30, 60)]
        missed += any(one.low is not None and one.high is not None and not one.low <= 1.0 <= one.high for one in every)
        naive += any(stats.ttest_1samp(mean[:looks], 1.0).pvalue < 0.2 for looks in (15, 30, 60))
    assert 0 < missed <= 0.2 * trials
    assert naive > 0.25 * trials, "a test for one look, asked three times, misses more often"


@pytest.mark.parametrize("memory", [0.0, 0.35, 0.7])
def test_the_correlation_is_seldom_larger_than_it_says(memory: float) -> None:
    rng = np.random.default_rng(6)
    above = 0
    for _ in range(400):
        shock = rng.normal(size=30)
        for look in range(1, 30):
            shock[look] = memory * shock[look - 1] + math.sqrt(1.0 - memory**2) * shock[look]
        above += largest_correlation(shock, np.ones(30)) < memory
    assert above <= 0.08 * 400


def test_looks_that_resemble_each_other_widen_it_or_leave_none() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=60)
    lasting = np.array([noise[max(0, i - 1) : i + 1].sum() for i in range(60)])
    low, high = bounds(sequential_difference(lasting, np.ones(60), 0.05))
    shuffled = bounds(sequential_difference(rng.permutation(lasting), np.ones(60), 0.05))
    assert high - low > 1.5 * (shuffled[1] - shuffled[0])
    assert sequential_difference(np.cumsum(noise), np.ones(60), 0.05).low is None


def test_it_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(0)
    mean, weight = rng.normal(size=30), rng.uniform(0.5, 2.0, 30)
    low, high = bounds(sequential_difference(mean, weight, 0.05))
    assert bounds(sequential_difference(1e-8 * mean, 1e7 * weight, 0.05)) == pytest.approx((1e-8 * low, 1e-8 * high))


def test_equal_looks_leave_no_doubt() -> None:
    found = sequential_difference(np.full(15, 0.25), np.ones(15), 0.05)
    assert (found.value, *bounds(found)) == pytest.approx((0.25, 0.25, 0.25), abs=1e-15)
