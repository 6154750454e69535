"""Online Newton: exact for squared loss, one row at a time however rows are grouped inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.solvers.problems import Posed, posed, taken

from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.kernels.online.newton import BLOCK
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online.newton import OnlineNewton, OnlineState, penalty_matrix
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.regimes import MiniBatch, Online, epochs


def reading(problem: Posed) -> ReadingPlan:
    return ReadingPlan(1, len(problem.rows), problem.rows.total_weight, 0)


def started(problem: Posed, start: Floats | None = None) -> OnlineState:
    point = np.zeros(13) if start is None else start
    return OnlineNewton().start(problem.objective, problem.rows, point, reading(problem))


def written_out(problem: Posed, state: OnlineState) -> tuple[Floats, Floats, Floats]:
    """Return point, matrix and predictors after all rows, by the formulas of the module, one row at a time."""
    point, inverse, loss = state.parameters.copy(), state.inverse.copy(), problem.objective.loss
    chunk = problem.rows.read(taken(problem.rows, np.arange(len(problem.rows))).chunks[0])
    predictors = []
    for i in range(len(chunk.label)):
        x = np.zeros(14)
        x[:5] = chunk.block.dense[:, i]
        for codes, part, levels in zip(chunk.block.codes, chunk.layout.group_slices, chunk.layout.groups, strict=True):
            x[part.start + codes[i] if codes[i] < levels else 13] = 1.0
        x = x[:13]
        eta, reach, weight = x @ point, x @ inverse @ x, chunk.weight[i]
        predictors.append(eta)
        if weight == 0.0:
            continue
        low, high = eta - 50.0 * (1 + reach), eta + 50.0 * (1 + reach)
        for _ in range(200):  # weight phi'(z) + (z - eta) / reach rises with z
            z = 0.5 * (low + high)
            slope = weight * loss.slope(np.array([z]), chunk.label[i : i + 1])[0] + (z - eta) / reach
            low, high = (low, z) if slope > 0.0 else (z, high)
        curvature = weight * loss.least_curvature(np.array([z]), chunk.label[i : i + 1])[0]
        own = inverse @ x
        point = point + own * (z - eta) / reach
        inverse = inverse - np.outer(own, own) * curvature / (1.0 + curvature * reach)
    return point, inverse, np.array(predictors)


@pytest.mark.parametrize(("loss", "rtol"), [("squared", 1e-9), ("logistic", 2e-2), ("poisson", 2e-2)])
def test_blocks_do_what_the_formulas_say_row_by_row(loss: str, rtol: float) -> None:
    problem = posed(loss, rows=150, weighted=True)
    point, inverse, predictors = written_out(problem, started(problem))
    state, found = OnlineNewton().follow(problem.objective, taken(problem.rows, np.arange(150)), started(problem))
    # The step of one row is solved to about 1e-3 of itself where the loss is no square.
    scale = np.abs(point).max()
    np.testing.assert_allclose(state.parameters, point, atol=rtol * scale)
    np.testing.assert_allclose(state.inverse, inverse, atol=rtol * np.abs(inverse).max())
    np.testing.assert_allclose(found, predictors, atol=rtol * np.abs(predictors).max())


@pytest.mark.parametrize("start", [None, np.linspace(-2.0, 2.0, 13)])
def test_one_pass_over_a_squared_loss_is_the_ridge_solution(start: Floats | None) -> None:
    problem = posed("squared", rows=700, weighted=True)
    for passes in (1.0, 2.0):
        run = list(epochs(problem.objective, problem.rows, Online(), start=start, passes=passes))
        assert problem.excess(run[-1].parameters) < 1e-7
        # A hundredth of a row stands in for a penalty on the intercept; levels share in what that does.
        np.testing.assert_allclose(run[-1].parameters[1:5], problem.optimum[1:5], atol=1e-4)


def test_a_batch_is_as_many_single_steps() -> None:
    problem = posed(rows=300)
    one, many = (
        list(epochs(problem.objective, problem.rows, r, OnlineNewton(), passes=1.0, order="stored"))[-1].parameters
        for r in (Online(), MiniBatch(50))
    )
    np.testing.assert_allclose(one, many, rtol=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_every_pass_comes_nearer(loss: str) -> None:
    problem = posed(loss, rows=1500)
    run = list(epochs(problem.objective, problem.rows, Online(), passes=3.0))
    first, last = problem.excess(run[0].parameters), problem.excess(run[-1].parameters)
    assert last < first < 2e-3


def test_no_step_overshoots_even_at_extreme_rows() -> None:
    problem = posed("poisson", rows=200)
    dense = [chunk.dense.copy() for chunk in problem.rows.chunks]
    dense[0][1, 3] = 500.0
    (chunk,) = taken(problem.rows, np.arange(200)).chunks
    rows = type(problem.rows)(
        problem.rows.layout, (type(chunk)(dense[0], chunk.codes, chunk.label),), np.zeros(4), np.ones(4)
    )
    state, predictors = OnlineNewton().follow(problem.objective, rows, started(problem))
    assert np.all(np.isfinite(state.parameters))
    assert np.all(np.isfinite(problem.objective.loss.value(predictors, chunk.label)[:3]))


def test_blocks_follow_from_row_numbers() -> None:
    problem = posed(rows=4 * BLOCK)
    whole, _ = OnlineNewton().follow(problem.objective, taken(problem.rows, np.arange(4 * BLOCK)), started(problem))
    state = started(problem)
    for first in (0, BLOCK, 3 * BLOCK):
        last = {0: BLOCK, BLOCK: 3 * BLOCK, 3 * BLOCK: 4 * BLOCK}[first]
        state, _ = OnlineNewton().follow(problem.objective, taken(problem.rows, np.arange(first, last)), state)
    assert state.parameters.tobytes() == whole.parameters.tobytes()
    assert state.inverse.tobytes() == whole.inverse.tobytes()


def test_too_many_coefficients_are_refused_with_what_to_use() -> None:
    problem = posed(rows=50)
    layout = type(problem.rows.layout)(True, 4, (6, 600))
    rows: Any = type(problem.rows)(layout, problem.rows.chunks, np.zeros(4), np.ones(4))
    objective = Objective(LOSSES["logistic"], ridge(layout, 1.0))
    with pytest.raises(UsageError, match=r"at most 512 coefficients.*Use DiagonalNewton\(\)"):
        OnlineNewton().start(objective, rows, np.zeros(611), ReadingPlan(1, 50, 50.0, 0))


def test_the_penalty_matrix_is_the_penalty() -> None:
    problem = posed(rows=50)
    matrix, point = penalty_matrix(problem.objective.penalty, 13), np.arange(13.0)
    assert 0.5 * point @ matrix @ point == pytest.approx(problem.objective.penalty.value(point))
