"""Training with class weights: the weighted optimum, certified, with probabilities of the rows as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.training.made import arrow, design, made, table_of

from batchlearn.errors import UsageError
from batchlearn.models.files import load
from batchlearn.training.evaluate import evaluate
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train
from batchlearn.training.verification.stored import verify_model

ALPHA = 0.01
WEIGHTS = {"0": 1.0, "1": 6.0}


def rare(rows: int = 1_000, seed: int = 0, intercept: float = -3.0) -> dict[str, Any]:
    """Return a made table whose labels follow a logistic model with a rare class."""
    columns = made(rows, seed)
    rng = np.random.default_rng(100 + seed)
    eta = intercept + 0.6 * (columns["first"] - 5.0) - 0.4 * columns["second"]
    columns["label"] = (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    return columns


@pytest.mark.parametrize("rule", [WEIGHTS, "balanced"])
@pytest.mark.parametrize("weighted_rows", [False, True])
def test_the_fit_is_that_of_scikit_learn_less_the_logarithm_of_the_weights(rule: Any, weighted_rows: bool) -> None:
    columns = rare()
    weight = columns["weight"] if weighted_rows else None
    roles = {"weight": "weight"} if weighted_rows else {}
    fit = train(table_of(columns, **roles), Recipe(alpha=ALPHA, tolerance=1e-14, holdout=0.0, class_weight=rule))
    assert fit.class_weights is not None
    zero, one = fit.class_weights
    names, matrix = design(columns, weight)
    each = np.where(columns["label"] == 1.0, one, zero) * (1.0 if weight is None else weight)
    peer = LogisticRegression(C=1.0 / (ALPHA * each.sum()), tol=1e-10, max_iter=10_000)
    peer.fit(matrix, columns["label"], sample_weight=each)
    assert fit.model.parameters[1:] == pytest.approx(peer.coef_[0], abs=1e-5)
    assert fit.model.parameters[0] == pytest.approx(peer.intercept_[0] - np.log(one / zero), abs=1e-5)
    assert list(fit.model.encoding.names[1:]) == names
    assert fit.certificate.certified
    if rule == "balanced":
        share = np.average(columns["label"], weights=weight)
        assert (one, zero) == pytest.approx((0.5 / share, 0.5 / (1.0 - share)))


def test_corrected_probabilities_are_calibrated_and_uncorrected_ones_are_not() -> None:
    columns = rare(40_000)
    fit = train(table_of(columns), Recipe(alpha=0.0, holdout=0.0, class_weight="balanced"), threads=1)
    later = rare(40_000, seed=1)
    base = later["label"].mean()
    predicted = fit.model.predict(arrow(later))
    assert predicted.response.mean() == pytest.approx(base, rel=0.05)
    assert fit.class_weights is not None
    odds = np.exp(predicted.predictor) * fit.class_weights[1] / fit.class_weights[0]
    assert np.mean(odds / (1.0 + odds)) > 3.0 * base
    evaluation = evaluate(fit.model, table_of(later))
    assert evaluation.calibration is not None
    assert evaluation.calibration.slope == pytest.approx(1.0, abs=0.08)


def test_the_evaluation_is_of_corrected_probabilities_on_rows_that_count_once() -> None:
    columns = rare(4_000)
    plain, heavy = (
        train(table_of(columns), Recipe(alpha=0.0, class_weight=rule), threads=1).evaluation for rule in (None, WEIGHTS)
    )
    assert plain is not None
    assert heavy is not None
    assert heavy.baselines == plain.baselines
    assert heavy.leave_one_out is None
    assert plain.leave_one_out is not None
    first, second = (one.metrics["log_loss"].value for one in (plain, heavy))
    assert second == pytest.approx(first, rel=0.05)
    assert (second or 9.0) < (heavy.baselines["constant"]["log_loss"].value or 0.0)


def test_weights_of_one_change_no_bit() -> None:
    plain, ones = (
        train(table_of(rare()), Recipe(class_weight=rule), threads=1) for rule in (None, {"0": 1.0, "1": 1.0})
    )
    assert np.array_equal(plain.model.parameters, ones.model.parameters)
    assert plain.structure.strengths == ones.structure.strengths
    assert any("Rows counted by class in training (0 1, 1 1)" in note for note in map(str, ones.notes))
    assert not any("counted by class" in note for note in map(str, plain.notes))


def test_structure_and_strengths_are_chosen_on_rows_that_count_by_class() -> None:
    found = [
        train(table_of(rare()), Recipe(class_weight=rule), threads=1).structure.strengths for rule in (None, WEIGHTS)
    ]
    assert found[0] != found[1]


def test_the_certificate_holds_for_what_was_delivered_and_can_be_verified(tmp_path: Path) -> None:
    columns = rare()
    table = table_of(columns)
    fit = train(table, Recipe(alpha=ALPHA, class_weight=WEIGHTS), threads=1)
    fit.save(tmp_path / "model")
    proof = verify_model(tmp_path / "model", arrow(columns))
    assert proof.holds, proof.reasons
    assert proof.certificate.loss_bound == pytest.approx(fit.certificate.loss_bound)
    again = load(tmp_path / "model").predict(arrow(columns), bounds=True)
    exact = train(table, Recipe(alpha=ALPHA, tolerance=1e-15, class_weight=WEIGHTS), threads=1)
    off = np.abs(again.response - exact.model.predict(arrow(columns)).response)
    assert again.bound is not None
    assert np.all(off <= again.bound + 1e-12)
    assert fit.certificate.prediction_bound is not None
    assert off.max() <= fit.certificate.prediction_bound
    assert again.bound.max() <= fit.certificate.prediction_bound * 1.001


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        train(table_of(rare()), Recipe(class_weight={"yes": 2.0}), threads=1)
    assert caught.value.code == "class-weight-label"
    with pytest.raises(UsageError) as caught:
        Recipe(class_weight={"yes": 0.0})
    assert caught.value.code == "class-weight-value"
