"""Abstention: expected costs by hand, Chow's rule as the optimum, and the curve against sums over rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.abstention import (
    Abstention,
    abstention,
    best_action,
    errors_cost,
    expected_costs,
    risk_coverage,
    threshold_for_share,
    uncertainty,
)
from batchlearn.evaluation.intervals import resampling
from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.report import evaluate
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.models.decision import Costs

ROWS = 20_000
COST = errors_cost(false_alarm=1.0, miss=4.0)


def two_classes(seed: int = 0, rows: int = ROWS) -> tuple[Array, Any, Array]:
    rng = np.random.default_rng(seed)
    probability = 1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.5, rows)))
    return probability, (rng.random(rows) < probability).astype(int), rng.uniform(0.5, 2.0, rows)


def judged(threshold: float, seed: int = 0, fee: float | None = None) -> Abstention:
    probability, label, weight = two_classes(seed)
    return abstention(probability, label, weight, COST, threshold, resampling(ROWS, 0), fee)


def test_two_classes_by_hand() -> None:
    probability = np.array([0.0, 0.1, 0.2, 0.5, 1.0])
    assert expected_costs(probability, COST) == pytest.approx(
        np.array([[0.0, 1.0], [0.4, 0.9], [0.8, 0.8], [2.0, 0.5], [4.0, 0.0]])
    )
    # A miss costs four false alarms, so the alarm is given from a probability of 1 / 5 on.
    assert best_action(probability, COST).tolist() == [0, 0, 0, 1, 1]
    assert uncertainty(probability, COST) == pytest.approx([0.0, 0.4, 0.8, 0.5, 0.0])


def test_what_every_action_costs_is_no_uncertainty() -> None:
    probability = two_classes()[0]
    plain = uncertainty(probability, COST)
    assert uncertainty(probability, COST + np.array([3.0, 1.0])) == pytest.approx(plain, abs=1e-12)
    assert uncertainty(probability, 7.0 * COST) == pytest.approx(7.0 * plain)


def test_more_classes_and_more_actions() -> None:
    cost = np.array([[0.0, 2.0, 5.0], [1.0, 0.0, 1.0], [9.0, 3.0, 0.0], [0.9, 0.9, 0.9]])
    probability = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    by_hand = [0.7 - 0.0, 0.0, 2 / 3]
    assert uncertainty(probability, cost) == pytest.approx(by_hand)
    assert best_action(probability, cost).tolist() == [1, 0, 1]


def test_the_share_and_the_costs_are_sums_over_rows() -> None:
    probability, label, weight = two_classes()
    found = judged(0.4, fee=0.3)
    uncertain = np.minimum(4.0 * probability, 1.0 - probability)
    left = uncertain > 0.4
    paid = np.where(probability > 0.2, 1.0 * (label == 0), 4.0 * (label == 1))
    assert found.left.value == pytest.approx(np.average(left, weights=weight))
    assert found.cost_alone.value == pytest.approx(np.average(paid, weights=weight))
    assert found.cost_decided.value == pytest.approx(np.average(paid[~left], weights=weight[~left]))
    assert found.cost_with_people.value == pytest.approx(np.average(np.where(left, 0.3, paid), weights=weight))
    for estimate in (found.left, found.cost_alone, found.cost_decided, found.cost_with_people):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.value is not None
        assert estimate.low < estimate.value < estimate.high
    assert json.loads(json.dumps(found.to_json()))["left"]["value"] == found.left.value


def test_the_fee_is_the_best_threshold() -> None:
    fee = 0.4
    costs = {threshold: judged(threshold, fee=fee).cost_with_people.value for threshold in (0.1, 0.2, 0.4, 0.6, 0.75)}
    assert min(costs, key=lambda threshold: costs[threshold] or 0.0) == fee
    assert (costs[fee] or 0.0) < (judged(0.0, fee=fee).cost_alone.value or 0.0)


def test_an_evaluation_with_a_fee_has_the_share_left_to_people() -> None:
    probability, label, weight = two_classes(rows=2_000)
    held_out = ScoredRows(label.astype(float), probability, weight)
    costs = Costs(1.0, 4.0, fee=0.5)
    found = evaluate("classes", held_out, {}, 0, costs=costs)
    alone = abstention(probability, label, weight, costs.table, 0.5, resampling(2_000, 0))
    assert found.abstention == alone
    assert found.to_json()["abstention"] == json.loads(json.dumps(alone.to_json()))
    assert 0.0 < (alone.left.value or 0.0) < 1.0
    assert f"{alone.left.value:.1%} of rows" in str(alone)
    # Rows of a class that training never saw have no costs and are left out.
    unseen = np.arange(2_000) < 100
    some = ScoredRows(np.where(unseen, np.nan, label), probability, weight, {}, unseen, {"new": 100})
    without = evaluate("classes", some, {}, 0, costs=costs).abstention
    assert without is not None
    rest = np.average((np.minimum(1 - probability, 4 * probability) > 0.5)[100:], weights=weight[100:])
    assert without.left.value == pytest.approx(rest)
    assert evaluate("classes", held_out, {}, 0, costs=Costs(1.0, 4.0)).abstention is None


def test_nobody_asked_and_everybody_asked() -> None:
    alone = judged(10.0)
    assert alone.left.value == 0.0
    assert alone.cost_with_people == alone.cost_alone == alone.cost_decided
    everybody = judged(0.0)
    assert everybody.left.value == 1.0
    assert everybody.cost_decided.value is None
    assert everybody.cost_with_people.value == 0.0


def test_the_curve_is_the_mean_of_the_most_certain_rows() -> None:
    probability, label, weight = two_classes(rows=999)
    uncertain = uncertainty(probability, COST)
    paid = COST[best_action(probability, COST), label]
    curve = risk_coverage(uncertain, paid, weight)
    assert len(curve) == 50
    for point in curve:
        inside = uncertain <= point.threshold
        assert point.coverage == pytest.approx(weight[inside].sum() / weight.sum())
        assert point.cost == pytest.approx(np.average(paid[inside], weights=weight[inside]))
    assert curve[-1].coverage == 1.0
    assert curve[0].cost < 0.2 * curve[-1].cost


def test_equal_uncertainty_is_one_point() -> None:
    curve = risk_coverage(np.zeros(10), np.arange(10.0), np.ones(10))
    assert [(point.coverage, point.cost) for point in curve] == [(1.0, 4.5)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.9, 1.0])
def test_a_share_gives_the_smallest_threshold_that_keeps_it(share: float) -> None:
    probability, _, weight = two_classes(rows=500)
    uncertain = np.round(uncertainty(probability, COST), 2)  # with ties
    threshold = threshold_for_share(uncertain, weight, share)
    total = weight.sum()
    assert weight[uncertain > threshold].sum() <= share * total * (1 + 1e-9)
    if threshold > 0.0:
        assert weight[uncertain >= threshold].sum() > share * total


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cost": np.ones((1, 2))}, "cost-table"),
        ({"cost": np.array([[0.0, np.inf], [1.0, 0.0]])}, "cost-table"),
        ({"cost": np.ones((2, 3))}, "probability-shape"),
        ({"probability": np.full((3, 2), 0.6)}, "not-probabilities"),
        ({"probability": np.array([0.1, np.nan, 0.2])}, "not-probabilities"),
        ({"probability": np.array([0.1, 1.5, 0.2])}, "not-probabilities"),
        ({"label": np.array([0, 1])}, "abstention-rows"),
        ({"label": np.array([0, 1, 2])}, "abstention-rows"),
        ({"label": np.array([0, 1, -1])}, "abstention-rows"),
        ({"weight": np.zeros(3)}, "abstention-rows"),
        ({"weight": np.array([1.0, -1.0, 1.0])}, "abstention-rows"),
        ({"threshold": -0.1}, "threshold-range"),
        ({"threshold": float("nan")}, "threshold-range"),
        ({"fee": -1.0}, "threshold-range"),
    ],
)
def test_what_cannot_be_judged_is_refused(change: dict[str, Any], code: str) -> None:
    arguments = {
        "probability": np.array([0.1, 0.4, 0.2]),
        "label": np.array([0, 1, 1]),
        "weight": np.ones(3),
        "cost": COST,
        "threshold": 0.3,
        "plan": resampling(3, 0),
    }
    with pytest.raises((DataError, UsageError)) as refused:
        abstention(**{**arguments, **change})
    assert refused.value.code == code


def test_a_share_outside_its_range_and_no_rows_are_refused() -> None:
    with pytest.raises(UsageError, match=r"share .* is 1.5"):
        threshold_for_share(np.ones(3), np.ones(3), 1.5)
    with pytest.raises(DataError, match="no rows with weight"):
        threshold_for_share(np.empty(0), np.empty(0), 0.5)
