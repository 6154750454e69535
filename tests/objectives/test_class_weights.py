"""Class weights: what classes count, and probabilities that are right for the rows as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.utils.class_weight import compute_class_weight
from tests.training.made import Floats, made, table_of

from batchlearn.data.ledger import read_ledger
from batchlearn.errors import UsageError
from batchlearn.models.links import class_probabilities
from batchlearn.objectives.class_weights import (
    counted_by_class,
    log_odds_shift,
    moved_intercepts,
    weighted,
    weights_of_classes,
)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_balanced_is_what_scikit_learn_calls_balanced(classes: int) -> None:
    rng = np.random.default_rng(classes)
    code = np.concatenate([np.arange(classes), rng.geometric(0.6, 300).clip(1, classes) - 1])
    found = weights_of_classes("balanced", list(range(classes)), code, None)
    expected = compute_class_weight("balanced", classes=np.arange(classes), y=code)
    assert found == pytest.approx(expected, rel=1e-14)
    weight = rng.integers(1, 4, len(code))
    again = weights_of_classes("balanced", list(range(classes)), code, weight.astype(float))
    repeated = weights_of_classes("balanced", list(range(classes)), np.repeat(code, weight), None)
    assert again == pytest.approx(repeated, rel=1e-14)
    assert np.sum(again[code] * weight) == pytest.approx(weight.sum())


def test_a_class_that_no_row_has_counts_once() -> None:
    assert weights_of_classes("balanced", ["a", "b"], np.zeros(9, dtype=np.intp), None).tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("rule", "classes", "expected"),
    [
        ({"yes": 5.0}, ("no", "yes"), [1.0, 5.0]),
        ({"1": 5.0, "0": 2.0}, (0.0, 1.0), [2.0, 5.0]),
        ({"true": 5}, (False, True), [1.0, 5.0]),
        ({True: 5.0}, (False, True), [1.0, 5.0]),
        ({1: 3.0}, (0.0, 1.0), [1.0, 3.0]),
        ({"1.5": 3.0}, (1.5, 2.5), [3.0, 1.0]),
        ({"balanced": 3.0}, ("balanced", "not"), [3.0, 1.0]),
    ],
)
def test_labels_are_matched_as_they_are_written(rule: Any, classes: Any, expected: list[float]) -> None:
    assert weights_of_classes(rule, classes, np.array([0, 1]), None).tolist() == expected


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("equal", "class-weight-rule"),
        ({}, "class-weight-rule"),
        (5.0, "class-weight-rule"),
        ({"yes": 0.0}, "class-weight-value"),
        ({"yes": -1.0}, "class-weight-value"),
        ({"yes": float("nan")}, "class-weight-value"),
        ({"yes": float("inf")}, "class-weight-value"),
        ({"yes": True}, "class-weight-value"),
        ({"yes": "5"}, "class-weight-value"),
        ({"Yes": 5.0}, "class-weight-label"),
        ({1.0: 5.0}, "class-weight-label"),
    ],
)
def test_rules_that_say_nothing_are_refused(rule: Any, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        weights_of_classes(rule, ("no", "yes"), np.array([0, 1]), None)
    assert caught.value.code == code


def test_a_class_weight_multiplies_the_weight_of_a_row() -> None:
    columns = made(loss="logistic")
    columns["label"][:5] = np.nan
    ledger = read_ledger(table_of(columns, weight="weight"))
    counted, weights = counted_by_class({"1": 7.0}, ledger, ledger.used)
    assert weights is not None
    assert weights.tolist() == [1.0, 7.0]
    assert counted.weight is not None
    factor = np.where(columns["label"] == 1.0, 7.0, 1.0)
    assert ledger.weight_constant == columns["weight"][5:].mean()
    assert np.array_equal(counted.weight, factor * (columns["weight"] / ledger.weight_constant))
    plain = read_ledger(table_of(columns))
    assert np.array_equal(weighted(plain, weights).weight, factor)  # type: ignore[arg-type]
    assert counted_by_class(None, plain, plain.used) == (plain, None)


def test_numbers_have_no_classes_to_weigh() -> None:
    ledger = read_ledger(table_of(made()))
    with pytest.raises(UsageError) as caught:
        counted_by_class("balanced", ledger, ledger.used)
    assert caught.value.code == "class-weight-without-classes"


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_correction_undoes_the_weights_exactly(classes: int) -> None:
    """Bayes: where P'(k | x) is proportional to w_k P(k | x), moved intercepts give P(k | x)."""
    rng = np.random.default_rng(classes)
    weights = rng.uniform(0.1, 9.0, classes)
    x = np.column_stack([np.ones(50), rng.normal(size=(50, 2))])

    def probabilities(parameters: Floats) -> Floats:
        eta = parameters.reshape(classes - 1, 3) @ x.T
        if classes == 2:
            return np.stack([expit(-eta[0]), expit(eta[0])], axis=1)
        return class_probabilities(eta).T

    parameters = rng.normal(size=3 * (classes - 1))
    heavy = probabilities(parameters) * weights
    shifted = moved_intercepts(parameters, log_odds_shift(weights))
    assert probabilities(shifted) == pytest.approx(heavy / heavy.sum(axis=1, keepdims=True), rel=1e-12)
    back = moved_intercepts(shifted, -log_odds_shift(weights))
    assert probabilities(back) == pytest.approx(probabilities(parameters), rel=1e-12)
