"""Every metric equals scikit-learn's, weight k equals a row repeated k times, and the order of rows is nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as oracle

from batchlearn.data.target import Target
from batchlearn.evaluation.metrics import (
    METRICS,
    Array,
    Metric,
    MetricTask,
    proper_score,
    row_losses,
    target_metrics,
)

TASKS: tuple[MetricTask, ...] = ("classes", "number", "count")
Oracle = Callable[..., float]


def rows_of(task: MetricTask, rows: int = 400, seed: int = 0) -> tuple[Array, Array, Array]:
    """Labels, responses with many ties, and whole-number weights that include zero."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 4, rows).astype(np.float64)
    if task == "classes":
        response = np.round(rng.uniform(0.02, 0.98, rows), 2)
        return (rng.random(rows) < response).astype(np.float64), response, weight
    if task == "number":
        response = rng.normal(1e4, 3.0, rows)
        return response + rng.normal(size=rows), response, weight
    response = np.exp(rng.normal(size=rows))
    return rng.poisson(response).astype(np.float64), response, weight


ORACLES: dict[tuple[MetricTask, str], Oracle] = {
    ("classes", "log_loss"): oracle.log_loss,
    ("classes", "brier"): oracle.brier_score_loss,
    ("classes", "auc"): oracle.roc_auc_score,
    ("classes", "average_precision"): oracle.average_precision_score,
    ("classes", "accuracy"): lambda y, p, sample_weight: oracle.accuracy_score(y, p > 0.5, sample_weight=sample_weight),
    ("number", "mse"): oracle.mean_squared_error,
    ("number", "rmse"): oracle.root_mean_squared_error,
    ("number", "mae"): oracle.mean_absolute_error,
    ("number", "r2"): oracle.r2_score,
    ("count", "poisson_deviance"): oracle.mean_poisson_deviance,
    ("count", "d2"): lambda y, m, sample_weight: oracle.d2_tweedie_score(y, m, power=1, sample_weight=sample_weight),
    ("count", "rmse"): oracle.root_mean_squared_error,
    ("count", "mae"): oracle.mean_absolute_error,
}
ENTRIES = [(task, metric) for task in TASKS for metric in METRICS[task]]
NAMES = [f"{task}-{metric.name}" for task, metric in ENTRIES]


