"""Intervals cover as often as they say, widen with dependence, and their fast replicates are the slow ones."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from batchlearn.evaluation.intervals import (
    Estimate,
    Resampling,
    interval,
    metric_estimate,
    paired_difference,
    resampling,
    student_quantile,
)
from batchlearn.evaluation.metrics import METRICS, Array, Metric, MetricTask, falling_groups, proper_score


def metric_named(task: MetricTask, name: str) -> Metric:
    return next(metric for metric in METRICS[task] if metric.name == name)


def two_classes(rng: np.random.Generator, rows: int) -> tuple[Array, Array]:
    response = 1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.5, rows)))
    return (rng.random(rows) < response).astype(np.float64), response


@pytest.mark.parametrize(
    ("rows", "blocks"), [(1, 1), (7, 7), (20, 20), (399, 20), (400, 20), (1000, 50), (2000, 100), (50_001, 100)]
)
def test_blocks_are_contiguous_even_and_all_there(rows: int, blocks: int) -> None:
    plan = resampling(rows, seed=0, replicates=3)
    sizes = np.bincount(plan.block)
    assert len(plan.starts) == len(sizes) == blocks
    assert sizes.max() - sizes.min() <= 1
    assert np.all(np.diff(plan.block) >= 0)
    assert np.array_equal(np.searchsorted(plan.block, np.arange(blocks)), plan.starts)
    assert np.array_equal(plan.multiplicity.sum(axis=1), np.full(3, float(blocks)))


@pytest.mark.parametrize("rows", [30, 500, 5_000])
def test_blocks_hold_whole_clusters(rows: int) -> None:
    rng = np.random.default_rng(rows)
    clusters = np.repeat(np.arange(rows), rng.integers(1, 60, rows))[:rows]
    plan = resampling(rows, seed=0, replicates=3, clusters=clusters)
    assert plan.starts[0] == 0
    assert np.all(clusters[plan.starts[1:]] != clusters[plan.starts[1:] - 1])
    assert len(plan.starts) <= min(100, len(np.unique(clusters)))
    assert np.array_equal(np.searchsorted(plan.block, np.arange(len(plan.starts))), plan.starts)
    assert np.all(plan.multiplicity.sum(axis=1) == len(plan.starts))


def test_clusters_of_one_row_change_nothing() -> None:
    plain, single = resampling(700, 0), resampling(700, 0, clusters=np.arange(700))
    assert np.array_equal(plain.starts, single.starts)
    assert np.array_equal(plain.multiplicity, single.multiplicity)


def test_four_clusters_are_too_few_for_an_interval() -> None:
    label, response = two_classes(np.random.default_rng(0), 400)
    plan = resampling(400, 0, clusters=np.arange(400) // 100)
    found = metric_estimate(proper_score("classes"), label, response, np.ones(400), plan)
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_intervals_of_clusters_cover() -> None:
    """Rows of a person share an error: intervals that take rows for independent cover far less often."""
    covered = {True: 0, False: 0}
    for trial in range(300):
        rng = np.random.default_rng(trial)
        person = np.repeat(np.arange(60), 15)
        label = np.repeat(rng.normal(size=60), 15) + 0.3 * rng.normal(size=900)
        for clustered in covered:
            plan = resampling(900, trial, clusters=person) if clustered else resampling(900, trial)
            order = np.arange(900) if clustered else rng.permutation(900)
            found = metric_estimate(proper_score("number"), label[order], np.zeros(900), np.ones(900), plan)
            assert found.low is not None
            assert found.high is not None
            covered[clustered] += found.low <= 1.09 <= found.high
    assert covered[True] >= 0.88 * 300
    assert covered[False] <= 0.65 * 300


def test_the_seed_decides() -> None:
    first, second, other = (resampling(500, seed).multiplicity for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def slow_replicates(metric: Metric, label: Array, response: Array, weight: Array, plan: Resampling) -> Array:
    """Recompute the metric of every replicate from its rows."""
    values = [metric(label, response, weight * drawn[plan.block]) for drawn in plan.multiplicity]
    return np.array([np.nan if value is None else value for value in values])


@pytest.mark.parametrize("task", ["classes", "number", "count"])
@pytest.mark.parametrize("rows", [150, 900])
def test_block_sums_give_the_replicates_of_the_rows(task: MetricTask, rows: int) -> None:
    rng = np.random.default_rng(3)
    label, response = two_classes(rng, rows)
    if task != "classes":
        response = np.exp(rng.normal(size=rows))
        label = rng.poisson(response).astype(np.float64)
    weight = rng.integers(0, 3, rows).astype(np.float64)
    plan = resampling(rows, seed=0, replicates=60)
    for metric in METRICS[task]:
        value = metric(label, response, weight)
        assert value is not None
        expected = interval(value, slow_replicates(metric, label, response, weight, plan), len(plan.starts))
        found = metric_estimate(metric, label, response, weight, plan)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("name", ["auc", "average_precision"])
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_grouped_ranks_are_as_good_as_all_ranks(name: str, shift: float) -> None:
    rng = np.random.default_rng(4)
    response = 1.0 / (1.0 + np.exp(shift - rng.normal(-1.0, 1.5, 20_000)))
    label = (rng.random(20_000) < response).astype(np.float64)
    metric, ones = metric_named("classes", name), np.ones(20_000)
    assert len(falling_groups(response)[1]) > 2048
    plan = resampling(20_000, seed=0, replicates=40)
    value = metric(label, response, ones)
    assert value is not None
    expected = interval(value, slow_replicates(metric, label, response, ones, plan), 100)
    found = metric_estimate(metric, label, response, ones, plan)
    assert expected.low is not None
    assert expected.high is not None
    width = expected.high - expected.low
    assert found.value == value
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01 * width)


@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_few_groups_move_neither_value_nor_interval(name: str) -> None:
    label, response = two_classes(np.random.default_rng(4), 20_000)
    metric, ones, plan = metric_named("classes", name), np.ones(20_000), resampling(20_000, seed=0)
    fine = metric_estimate(metric, label, response, ones, plan)
    coarse = metric_estimate(metric, label, response, ones, replace(plan, rank_groups=24))
    assert fine.low is not None
    assert fine.high is not None
    assert coarse.value == fine.value
    assert (coarse.low, coarse.high) == pytest.approx((fine.low, fine.high), abs=0.1 * (fine.high - fine.low))


def test_replicates_that_lean_one_way_are_corrected_the_other_way() -> None:
    # Replicates around value + 0.5 standard deviations: the bias-corrected interval lies around value - 0.5.
    replicates = np.array([NormalDist(3.5, 1.0).inv_cdf(at / 20_000) for at in range(1, 20_000)])
    found = interval(3.0, replicates, 10_000)
    assert (found.low, found.high) == pytest.approx((2.5 - 1.96, 2.5 + 1.96), abs=0.01)


@pytest.mark.parametrize(("name", "rows"), [("log_loss", 200), ("log_loss", 1000), ("auc", 400)])
def test_95_percent_intervals_cover(name: str, rows: int) -> None:
    rng = np.random.default_rng(11)
    metric = metric_named("classes", name)
    truth = metric(*two_classes(rng, 1_000_000), np.ones(1_000_000))
    assert truth is not None
    covered = 0
    for seed in range(300):
        label, response = two_classes(rng, rows)
        found = metric_estimate(metric, label, response, np.ones(rows), resampling(rows, seed, replicates=200))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 300 <= 0.99


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    error = np.repeat(rng.normal(size=100), 100)
    plan = resampling(10_000, seed=0)
    widths = []
    for rows in (error, rng.permutation(error)):
        found = metric_estimate(proper_score("number"), rows, np.zeros(10_000), np.ones(10_000), plan)
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > 5 * widths[1]


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    loss_a = rng.exponential(size=5000)
    loss_b = loss_a + 0.01 + 0.05 * rng.normal(size=5000)
    weight = rng.uniform(0.5, 2.0, 5000)
    found = paired_difference(loss_a, loss_b, weight, resampling(5000, seed=0))
    assert found.value == pytest.approx(np.average(loss_a - loss_b, weights=weight))
    assert found.high is not None
    assert found.low is not None
    assert found.low < -0.01 < found.high < 0.0
    # 4 standard errors of the mean of 5000 differences with standard deviation 0.05, unequal weights included.
    assert found.high - found.low < 4 * 0.05 * 1.1 / np.sqrt(5000) * 1.2


def test_equal_losses_differ_by_exactly_nothing() -> None:
    loss = np.random.default_rng(0).random(100)
    assert paired_difference(loss, loss, np.ones(100), resampling(100, seed=0)) == Estimate(0.0, 0.0, 0.0)


def test_too_few_rows_have_a_value_and_no_interval() -> None:
    found = metric_estimate(proper_score("number"), np.arange(4.0), np.zeros(4), np.ones(4), resampling(4, 0))
    assert found == Estimate(3.5, None, None)


def test_replicates_that_are_mostly_undefined_give_no_interval() -> None:
    replicates = np.array([0.5, 0.6, np.nan, np.nan, np.nan])
    assert interval(0.5, replicates, 20) == Estimate(0.5, None, None)


def test_an_undefined_metric_has_no_interval() -> None:
    rows = np.ones(50), np.linspace(0.1, 0.9, 50), np.ones(50), resampling(50, 0)
    found = metric_estimate(metric_named("classes", "auc"), *rows)
    assert found == Estimate(None, None, None)
    assert found.to_json() == {"value": None, "low": None, "high": None}
    assert metric_estimate(metric_named("classes", "log_loss"), *rows).low is not None


def test_weight_on_few_blocks_leaves_the_interval_finite() -> None:
    weight = np.zeros(1000)
    weight[:45] = 1.0
    found = metric_estimate(
        proper_score("number"), np.random.default_rng(0).normal(size=1000), np.zeros(1000), weight, resampling(1000, 0)
    )
    assert found.low is not None
    assert found.high is not None
    assert np.isfinite([found.low, found.high]).all()


def test_student_quantile_is_that_of_the_tables() -> None:
    # Tables of Student's t, two-sided 95 %.
    assert student_quantile(0.975, 4) == pytest.approx(2.7764, rel=0.01)
    assert student_quantile(0.975, 19) == pytest.approx(2.093024, rel=1e-5)
    assert student_quantile(0.975, 99) == pytest.approx(1.984217, rel=1e-6)


def test_rows_of_a_cluster_in_another_order_have_the_same_interval() -> None:
    """One of some hundred replicates of six clusters is the rows themselves: it is neither below them nor above."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        losses, plan = rng.exponential(size=(2, 90)), resampling(90, 0, clusters=np.repeat(np.arange(6), 15))
        order = np.concatenate([15 * k + rng.permutation(15) for k in range(6)])
        one, other = (paired_difference(a, b, np.ones(90), plan) for a, b in (losses, losses[:, order]))
        assert (other.low, other.high) == pytest.approx((one.low, one.high), rel=1e-9)
