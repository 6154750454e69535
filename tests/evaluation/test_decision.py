"""Costs of decisions: the mean over rows, beside deciding always the same, with intervals that cover."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from batchlearn.evaluation.decision import DecisionCosts, cuts_at, judge_decisions
from batchlearn.evaluation.intervals import resampling
from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.report import evaluate
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.models.decision import Costs

COSTS = Costs(1.0, 9.0)


def two_classes(rows: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    response = 1.0 / (1.0 + np.exp(2.0 - 1.5 * rng.normal(size=rows)))
    return (rng.random(rows) < response).astype(np.float64), response


def judged(label: Array, response: Array, weight: Array | None = None, costs: Costs = COSTS) -> DecisionCosts:
    weight = np.ones(len(label)) if weight is None else weight
    return judge_decisions(costs, label, response, weight, resampling(len(label), 0))


def slow_cost(label: Array, yes: Any, weight: Array, costs: Costs = COSTS) -> float:
    total = 0.0
    for truth, decided, counts in zip(label, yes, weight, strict=True):
        total += counts * (costs.false_positive if decided and truth == 0.0 else 0.0)
        total += counts * (costs.false_negative if not decided and truth == 1.0 else 0.0)
    return total / float(weight.sum())


@pytest.mark.parametrize("seed", range(3))
def test_costs_are_means_over_rows(seed: int) -> None:
    label, response = two_classes(300, seed)
    response = response.round(2)
    weight = np.random.default_rng(seed).integers(0, 4, 300).astype(float)
    found = judged(label, response, weight)
    assert found.threshold == pytest.approx(0.1)
    assert found.cost.value == pytest.approx(slow_cost(label, response > 0.1, weight))
    assert found.always_no.value == pytest.approx(slow_cost(label, np.zeros(300), weight))
    assert found.always_yes.value == pytest.approx(slow_cost(label, np.ones(300), weight))
    cheaper = min(found.always_no.value or 0.0, found.always_yes.value or 0.0)
    assert found.saved.value == pytest.approx(cheaper - (found.cost.value or 0.0))
    assert found.share_of_yes == pytest.approx(np.average(response > 0.1, weights=weight))


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all(seed: int) -> None:
    label, response = two_classes(200, seed)
    response = response.round(1)  # many ties, and zeros among them
    weight = np.random.default_rng(seed).uniform(0.1, 3.0, 200)
    found = judged(label, response, weight)
    every = {t: slow_cost(label, response > t, weight) for t in np.linspace(0.0, 1.0, 201)}
    assert found.best_threshold is not None
    assert found.best_cost == pytest.approx(min(every.values()))
    assert slow_cost(label, response > found.best_threshold, weight) == pytest.approx(found.best_cost)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_one_class_alone(truth: float) -> None:
    found = judged(np.full(50, truth), np.linspace(0.0, 1.0, 50))
    assert found.best_cost == pytest.approx(0.0 if truth == 0.0 else 9.0 / 50)  # nothing is above a threshold of 1
    assert (found.always_no.value, found.always_yes.value) == ((0.0, 1.0) if truth == 0.0 else (9.0, 0.0))


def test_deciding_by_calibrated_probabilities_is_cheapest() -> None:
    label, response = two_classes(200_000)
    best = judged(label, response).cost.value or 0.0
    for other in (0.03, 0.05, 0.2, 0.5):
        assert slow_cost(label[:50_000], response[:50_000] > other, np.ones(50_000)) > best
    assert (judged(label, response).best_cost or 0.0) <= best


def test_intervals_cover_the_cost_of_the_population() -> None:
    label, response = two_classes(400_000, seed=99)
    truth = judged(label, response).cost.value or 0.0
    covered = 0
    for seed in range(200):
        found = judged(*two_classes(600, seed)).cost
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert covered >= 0.9 * 200


def test_rows_of_unseen_classes_are_left_out() -> None:
    label, response = two_classes(400)
    unseen = np.where(np.arange(400) % 10 == 0, np.nan, label)
    found, kept = judged(unseen, response), judged(label[np.arange(400) % 10 != 0], response[np.arange(400) % 10 != 0])
    assert found.cost.value == pytest.approx(kept.cost.value)
    assert (found.best_threshold, found.best_cost) == pytest.approx((kept.best_threshold, kept.best_cost))
    nothing = judged(np.full(30, np.nan), np.full(30, 0.3))
    assert nothing.cost.value is None
    assert nothing.best_cost is None
    json.dumps(nothing.to_json(), allow_nan=False)


def test_an_evaluation_says_where_decisions_save_nothing() -> None:
    label, response = two_classes(2_000)
    good = evaluate("classes", ScoredRows(label, response), {}, 0, costs=COSTS)
    assert good.decision is not None
    assert good.to_json()["decision"]["threshold"] == pytest.approx(0.1)
    assert not any("cheaper" in note for note in map(str, good.notes))
    poor = evaluate("classes", ScoredRows(label, np.full(2_000, label.mean())), {}, 0, costs=COSTS)
    (note,) = [note for note in map(str, poor.notes) if "cheaper" in note]
    assert "is not shown to be cheaper than always yes" in note or "always no" in note


# --- what a threshold finds -------------------------------------------------------------------------------------------


def test_a_cut_counts_what_it_finds_and_what_it_misses() -> None:
    label, response = two_classes(2000)
    label[:10] = np.nan
    known = ~np.isnan(label)
    found = cuts_at([0.5, 0.2, 0.5], label, response, np.ones(2000), resampling(2000, 0))
    assert [cut.threshold for cut in found] == [0.2, 0.5]
    for cut in found:
        above = known & (response > cut.threshold)
        assert cut.flagged == above.sum()
        assert cut.share.value == pytest.approx(above.sum() / known.sum())
        assert cut.precision.value == pytest.approx(label[above].mean())
        assert cut.recall.value == pytest.approx(label[above].sum() / label[known].sum())
        assert cut.recall.low is not None
        assert cut.recall.high is not None
        assert cut.recall.low < label[above].sum() / label[known].sum() < cut.recall.high


def test_a_cut_above_every_row_has_no_precision() -> None:
    label, response = two_classes(500)
    (cut,) = cuts_at([1.0], label, response, np.ones(500), resampling(500, 0))
    assert (cut.flagged, cut.precision.value, cut.recall.value) == (0, None, 0.0)
    assert cuts_at([0.5], label, response, np.zeros(500), resampling(500, 0)) == ()


def test_an_evaluation_cuts_at_one_half_the_base_rate_and_the_threshold_of_the_costs() -> None:
    label, response = two_classes(500)
    evaluation = evaluate("classes", ScoredRows(label, response), {"constant": np.full(500, 0.3)}, 0, costs=COSTS)
    assert [cut.threshold for cut in evaluation.cuts] == pytest.approx([0.1, 0.3, 0.5])
    assert json.loads(json.dumps(evaluation.to_json()["cuts"]))[2]["threshold"] == 0.5
    assert evaluate("number", ScoredRows(label, response), {}, 0).cuts == ()
