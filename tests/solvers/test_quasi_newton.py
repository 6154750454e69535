"""L-BFGS falls, ends where Newton ends, and knows when rounding hides any further fall."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.training.trials import amounts, dense_rows

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.preconditioner import centred_diagonal
from batchlearn.solvers.quasi_newton import LimitedMemory, LimitedMemoryState
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.matrix import read_matrix


def posed(loss: str, scales: bool = True) -> tuple[Objective, MemoryRows]:
    rng = np.random.default_rng(4)
    sizes = np.geomspace(1e-3, 1e3, 6) if scales else np.ones(6)
    X = rng.normal(size=(150, 6))
    eta = np.clip(X @ rng.normal(size=6) * 0.5, -3.0, 3.0)
    label = {
        "squared": eta + rng.normal(size=150),
        "logistic": (rng.random(150) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64),
        "poisson": rng.poisson(np.exp(eta)).astype(np.float64),
        "gamma": amounts(rng, "gamma", np.exp(eta)),
        "tweedie": amounts(rng, "tweedie", np.exp(eta)),
    }[loss]
    rows = dense_rows(X * sizes, label, chunk=64)
    return Objective(LOSSES[loss], ridge(rows.layout, 1e-3, np.append(1.0, 1.0 / sizes))), rows


def walk(objective: Objective, rows: MemoryRows, steps: int, memory: int = 20) -> list[LimitedMemoryState]:
    solver = LimitedMemory(memory)
    states = [solver.start(objective, rows, objective.null_parameters(rows))]
    while len(states) <= steps and not states[-1].stuck:
        states.append(solver.step(objective, rows, states[-1]))
    return states


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_it_falls_and_ends_where_newton_ends(loss: str) -> None:
    objective, rows = posed(loss)
    states = walk(objective, rows, 300)
    values = np.array([state.value for state in states])
    assert np.all(np.diff(values) <= 1e-13 * (1.0 + values[:-1]))
    newton = Newton().start(objective, rows, objective.null_parameters(rows))
    for _ in range(20):
        newton = Newton().step(objective, rows, newton)
    reach = newton.factor.diagonal * (states[-1].parameters - newton.parameters)
    assert np.abs(reach).max() < 1e-8
    assert states[-1].stuck
    assert len(states) < 200


@pytest.mark.parametrize("loss", ["logistic", "poisson", "gamma", "tweedie"])
def test_it_needs_far_fewer_readings_than_gradient_steps_would(loss: str) -> None:
    objective, rows = posed(loss)
    states = walk(objective, rows, 40)
    first, last = np.linalg.norm(states[0].gradient), np.linalg.norm(states[-1].gradient)
    assert last < 1e-6 * first
    assert states[-1].passes < 80


def test_it_remembers_no_more_than_it_is_told() -> None:
    objective, rows = posed("logistic")
    assert max(len(state.pairs) for state in walk(objective, rows, 12, memory=3)) == 3


class Counted(NamedTuple):
    """A diagonal preconditioner that notes what it is asked."""

    diagonal: Floats
    asked: list[Floats]

    def solve(self, vector: Floats) -> Floats:
        self.asked.append(vector)
        return vector / self.diagonal


def test_a_step_solves_once_and_goes_where_two_loops_over_the_pairs_lead() -> None:
    objective, rows = posed("logistic")
    start = objective.null_parameters(rows)
    found = Counted(objective.hessian_diagonal(rows, start), [])
    solver = LimitedMemory(memory=4)
    state = solver.start(objective, rows, start, found=found)
    for steps in range(1, 8):
        before, state = state, solver.step(objective, rows, state)
        assert len(found.asked) == 1 + steps
        vector, weights = before.gradient.copy(), []
        for step, change, _ in reversed(before.pairs):
            weights.append((step @ vector) / (step @ change))
            vector -= weights[-1] * change
        vector = before.scale * vector / found.diagonal
        for (step, change, _), weight in zip(before.pairs, reversed(weights), strict=True):
            vector += (weight - (change @ vector) / (step @ change)) * step
        moved = state.parameters - before.parameters
        assert moved * np.linalg.norm(vector) == pytest.approx(-vector * np.linalg.norm(moved), rel=1e-6, abs=1e-9)


def test_a_step_keeps_value_and_gradient_of_its_point() -> None:
    objective, rows = posed("poisson")
    state = walk(objective, rows, 5)[-1]
    value, gradient = objective.gradient(rows, state.parameters)
    assert value == state.value
    np.testing.assert_array_equal(gradient, state.gradient)


def test_at_the_optimum_it_is_stuck_and_stays() -> None:
    rows = dense_rows(np.zeros((4, 1)), np.array([1.0, 2.0, 3.0, 2.0]))
    objective = Objective(LOSSES["squared"], ridge(rows.layout, 1.0))
    state = LimitedMemory().start(objective, rows, np.array([2.0, 0.0]))
    after = LimitedMemory().step(objective, rows, state)
    assert after.stuck
    np.testing.assert_array_equal(after.parameters, state.parameters)


def test_a_column_without_curvature_or_penalty_does_no_harm() -> None:
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.normal(size=40), np.zeros(40)])
    rows = dense_rows(X, rng.normal(size=40))
    objective = Objective(LOSSES["squared"], ridge(rows.layout, 0.0))
    end = walk(objective, rows, 50)[-1]
    assert np.isfinite(end.parameters).all()
    assert end.parameters[2] == 0.0


def test_steps_from_before_the_blocks_were_renewed_are_forgotten() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(300, 3))
    label = np.argmax(X + rng.gumbel(size=(300, 3)), axis=1).astype(np.float64)
    rows = dense_rows(X, label, chunk=100)
    objective = Objective(SoftmaxLoss(3), ridge(rows.layout, 1e-3, outputs=2))
    solver = LimitedMemory(renewed=(3,))
    state, kept = solver.start(objective, rows, objective.null_parameters(rows)), list[int]()
    for _ in range(5):
        state = solver.step(objective, rows, state)
        kept.append(len(state.pairs))
    assert kept == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(("intercept", "own"), [(True, 0.0), (True, 0.3), (False, 0.0)])
def test_the_preconditioner_is_the_hessian_where_columns_do_not_depend_on_each_other(
    intercept: bool, own: float
) -> None:
    # Every pair of values comes as often as any other: about the mean row the Hessian is diagonal.
    X = np.array([[a, b] for a in (1.0, 2.0, 4.0) for b in (0.0, 3.0)])
    rows = dense_rows(X, np.arange(6.0))
    rows = replace(rows, layout=replace(rows.layout, intercept=intercept))
    strengths = np.array([own, 0.2, 0.5][not intercept :])
    objective, w = Objective(LOSSES["squared"], Quadratic(strengths)), np.zeros(len(strengths))
    value, gradient, diagonal, known = objective.around(rows, w)
    expansion = objective.expand(rows, w)
    assert value == pytest.approx(expansion.value, rel=1e-14)
    np.testing.assert_allclose(gradient, expansion.gradient, rtol=1e-13)
    found = centred_diagonal(objective, diagonal, known, intercept=intercept)
    vector = np.array([1.0, -2.0, 0.7][: len(w)])
    np.testing.assert_allclose(found.solve(vector), np.linalg.solve(expansion.hessian, vector), rtol=1e-7)


def test_counts_of_many_words_need_few_readings() -> None:
    rng = np.random.default_rng(7)
    column = np.minimum(2_000 ** rng.uniform(size=(10_000, 30)), 2_000).astype(np.int32) - 1
    counts = csr_array((np.ones(column.size), column.ravel(), np.arange(0, column.size + 1, 30)), shape=(10_000, 2_000))
    counts.sum_duplicates()
    eta = counts @ rng.normal(size=2_000) / 5.0
    label = (rng.random(10_000) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
    matrix = read_matrix(counts, label)
    assert matrix.rows.layout.sparse == 2_000  # the few full columns among them
    objective, solver = Objective(LOSSES["logistic"], matrix.penalty(1e-4)), LimitedMemory()
    state = solver.start(objective, matrix.rows, objective.null_parameters(matrix.rows))
    states = [state]
    while not states[-1].stuck:
        states.append(solver.step(objective, matrix.rows, states[-1]))
    passes = next(one.passes for one in states if one.value <= states[-1].value * (1.0 + 1e-6))
    assert passes <= 20  # of the diagonal alone 31
