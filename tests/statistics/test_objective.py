"""The objective, its derivatives and its bounds against 60-digit arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpmath import mp
from tests.objectives.oracle import Oracle, exact
from tests.training.trials import FAMILIES, Trial, dense_rows, random_trial

from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.lower_bound import LowerBound
from batchlearn.statistics.objective import Objective, ridge

KINDS = [
    (loss, family) for loss in sorted(LOSSES) for family in ("weighted", "sparse", "single_precision", "everything")
]


@pytest.fixture(params=KINDS, ids="-".join)
def trial(request: pytest.FixtureRequest) -> Trial:
    loss, family = request.param
    return random_trial(np.random.default_rng(list(FAMILIES).index(family)), family, loss)


def test_value_gradient_and_hessian_are_the_oracles(trial: Trial) -> None:
    objective, rows = trial.objective, trial.rows
    w = 0.2 * np.random.default_rng(1).normal(size=rows.layout.size)
    oracle = Oracle.of(objective, rows)
    expansion = objective.expand(rows, w)
    value, gradient = oracle.value(exact(w)), [float(v) for v in oracle.gradient(exact(w))]
    hessian = np.array(oracle.hessian(exact(w)).tolist(), dtype=np.float64)
    assert float(value) == pytest.approx(expansion.value, rel=1e-13) == objective.value(rows, w)
    error = objective.gradient_error(rows, w).error
    assert np.all(np.abs(expansion.gradient - gradient) <= error)
    np.testing.assert_array_equal(expansion.gradient, objective.gradient(rows, w)[1])
    size = np.sqrt(np.diagonal(hessian))
    np.testing.assert_allclose(expansion.hessian / size[:, None] / size, hessian / size[:, None] / size, atol=1e-12)
    np.testing.assert_array_equal(expansion.hessian, expansion.hessian.T)
    np.testing.assert_allclose(objective.hessian_diagonal(rows, w), np.diagonal(hessian), rtol=1e-12)


def test_the_gradient_is_the_derivative_of_the_value(trial: Trial) -> None:
    oracle = Oracle.of(trial.objective, trial.rows)
    rng = np.random.default_rng(2)
    w, direction = exact(0.2 * rng.normal(size=trial.rows.layout.size)), exact(rng.normal(size=trial.rows.layout.size))
    along = mp.diff(lambda t: oracle.value([a + t * b for a, b in zip(w, direction, strict=True)]), 0)
    _, gradient = trial.objective.gradient(trial.rows, np.array([float(v) for v in w]))
    assert float(mp.fdot(exact(gradient), direction)) == pytest.approx(float(along), rel=1e-9)


def test_kappa_of_the_leverages_is_an_upper_bound(trial: Trial) -> None:
    w = 0.2 * np.random.default_rng(3).normal(size=trial.rows.layout.size)
    oracle = Oracle.of(trial.objective, trial.rows)
    hessian = oracle.hessian(exact(w))
    forms = [mp.fdot(row, mp.lu_solve(hessian, mp.matrix(row))) for row in oracle.design]
    assert mp.sqrt(max(forms)) <= trial.objective.expand(trial.rows, w).kappa


def test_the_lower_bound_norm_is_an_upper_bound_and_no_idle_one(trial: Trial) -> None:
    rng = np.random.default_rng(4)
    objective, rows = trial.objective, trial.rows
    w = 0.2 * rng.normal(size=rows.layout.size)
    hessian = Oracle.of(objective, rows).hessian(exact(w))
    at, intercept = objective.gradient_error(rows, w), rows.layout.intercept
    for vector in rng.normal(size=(5, len(w))):
        v = mp.matrix(exact(vector))
        truth = mp.sqrt(mp.fdot(v, mp.lu_solve(hessian, v)))
        bound = LowerBound(objective.loss, objective.penalty, at, intercept).norm(vector)
        assert truth <= bound
        widened = LowerBound(objective.loss, objective.penalty, at, intercept).norm(vector, 0.1)
        shifted = vector + 0.1 * rng.choice([-1.0, 1.0], len(w))
        assert bound <= widened
        assert LowerBound(objective.loss, objective.penalty, at, intercept).norm(shifted) <= widened * (1.0 + 1e-12)


def test_the_lower_bound_norm_is_exact_where_all_rows_are_one() -> None:
    rows = dense_rows(np.tile([2.0, -1.0], (5, 1)), np.arange(5.0))
    objective = Objective(LOSSES["squared"], ridge(rows.layout, 0.3))
    at, vector = objective.gradient_error(rows, np.zeros(3)), np.array([1.0, -2.0, 0.5])
    truth = np.sqrt(vector @ np.linalg.solve(objective.expand(rows, np.zeros(3)).hessian, vector))
    assert LowerBound(objective.loss, objective.penalty, at, True).norm(vector) == pytest.approx(truth, rel=1e-6)


def test_the_lower_bound_norm_without_a_penalty_is_infinite() -> None:
    rows = dense_rows(np.ones((3, 2)), np.zeros(3))
    objective = Objective(LOSSES["squared"], Quadratic(np.array([0.0, 1.0, 0.0])))
    assert (
        LowerBound(objective.loss, objective.penalty, objective.gradient_error(rows, np.zeros(3)), True).norm(
            np.ones(3)
        )
        == np.inf
    )


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("shift", [0.0, 25.0, -25.0])
def test_the_null_model_is_the_best_intercept(loss: str, shift: float) -> None:
    rng = np.random.default_rng(5)
    label = rng.poisson(0.6, 50).clip(0, 1).astype(np.float64)
    if loss == "gamma":
        label = rng.gamma(2.0, size=50)
    offset = shift + rng.normal(size=50)
    rows = dense_rows(rng.normal(size=(50, 2)), label, weight=rng.uniform(0.5, 2.0, 50), offset=offset)
    objective = Objective(LOSSES[loss], ridge(rows.layout, 1.0))
    null = objective.null_parameters(rows)
    assert null[1:].tolist() == [0.0, 0.0]
    assert abs(objective.gradient(rows, null)[1][0]) < 1e-12
    bare = replace(rows, layout=Layout(False, 2))
    assert Objective(LOSSES[loss], ridge(bare.layout, 1.0)).null_parameters(bare).tolist() == [0.0, 0.0]


def test_ridge_leaves_the_intercept_free_and_follows_the_scale() -> None:
    layout = Layout(True, 2)
    assert ridge(layout, 0.5).strengths.tolist() == [0.0, 0.5, 0.5]
    assert ridge(layout, 0.5, np.array([1.0, 2.0, 0.5])).strengths.tolist() == [0.0, 0.125, 2.0]
    assert ridge(Layout(False, 2), 0.5).strengths.tolist() == [0.5, 0.5]
    penalty = Quadratic(np.array([0.0, 2.0]))
    assert penalty.value(np.array([5.0, 3.0])) == 9.0
    assert penalty.gradient(np.array([5.0, 3.0])).tolist() == [0.0, 6.0]