@pytest.mark.parametrize("power", [1.02, 1.5, 1.98, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deviances_of_amounts_are_those_of_scikit_learn(power: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    response = np.exp(rng.normal(size=400))
    none = (rng.random(400) < 0.3) & (power < 2.0)
    label, weight = np.where(none, 0.0, rng.gamma(2.0, response)), rng.integers(0, 4, 400).astype(np.float64)
    target = Target("y", "gamma") if power == 2.0 else Target("y", "tweedie", power=power)
    deviance, share, *others = target_metrics(target)
    expected = oracle.mean_tweedie_deviance(label, response, sample_weight=weight, power=power)
    assert deviance(label, response, weight) == pytest.approx(expected, rel=1e-9)
    expected = oracle.d2_tweedie_score(label, response, sample_weight=weight, power=power)
    assert share(label, response, weight) == pytest.approx(expected, rel=1e-9)
    assert [deviance.name, *(other.name for other in others)] == [f"{target.loss}_deviance", "rmse", "mae"]
    # A perfect response has no deviance, and what rounding leaves is not negative.
    assert deviance(label[~none], label[~none], weight[~none]) == 0.0


def test_the_metrics_of_other_targets_are_those_of_their_task() -> None:
    for loss, task in (("logistic", "classes"), ("squared", "number"), ("poisson", "count")):
        assert target_metrics(Target("y", loss)) == METRICS[task]  # type: ignore[index]


def test_every_entry_of_the_table_has_an_oracle() -> None:
    assert {(task, metric.name) for task, metric in ENTRIES} == set(ORACLES)


@pytest.mark.parametrize(("task", "metric"), ENTRIES, ids=NAMES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_scikit_learn(task: MetricTask, metric: Metric, seed: int) -> None:
    label, response, weight = rows_of(task, seed=seed)
    expected = ORACLES[task, metric.name](label, response, sample_weight=weight)
    assert metric(label, response, weight) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("task", "metric"), ENTRIES, ids=NAMES)
def test_weight_k_is_k_rows_and_order_is_nothing(task: MetricTask, metric: Metric) -> None:
    label, response, weight = rows_of(task)
    value = metric(label, response, weight)
    repeated = np.repeat(np.arange(len(label)), weight.astype(np.intp))
    np.random.default_rng(5).shuffle(repeated)
    assert metric(label[repeated], response[repeated], np.ones(len(repeated))) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_row_losses_average_to_the_proper_score(task: MetricTask) -> None:
    label, response, weight = rows_of(task)
    mean = np.average(row_losses(task, label, response), weights=weight)
    assert proper_score(task)(label, response, weight) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_direction_says_that_a_perfect_response_wins(task: MetricTask) -> None:
    label, response, _ = rows_of(task)
    ones = np.ones(len(label))
    for metric in METRICS[task]:
        perfect, given = metric(label, label, ones), metric(label, response, ones)
        assert perfect is not None
        assert given is not None
        assert (perfect < given) == metric.lower_is_better


def test_extreme_responses_have_finite_losses() -> None:
    worst = -np.log(1e-15)
    assert row_losses("classes", np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])) == pytest.approx(
        [worst, worst, 0]
    )
    assert row_losses("count", np.array([2.0, 0.0]), np.array([0.0, 0.0])) == pytest.approx(
        [2 * (2 * np.log(2e15) - 2), 0.0], abs=1e-14
    )


def test_a_class_never_seen_has_a_defined_loss() -> None:
    label, response, ones = np.array([np.nan, 1.0, 0.0]), np.array([0.3, 0.8, 0.1]), np.ones(3)
    value = {metric.name: metric(label, response, ones) for metric in METRICS["classes"]}
    assert value["log_loss"] == pytest.approx((-np.log(1e-15) - np.log(0.8) - np.log(0.9)) / 3)
    # The Brier score of three classes, halved: the true class had probability zero.
    assert value["brier"] == pytest.approx(((1 + 0.3**2 + 0.7**2) / 2 + 0.04 + 0.01) / 3)
    assert value["accuracy"] == pytest.approx(2 / 3)
    assert value["auc"] == 1.0
    assert value["average_precision"] == 1.0


@pytest.mark.parametrize("only", [0.0, 1.0, np.nan])
def test_one_class_has_no_auc(only: float) -> None:
    auc = next(metric for metric in METRICS["classes"] if metric.name == "auc")
    assert auc(np.full(4, only), np.array([0.1, 0.2, 0.3, 0.4]), np.ones(4)) is None
    # A second class that weighs nothing is not there either.
    assert auc(np.array([1.0, 1.0, 0.0]), np.array([0.1, 0.2, 0.3]), np.array([1.0, 1.0, 0.0])) is None


def test_average_precision_without_class_one_is_undefined() -> None:
    metric = next(metric for metric in METRICS["classes"] if metric.name == "average_precision")
    assert metric(np.zeros(3), np.array([0.1, 0.2, 0.3]), np.ones(3)) is None


@pytest.mark.parametrize(("task", "name"), [("number", "r2"), ("count", "d2")])
def test_equal_labels_leave_nothing_to_explain(task: MetricTask, name: str) -> None:
    metric = next(metric for metric in METRICS[task] if metric.name == name)
    rng = np.random.default_rng(0)
    assert metric(np.full(7, 0.1), rng.random(7), rng.random(7)) is None
    assert metric(np.zeros(7), rng.random(7), rng.random(7)) is None


def test_r2_of_labels_far_from_zero_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(size=200)
    response = label + 0.5 * rng.normal(size=200)
    metric = next(metric for metric in METRICS["number"] if metric.name == "r2")
    near = metric(label, response, np.ones(200))
    assert metric(label + 2.0**30, response + 2.0**30, np.ones(200)) == pytest.approx(near, rel=1e-6)


def test_an_overflow_is_undefined_not_infinite() -> None:
    assert proper_score("number")(np.array([1e200, 0.0]), np.array([-1e200, 0.0]), np.ones(2)) is None
