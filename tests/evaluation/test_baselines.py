"""Baselines know the training labels and, of the test labels, only those that came before."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from batchlearn.evaluation.baselines import constant_baseline, last_known, last_value_baseline
from batchlearn.evaluation.metrics import Array, MetricTask


def looped_last(label: Array, group: NDArray[np.integer]) -> Array:
    """The definition, row by row."""
    seen: dict[int, float] = {}
    last = np.full(len(label), np.nan)
    for row, (value, key) in enumerate(zip(label, group, strict=True)):
        last[row] = seen.get(int(key), np.nan)
        if not np.isnan(value):
            seen[int(key)] = value
    return last


def test_constant_is_the_weighted_mean() -> None:
    assert constant_baseline(np.array([1.0, 0.0]), np.array([3.0, 1.0]), 3).tolist() == [0.75, 0.75, 0.75]
    assert constant_baseline(np.array([1.0, 4.0]), None, 1).tolist() == [2.5]


@pytest.mark.parametrize("groups", [1, 3, 40])
def test_last_known_is_its_definition(groups: int) -> None:
    rng = np.random.default_rng(groups)
    label = rng.normal(size=200)
    label[rng.random(200) < 0.2] = np.nan
    group = rng.integers(-1, groups, 200)
    np.testing.assert_array_equal(last_known(label, group), looped_last(label, group))


def test_last_known_of_no_rows_is_no_rows() -> None:
    assert last_known(np.zeros(0), np.zeros(0, dtype=np.intp)).shape == (0,)


@pytest.mark.parametrize("task", ["classes", "number", "count"])
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_without_groups_all_rows_are_one_group_to_the_bit(task: MetricTask, rows: int) -> None:
    rng = np.random.default_rng(rows)
    train, test, weight = (rng.integers(0, 2, n).astype(np.float64) for n in (rows, 7, rows))
    weight += rng.random(rows)
    alone = last_value_baseline(task, train, None, test, None, weight)
    one = last_value_baseline(task, train, np.zeros(rows, dtype=int), test, np.zeros(7, dtype=int), weight)
    assert (alone is None) == (one is None) == (rows == 1)
    if alone is not None and one is not None:
        assert alone.tobytes() == one.tobytes()


def test_classes_use_smoothed_transition_rates() -> None:
    # Transitions 0->0, 0->1, 1->1, 1->1: (1 + 1) / (2 + 2) after 0 and (2 + 1) / (2 + 2) after 1.
    train = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    found = last_value_baseline("classes", train, None, np.array([0.0, 1.0, 1.0]), None)
    assert found is not None
    assert found.tolist() == [0.75, 0.5, 0.75]


def test_a_number_regresses_on_the_last_one() -> None:
    rng = np.random.default_rng(0)
    label = np.zeros(4000)
    for row in range(1, 4000):
        label[row] = 1.0 + 0.6 * label[row - 1] + rng.normal()
    found = last_value_baseline("number", label[:3000], None, label[3000:], None)
    slope, intercept = np.polyfit(label[:2999], label[1:3000], 1)
    assert found == pytest.approx(intercept + slope * label[2999:-1])


def test_weights_act_as_repeated_transitions() -> None:
    train, test = np.array([1.0, 3.0, 2.0, 4.0]), np.array([0.0, 1.0])
    group = np.array([0, 0, 1, 1])
    weighted = last_value_baseline("number", train, group, test, group[2:], np.array([1.0, 2.0, 1.0, 1.0]))
    # Two series 1 -> 3 at half the weight of the row each are one at full weight.
    doubled, doubled_group = np.array([1.0, 3.0, 1.0, 3.0, 2.0, 4.0]), np.array([2, 2, 0, 0, 1, 1])
    half = np.array([0.5, 1.0, 0.5, 1.0, 1.0, 1.0])
    repeated = last_value_baseline("number", doubled, doubled_group, test, group[2:], half)
    assert weighted is not None
    assert weighted == pytest.approx(repeated)


@pytest.mark.parametrize(("factor", "expected"), [(-1.0, "flat"), (1.5, "unit")])
def test_the_slope_stays_between_0_and_1(factor: float, expected: str) -> None:
    train = factor ** np.arange(12.0)
    found = last_value_baseline("number", train, None, np.array([5.0, 7.0, 0.0]), None)
    assert found is not None
    steps = np.diff(found[1:])
    assert steps == pytest.approx([0.0 if expected == "flat" else 2.0])


def test_counts_stay_above_zero() -> None:
    # The regression gives 2 * 1 - 1 = 1 after the last 1, and less than zero after zero, before clipping.
    train = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 10.0, 10.0])
    found = last_value_baseline("count", train, None, np.array([0.0, 0.0]), None)
    assert found is not None
    assert np.all(found >= 0.01 * train.mean())
    nothing = last_value_baseline("count", np.zeros(5), None, np.zeros(2), None)
    assert nothing is not None
    assert np.all(nothing > 0.0)


@pytest.mark.parametrize("task", ["classes", "number", "count"])
def test_a_group_never_seen_gets_the_constant_and_then_its_own_last(task: MetricTask) -> None:
    train, group = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1, 0, 1])
    found = last_value_baseline(task, train, group, np.array([1.0, 0.0, 1.0]), np.array([9, 9, 0]))
    assert found is not None
    assert found[0] == pytest.approx(train.mean())
    assert found[1] != found[0]


@pytest.mark.parametrize("task", ["classes", "number", "count"])
def test_no_look_ahead(task: MetricTask) -> None:
    rng = np.random.default_rng(2)
    label, group = rng.integers(0, 2, 100).astype(np.float64), rng.integers(0, 4, 100)
    before = last_value_baseline(task, label[:60], group[:60], label[60:], group[60:])
    changed = label.copy()
    changed[80:] = 1.0 - changed[80:]
    after = last_value_baseline(task, changed[:60], group[:60], changed[60:], group[60:])
    assert before is not None
    assert after is not None
    assert np.array_equal(before[:21], after[:21])
    assert not np.array_equal(before, after)


def test_an_unseen_class_is_never_the_last_value() -> None:
    train = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    with_gap = last_value_baseline("classes", train, None, np.array([0.0, np.nan, 1.0]), None)
    assert with_gap is not None
    assert np.isfinite(with_gap).all()
    assert with_gap[2] == with_gap[1]


def test_without_a_transition_there_is_no_baseline() -> None:
    assert last_value_baseline("number", np.array([1.0]), None, np.array([2.0]), None) is None
    apart = np.array([0, 1, 2])
    assert last_value_baseline("number", np.arange(3.0), apart, np.arange(3.0), apart) is None


def test_many_rows_are_no_loop() -> None:
    rng = np.random.default_rng(0)
    label, group = rng.poisson(2.0, 200_000).astype(np.float64), rng.integers(0, 5000, 200_000)
    started = time.process_time()
    last_value_baseline("count", label[:160_000], group[:160_000], label[160_000:], group[160_000:])
    # About 0.05 s; a loop over rows or over groups takes far more than the bound.
    assert time.process_time() - started < 2.0
