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
from batchlearn.solvers import newton, preconditioner
from batchlearn.solvers.newton import Newton, NewtonState
from batchlearn.statistics.objective import Expansion, Objective, ridge


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


@pytest.mark.parametrize("loss", ["logistic", "poisson", "gamma", "tweedie"])
def test_where_hessians_are_costly_the_one_at_hand_serves_and_the_end_is_the_same(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, rows = posed(loss)
    monkeypatch.setattr(newton, "_LEAST_SAVED", -np.inf)
    states = walk(objective, rows, objective.null_parameters(rows), 40)
    optimum = [float(v) for v in Oracle.of(objective, rows).optimum(states[-1].parameters)]
    np.testing.assert_allclose(states[-1].parameters, optimum, rtol=0, atol=1e-12)
    values = [state.expansion.value for state in states]
    assert np.all(np.diff(values) <= 1e-13 * (1.0 + np.abs(values[:-1])))
    near = [state for state in states if state.near is not None]
    assert len(near) > 2, "none was reached with the Hessian of another point"
    for state in near[:3]:
        here = objective.expand(rows, state.parameters)
        exact = float(np.sqrt(here.gradient @ np.linalg.solve(here.hessian, here.gradient)))
        assert state.decrement >= exact * (1.0 - 1e-9)


def test_a_costly_fit_begins_on_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(4000, 3))
    label = (rng.random(4000) < 1.0 / (1.0 + np.exp(-X @ np.array([1.0, -1.0, 0.5])))).astype(np.float64)
    rows = dense_rows(X, label)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-4))
    null = objective.null_parameters(rows)
    monkeypatch.setattr(newton, "_LEAST_SAVED", -np.inf)
    led, spent, _ = list(Newton().lead(objective, rows, null, fresh=True))[-1]
    optimum = walk(objective, rows, null, 12)[-1]
    left = objective.value(rows, led) - optimum.expansion.value
    assert left < 0.1 * (objective.value(rows, null) - optimum.expansion.value)
    assert 1 <= spent <= 3
    assert not list(Newton().lead(objective, rows, null, fresh=False))


def test_a_fit_of_many_coefficients_begins_along_preconditioned_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(4000, 30))
    label = (rng.random(4000) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=30) / 3.0))).astype(np.float64)
    rows = dense_rows(X, label, chunk=1024)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-4))
    null = objective.null_parameters(rows)
    monkeypatch.setattr(newton, "_LEAST_SAVED", -np.inf)
    monkeypatch.setattr(newton, "MANY", 30)
    monkeypatch.setattr(newton, "_STEPS_WORTH", 100.0)
    monkeypatch.setattr(preconditioner, "_FEWEST_ROWS", 1000)
    led, spent, _ = list(Newton().lead(objective, rows, null, fresh=True))[-1]
    state = Newton().start(objective, rows, led)
    assert state.decrement**2 * 4000 < 1e-4, "the default stop is not met"
    assert 4 < spent < 25


def test_a_sample_without_a_level_steps_no_further_than_all_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    label = (np.arange(2000) % 3 == 0).astype(np.float64)
    column = np.zeros((2000, 1))
    column[7] = 50.0  # in no row of a sample of every second
    rows = dense_rows(column, label)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-6))
    monkeypatch.setattr(preconditioner, "_FEWEST_ROWS", 1000)
    found = preconditioner.sampled_hessian(objective, rows, objective.null_parameters(rows))
    assert found is not None
    hessian = objective.expand(rows, objective.null_parameters(rows)).hessian
    assert found.solve(np.array([0.0, 1.0]))[1] == pytest.approx(np.linalg.inv(hessian)[1, 1], rel=0.1)


def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small problems go by the Hessian of some of their rows."""
    monkeypatch.setattr(newton, "_LEAST_SAVED", -np.inf)
    monkeypatch.setattr(newton, "_SAMPLED_A_COEFFICIENT", 40)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_where_rows_are_many_the_hessian_of_some_leads_to_the_optimum_of_all(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(6000, 3))
    eta = X @ np.array([1.0, -1.0, 0.5]) / 2.0
    logistic = (rng.random(6000) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
    rows = dense_rows(X, logistic if loss == "logistic" else rng.poisson(np.exp(eta)).astype(np.float64), chunk=1024)
    objective = Objective(LOSSES[loss], ridge(rows.layout, 1e-4))
    null = objective.null_parameters(rows)
    best = walk(objective, rows, null, 12)[-1]
    sampled(monkeypatch)
    monkeypatch.setattr(newton, "_SAMPLED_SHARE", 4)
    read = list[int]()
    expand = Objective.expand

    def watched(self: Objective, some: MemoryRows, parameters: Floats) -> Expansion:
        read.append(len(some))
        return expand(self, some, parameters)

    monkeypatch.setattr(Objective, "expand", watched)
    led, *_ = list(Newton().lead(objective, rows, null, fresh=True))[-1]
    states = [Newton().start(objective, rows, led)]
    while states[-1].decrement > 1e-6 and len(states) < 12:
        states.append(Newton().step(objective, rows, states[-1]))
    assert max(read) < 2000, "a Hessian of all rows was read"
    assert any(state.near is None for state in states)
    assert any(state.near is not None for state in states)
    np.testing.assert_allclose(states[-1].parameters, best.parameters, rtol=0, atol=1e-5)
    for state in states:
        here = expand(objective, rows, state.parameters)
        exact = float(np.sqrt(here.gradient @ np.linalg.solve(here.hessian, here.gradient)))
        assert state.near is None or state.decrement >= exact * (1.0 - 1e-9)


def test_a_sample_that_does_not_speak_for_all_rows_is_left_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(6000, 2))
    X[::16] *= 1e-3  # in the rows of the sample nearly nothing happens
    label = (rng.random(6000) < 1.0 / (1.0 + np.exp(-X @ np.array([1.0, -1.0])))).astype(np.float64)
    rows = dense_rows(X, label)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-5))
    best = walk(objective, rows, objective.null_parameters(rows), 12)[-1]
    sampled(monkeypatch)
    states = walk(objective, rows, objective.null_parameters(rows), 12)
    assert states[0].sample is not None
    assert states[-1].sample is None
    values = [state.expansion.value for state in states]
    assert np.all(np.diff(values) <= 1e-13)
    np.testing.assert_allclose(states[-1].parameters, best.parameters, rtol=0, atol=1e-11)
