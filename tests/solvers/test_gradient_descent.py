"""Gradient descent with the step of the curvature: near L-BFGS in readings, in a fraction of its memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.solvers.problems import best, posed

from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers import Solver
from batchlearn.solvers.gradient_descent import GradientDescent
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective
from batchlearn.training.matrix import read_matrix
from batchlearn.training.regimes import FullBatch, epochs


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_it_ends_at_the_optimum(loss: str) -> None:
    problem = posed(loss, rows=500)
    start = problem.objective.null_parameters(problem.rows)
    state = GradientDescent().start(problem.objective, problem.rows, start)
    for _ in range(300):
        if state.stuck:
            break
        state = GradientDescent().step(problem.objective, problem.rows, state)
        assert np.isfinite(state.value)
    assert abs(problem.excess(state.parameters)) < 1e-12
    np.testing.assert_allclose(state.parameters, problem.optimum, atol=1e-5)


def test_many_nearly_orthogonal_columns_need_no_memory_of_steps() -> None:
    rng = np.random.default_rng(0)
    x = csr_array(rng.normal(size=(300, 400)) * (rng.random((300, 400)) < 0.01))
    label = (rng.random(300) < 0.5).astype(np.float64)
    matrix = read_matrix(x, label)
    objective = Objective(LOSSES["logistic"], matrix.penalty(0.1))
    _, value = best(objective, matrix.rows)

    def readings(solver: Solver[Any]) -> float:
        run = epochs(objective, matrix.rows, FullBatch(), solver, passes=40)
        return next(s.passes for s in run if objective.value(matrix.rows, s.parameters) - value < 1e-9)

    assert readings(GradientDescent()) <= readings(LimitedMemory()) + 1
    state = GradientDescent().start(objective, matrix.rows, np.zeros(401))
    held = [*vars(state).values(), *vars(state.metric).values()]
    assert sum(isinstance(f, np.ndarray) for f in held) == 4


def test_readings_of_the_rows_are_counted() -> None:
    problem = posed(rows=200)
    state = GradientDescent().start(problem.objective, problem.rows, np.zeros(13))
    assert state.passes == 2
    assert GradientDescent().step(problem.objective, problem.rows, state).passes == 3
