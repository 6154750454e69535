"""Certificates speak of what is returned: floats of predictions, delivered coefficients, in any unit of the columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mpmath import mp
from scipy.sparse import csr_array
from tests.objectives.oracle import Oracle, exact
from tests.training.certificate.returned import KINDS, TABLES, judge_returned
from tests.training.trials import Verdict, dense_rows

from batchlearn.estimators import LinearClassifier, LinearRegressor
from batchlearn.kernels.rounding import UNIT_ROUNDOFF
from batchlearn.models.links import INVERSE_LINKS, class_contrasts, returned_distance
from batchlearn.objectives.losses import LOSSES
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import Units, certify
from batchlearn.training.matrix import read_matrix
from batchlearn.training.verification.foreign import verify

_TRIALS = 75


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return [verdict for number in range(_TRIALS) for verdict in judge_returned(number, seed=17)]


def test_no_returned_number_is_further_from_the_optimum_than_stated(verdicts: list[Verdict]) -> None:
    assert [verdict for verdict in verdicts if verdict.violations] == []
    assert {verdict.family for verdict in verdicts} == {*KINDS, *TABLES}


@pytest.mark.parametrize("number", [1456, 1645])
def test_the_oracle_is_sharper_than_what_it_judges(number: int) -> None:
    """A gap of 1e-69 of a loss of 0.5, and a column that never varies and has no penalty: it failed at both."""
    verdicts = judge_returned(number, seed=11)
    assert [(verdict.certified, verdict.violations) for verdict in verdicts] == [(True, ()), (True, ())]


@pytest.mark.parametrize("kind", [*KINDS, *TABLES])
def test_few_are_refused(verdicts: list[Verdict], kind: str) -> None:
    """Before: every sparse column with a mean of 1e5 or more, and classes with a row of 1e8."""
    certified = [verdict.certified for verdict in verdicts if verdict.family == kind]
    assert np.mean(certified) >= 0.9


# --- the prediction itself ------------------------------------------------------------------------------------------


def test_a_mean_of_1e9_rounds_predictions_and_the_bound_says_so() -> None:
    rng = np.random.default_rng(0)
    x = 1e9 + rng.normal(size=(60, 1))
    y = x[:, 0] - 1e9 + rng.normal(size=60)
    model = LinearRegressor(alpha=1e-3).fit(x, y)
    oracle = Oracle("squared", [[mp.mpf(1), *exact(row)] for row in x], exact(y), [mp.mpf(1)] * 60, [mp.mpf(0)] * 60,
                    [mp.mpf(0), mp.mpf("1e-3")])  # fmt: skip
    oracle = replace(oracle, strengths=[mp.mpf(0), mp.mpf(1e-3)])
    best = oracle.predictors(oracle.optimum(np.array([model.intercept_, model.coef_[0]])))
    off = max(abs(mp.mpf(float(p)) - q) for p, q in zip(model.predict(x), best, strict=True))
    bound = model.certificate_.prediction_bound
    assert off > 1e-9  # far more than the exact x'w is off
    assert off <= mp.mpf(bound) < 100 * off


@pytest.mark.parametrize("name", sorted(INVERSE_LINKS))
def test_a_link_is_within_its_own_error_of_the_exact_one(name: str) -> None:
    """Also where nothing moves the predictor: the float of a probability near one is coarse."""
    rng = np.random.default_rng(1)
    eta = rng.uniform(-45.0, 45.0, (4, 500)) if name == "softmax" else rng.uniform(-45.0, 45.0, 500)
    # The logits of classes are sums of their own: their error is what a predictor's error has room for.
    error = 8.0 * UNIT_ROUNDOFF * np.abs(eta) if name == "softmax" else np.zeros_like(eta)
    stated = returned_distance(name, eta, np.zeros(500), error)
    returned = INVERSE_LINKS[name](eta)
    for i in range(500):
        if name == "softmax":
            contrasts = class_contrasts(5)
            logits = [mp.fdot(exact(contrasts[:, k]), exact(eta[:, i])) for k in range(5)]
            total = mp.fsum(mp.exp(one) for one in logits)
            truth = [mp.exp(one) / total for one in logits]
        else:
            x = mp.mpf(float(eta[i]))
            truth = [1 / (1 + mp.exp(-x)) if name == "logistic" else x if name in ("squared", "huber") else mp.exp(x)]
        off = max(abs(mp.mpf(float(p)) - q) for p, q in zip(np.ravel(returned[..., i]), truth, strict=True))
        assert off <= mp.mpf(float(stated[i]))


def test_bounds_that_read_no_leverage_know_the_rounding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    X = 1e6 * rng.normal(size=(40, 2))
    rows = dense_rows(X, X @ np.array([3.0, -2.0]) + rng.normal(size=40), intercept=False)
    objective, w = Objective(LOSSES["squared"], ridge(rows.layout, 1e-9)), np.array([3.0, -2.0])
    monkeypatch.setattr(certificates, "_LEVERAGE_BUDGET", -1.0)
    found = certify(objective, rows, w).certificate
    assert found.method == certificates.BOUNDED
    assert found.prediction_bound is not None
    exact_part = (found.radius or 0.0) * (found.kappa or 0.0)
    assert found.prediction_bound - exact_part > UNIT_ROUNDOFF * float((np.abs(X) @ np.abs(w)).max())


# --- underflow ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e-100, 1e160])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_no_bound_is_zero_because_squares_vanish(size: float, loss: str) -> None:
    rng = np.random.default_rng(3)
    x = size * rng.normal(size=(50, 1))
    y = (rng.random(50) < 0.5).astype(float) if loss == "logistic" else rng.normal(size=50)
    estimator: Any = LinearClassifier if loss == "logistic" else LinearRegressor
    model = estimator(alpha=1e-3, fit_intercept=False, loss=loss).fit(x, y)
    for certificate in (model.certificate_, verify(model, x, y)):
        assert certificate.certified
        for bound in (certificate.loss_bound, certificate.coefficient_bound, certificate.prediction_bound):
            assert bound is not None
            assert bound > 0.0


def test_a_coefficient_bound_is_in_the_columns_unit_or_not_there() -> None:
    rng = np.random.default_rng(4)
    rows = dense_rows(rng.normal(size=(40, 1)), rng.normal(size=40))
    objective, w = Objective(LOSSES["squared"], ridge(rows.layout, 1e-3)), np.zeros(2)
    plain, small, least = (
        certify(objective, rows, w, Units(np.array([1.0, unit]))).certificate for unit in (1.0, 1e-290, 5e-324)
    )
    assert plain.coefficient_bound is not None
    assert small.coefficient_bound is not None
    assert small.coefficient_bound > 1e288 * plain.coefficient_bound
    assert least.certified
    assert least.coefficient_bound is None
    assert "no coefficient" not in str(least)


# --- refusals without need ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "logistic", "poisson"])
@pytest.mark.parametrize("mean", [1e5, 1e7, 1e9])
def test_sparse_columns_with_large_means_are_certified_as_dense_ones(loss: str, mean: float) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 4))
    X[:, 1] += mean
    X[rng.random(200) < 0.7, 2] = 0.0
    eta = X[:, 0] + X[:, 1] - mean
    y = {"squared": eta, "logistic": (eta + rng.normal(size=200) > 0.0) * 1.0, "poisson": rng.poisson(np.exp(eta))}[
        loss
    ]
    estimator: Any = LinearClassifier if loss == "logistic" else LinearRegressor
    model = estimator(alpha=1e-4, loss=loss)
    dense = model.fit(X, y).certificate_
    coefficients = np.ravel(model.coef_).copy()
    sparse = model.fit(csr_array(X), y).certificate_
    assert dense.certified
    assert sparse.certified
    assert sparse.loss_bound < 1e3 * dense.loss_bound
    assert np.max(np.abs(np.ravel(model.coef_) - coefficients)) <= dense.coefficient_bound + sparse.coefficient_bound
    assert verify(model, csr_array(X), y).certified


def test_learning_goes_on_from_sparse_columns_that_became_dense() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(600, 3))
    X[:, 1] += 1e3
    X[rng.random(600) < 0.7, 0] = 0.0
    y = X @ np.array([1.0, -0.5, 0.25]) + 500.0 + 0.1 * rng.normal(size=600)
    model = LinearRegressor(alpha=1e-6).fit(csr_array(X[:300]), y[:300])
    model.partial_fit(csr_array(X[300:]), y[300:])
    assert model.coef_ == pytest.approx(LinearRegressor(alpha=1e-6).fit(X, y).coef_, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e6, 1e8, -1e8])
def test_a_row_far_from_all_others_is_certified(alpha: float, size: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(4):
        X = rng.normal(size=(120, 3))
        y = (X[:, 0] + X[:, 1] + rng.normal(size=120) > 0.0) * 1
        X[5, 0] = size
        model = LinearClassifier(alpha=alpha).fit(X, y)
        assert model.certificate_.certified
        assert verify(model, X, y).certified


def test_what_is_printed_holds_too() -> None:
    """With a mean of 1e9 the bound on the loss is the truth to four digits: two of them, to the nearest, are less."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, label = rng.normal(size=(15, 1)) + 1e9, rng.poisson(2.0, 15) + 1.0
        model = LinearRegressor(loss="poisson", alpha=1e-3).fit(X, label)
        design, strengths = [exact([1.0, *row]) for row in X], exact([0.0, 1e-3])
        oracle = Oracle("poisson", design, exact(label), exact(np.ones(15)), exact(np.zeros(15)), strengths)
        found = np.append(model.intercept_, model.coef_)
        gap = oracle.value(exact(found)) - oracle.value(oracle.optimum(found))
        said = str(model.certificate_).partition("optimum + ")[2].partition(";")[0]
        assert mp.mpf(said) >= gap


@pytest.mark.parametrize("sparse", [False, True])
def test_a_penalty_per_standard_deviation_is_per_that_of_the_values(sparse: bool) -> None:
    """Values that differ in the last places of their mean: its rounding was taken for what they vary by, 35 % of it."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = 1e8 * rng.uniform(0.5, 2.0) + 10.0 ** rng.uniform(-8.0, 0.0) * rng.normal(size=(25, 1))
        weight = 10.0 ** rng.uniform(-3.0, 3.0, 25)
        found = read_matrix(csr_array(values) if sparse else values, np.zeros(25), weight, intercept=not sparse)
        x, w = exact(values), exact(weight)
        mean = mp.fdot(x, w) / mp.fsum(w)
        exactly = mp.sqrt(mp.fsum(b * (a - mean) ** 2 for a, b in zip(x, w, strict=True)) / mp.fsum(w))
        assert found.deviation[0] == pytest.approx(float(exactly), rel=1e-13)
