"""Abstention: expected costs by hand, Chow's rule as the optimum, and the curve against sums over rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from batchlearn.errors import DataError
from batchlearn.evaluation.abstention import Abstention, abstention, risk_coverage
from batchlearn.evaluation.intervals import resampling
from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.report import evaluate
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.models.decision import Costs

ROWS = 20_000
COSTS = Costs(false_positive=1.0, false_negative=4.0)


def two_classes(seed: int = 0, rows: int = ROWS) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    probability = 1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.5, rows)))
    return probability, (rng.random(rows) < probability).astype(float), rng.uniform(0.5, 2.0, rows)


def judged(fee: float) -> Abstention:
    probability, label, weight = two_classes()
    found = abstention(replace(COSTS, fee=fee), label, probability, weight, resampling(ROWS, 0))
    assert found is not None
    return found


def test_two_classes_by_hand() -> None:
    probability = np.array([0.0, 0.1, 0.2, 0.5, 1.0])
    # A miss costs four false alarms, so the alarm is given from a probability of 1 / 5 on.
    assert COSTS.uncertainty(probability) == pytest.approx([0.0, 0.4, 0.8, 0.5, 0.0])


def test_the_share_and_the_costs_are_sums_over_rows() -> None:
    probability, label, weight = two_classes()
    found = judged(0.4)
    uncertain = np.minimum(4.0 * probability, 1.0 - probability)
    left = uncertain > 0.4
    paid = np.where(probability > 0.2, 1.0 * (label == 0), 4.0 * (label == 1))
    assert found.left.value == pytest.approx(np.average(left, weights=weight))
    assert found.cost_alone.value == pytest.approx(np.average(paid, weights=weight))
    assert found.cost_decided.value == pytest.approx(np.average(paid[~left], weights=weight[~left]))
    assert found.cost_with_people.value == pytest.approx(np.average(np.where(left, 0.4, paid), weights=weight))
    for estimate in (found.left, found.cost_alone, found.cost_decided, found.cost_with_people):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.value is not None
        assert estimate.low < estimate.value < estimate.high
    assert json.loads(json.dumps(found.to_json()))["left"]["value"] == found.left.value


def test_the_fee_is_the_best_threshold() -> None:
    probability, label, weight = two_classes()
    uncertain, paid = COSTS.uncertainty(probability), np.where(probability > 0.2, 1.0 - label, 4.0 * label)
    costs = {
        threshold: np.average(np.where(uncertain > threshold, 0.4, paid), weights=weight)
        for threshold in (0.1, 0.2, 0.4, 0.6, 0.75)
    }
    assert min(costs, key=lambda threshold: costs[threshold]) == 0.4
    assert judged(0.4).cost_with_people.value == pytest.approx(costs[0.4])
    assert costs[0.4] < (judged(0.4).cost_alone.value or 0.0)


def test_an_evaluation_with_a_fee_has_the_share_left_to_people() -> None:
    probability, label, weight = two_classes(rows=2_000)
    held_out = ScoredRows(label, probability, weight)
    costs = Costs(1.0, 4.0, fee=0.5)
    found = evaluate("classes", held_out, {}, 0, costs=costs)
    alone = abstention(costs, label, probability, weight, resampling(2_000, 0))
    assert alone is not None
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
    uncertain, paid = COSTS.uncertainty(probability), np.where(probability > 0.2, 1.0 - label, 4.0 * label)
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


def test_what_is_no_probability_is_refused() -> None:
    for wrong in (np.nan, -0.1, 1.5):
        with pytest.raises(DataError, match="no probability") as refused:
            COSTS.uncertainty(np.array([0.1, wrong, 0.2]))
        assert refused.value.code == "not-probabilities"
