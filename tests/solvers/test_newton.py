"""Newton's method falls at every step from any start and is quadratic at the end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.objectives.oracle import Oracle
from tests.training.trials import amounts, dense_rows

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers.newton import Newton, NewtonState
from batchlearn.statistics.objective import Objective, ridge


def posed(loss: str, alpha: float = 1e-3, size: float = 1.0) -> tuple[Objective, MemoryRows]:
    rng = np.random.default_rng(3)
    X = size * rng.normal(size=(80, 3))
    eta = np.clip(X @ np.array([1.0, -0.5, 0.2]) / size, -3.0, 3.0)
    label = {
        "squared": eta + rng.normal(size=80),
        "logistic": (rng.random(80) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64),
        "poisson": rng.poisson(np.exp(eta)).astype(np.float64),
        "gamma": amounts(rng, "gamma", np.exp(eta)),
        "tweedie": amounts(rng, "tweedie", np.exp(eta)),
    }[loss]
    rows = dense_rows(X, label, chunk=32)
    return Objective(LOSSES[loss], ridge(rows.layout, alpha)), rows


def walk(objective: Objective, rows: MemoryRows, start: Floats, steps: int) -> list[NewtonState]:
    states = [Newton().start(objective, rows, start)]
    for _ in range(steps):
        states.append(Newton().step(objective, rows, states[-1]))
    return states


@pytest.mark.parametrize("loss", ["logistic", "poisson", "gamma", "tweedie"])
@pytest.mark.parametrize("far", [0.0, 3.0, 20.0])
def test_every_step_falls_until_rounding(loss: str, far: float) -> None:
    objective, rows = posed(loss)
    start = far * np.random.default_rng(1).normal(size=4)
    values = [state.expansion.value for state in walk(objective, rows, start, 100)]
    assert np.all(np.diff(values) <= 1e-13 * (1.0 + np.abs(values[:-1])))
    assert values[-1] == pytest.approx(walk(objective, rows, np.zeros(4), 60)[-1].expansion.value, rel=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_it_ends_at_the_optimum(loss: str) -> None:
    objective, rows = posed(loss)
    end = walk(objective, rows, objective.null_parameters(rows), 30)[-1]
    optimum = [float(v) for v in Oracle.of(objective, rows).optimum(end.parameters)]
    np.testing.assert_allclose(end.parameters, optimum, rtol=0, atol=1e-13)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "gamma", "tweedie"])
def test_the_decrement_is_squared_near_the_end(loss: str) -> None:
    objective, rows = posed(loss)
    sizes = [state.decrement for state in walk(objective, rows, objective.null_parameters(rows), 12)]
    near = [(a, b) for a, b in pairwise(sizes) if 1e-6 < a < 1e-1]
    assert near
    assert all(b <= 20.0 * a**2 for a, b in near)


def test_a_quadratic_is_solved_in_one_step_and_refined_by_the_next() -> None:
    objective, rows = posed("squared", alpha=0.0, size=1e6)
    states = walk(objective, rows, np.zeros(4), 3)
    assert states[1].decrement <= 1e-12 * states[0].decrement
    assert states[2].decrement <= 1.5 * states[1].decrement


def test_readings_of_the_rows_are_counted() -> None:
    objective, rows = posed("logistic")
    assert [state.passes for state in walk(objective, rows, objective.null_parameters(rows), 3)] == [1, 2, 3, 4]


def test_a_step_that_moves_no_row_is_no_division_by_zero() -> None:
    rows = dense_rows(np.zeros((4, 1)), np.array([0.0, 1.0, 0.0, 1.0]), intercept=False)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1.0))
    states = walk(objective, rows, np.array([1e-200]), 3)
    assert states[-1].parameters[0] == 0.0
