"""Certificates of more coefficients than a factor can hold, far from the optimum too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.training.trials import dense_rows

from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import certify
from batchlearn.training.matrix import Matrix, read_matrix

_TRIALS = 150


def made(seed: int) -> tuple[Objective, Matrix]:
    """Return sparse rows of words or numbers, heavy or light, with or without an intercept."""
    rng = np.random.default_rng(seed)
    name = sorted(LOSSES)[seed % len(LOSSES)]
    n, columns = int(rng.integers(8, 60)), int(rng.integers(2, 25))
    x = (rng.random((n, columns)) < rng.uniform(0.05, 0.45)) * rng.exponential(
        rng.choice([0.3, 1.0, 3.0]), (n, columns)
    )
    if seed % 2:
        x = np.sign(x)
    eta = np.clip(x @ rng.normal(size=columns) * rng.choice([0.3, 1.0]), -3.0, 3.0)
    label = {
        "logistic": (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64),
        "poisson": rng.poisson(np.exp(eta)).astype(np.float64),
        "gamma": np.exp(eta) * rng.gamma(2.0, size=n) + 1e-3,
        "tweedie": np.exp(eta) * rng.gamma(2.0, size=n) * (rng.random(n) < 0.7),
    }.get(name, eta + rng.normal(size=n))
    if name != "squared":
        label[:2] = 0.5 * (name == "gamma"), 1.0
    weight = rng.uniform(0.1, 3.0, n) if seed % 3 == 0 else None
    matrix = read_matrix(csr_array(x), label, weight, intercept=seed % 5 != 0)
    return Objective(LOSSES[name], matrix.penalty(float(10.0 ** rng.uniform(-4.0, 0.0)))), matrix


def solved(objective: Objective, matrix: Matrix) -> Floats:
    """Return the optimum by damped Newton steps, to the last digits."""
    rows, w = matrix.rows, objective.null_parameters(matrix.rows)
    for _ in range(200):
        known = objective.expand(rows, w)
        step = -np.linalg.solve(known.hessian, known.gradient)
        length = 1.0
        while length > 1e-9 and not objective.value(rows, w + length * step) <= known.value + 1e-15 * abs(known.value):
            length *= 0.5
        w = w + length * step
        if np.linalg.norm(step) <= 1e-13 * (1.0 + np.linalg.norm(w)):
            break
    return w


def test_bounds_of_sparse_problems_hold_on_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    certified, early = 0, 0
    for seed in range(_TRIALS):
        objective, matrix = made(seed)
        rows, solver = matrix.rows, LimitedMemory()
        optimum = solved(objective, matrix)
        least, design = objective.value(rows, optimum), _design(matrix)
        state = solver.start(objective, rows, objective.null_parameters(rows))
        for _ in range(12):
            w = state.parameters
            found = certify(objective, rows, w, matrix.units).certificate
            if found.certified:
                assert found.loss_bound is not None
                assert found.radius is not None
                assert found.coefficient_bound is not None
                moved = w - optimum
                slack = 1e-12 * (1.0 + abs(least))
                assert found.loss_bound >= objective.value(rows, w) - least - slack
                hessian = objective.expand(rows, w).hessian
                assert found.radius * (1.0 + 1e-9) + 1e-9 >= np.sqrt(max(float(moved @ hessian @ moved), 0.0))
                assert (
                    found.coefficient_bound + 1e-9
                    >= np.abs((moved / matrix.units.scale)[rows.layout.intercept :]).max()
                )
                assert found.decrement is not None
                assert found.kappa is not None
                certified += 1
                early += objective.loss.self_concordance * found.kappa * found.decrement >= 1.0
                if found.prediction_bound is not None:
                    response = objective.loss.name
                    assert (
                        found.prediction_bound + 1e-9
                        >= np.abs(_mean(response, design @ w) - _mean(response, design @ optimum)).max()
                    )
            if state.stuck:
                break
            state = solver.step(objective, rows, state)
    assert certified > 4 * _TRIALS
    assert early > _TRIALS  # where no row is as near as the bound that looks at each needs it


def _design(matrix: Matrix) -> Floats:
    return matrix.rows.map_rows(
        lambda chunk, _: np.vstack([chunk.block.dense, chunk.block.sparse.toarray().T]), np.empty(0)
    ).T


def _mean(loss: str, eta: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-eta)) if loss == "logistic" else eta if loss == "squared" else np.exp(eta)


@pytest.mark.parametrize("away", [0.2, 0.9, 1.5, 4.0])
def test_the_bound_is_the_gap_where_all_rows_are_one_and_curvature_falls_as_fast_as_it_may(
    away: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    rows = dense_rows(np.zeros((4, 1)), np.array([0.0, 1.0, 2.0, 5.0]))
    objective = Objective(LOSSES["poisson"], ridge(rows.layout, 1.0))
    optimum = objective.null_parameters(rows)
    w = optimum + np.array([away, 0.0])
    found, gap = certify(objective, rows, w).certificate, objective.value(rows, w) - objective.value(rows, optimum)
    assert found.loss_bound is not None
    assert found.radius is not None
    assert gap <= found.loss_bound <= gap * (1.0 + 1e-6)
    length = away * np.sqrt(2.0 * np.exp(away))  # the mean count is two
    assert length <= found.radius
    assert found.radius <= length * (1.0 + 1e-6) or away > 1.0
