"""Stochastic gradient descent: each step is the textbook's, and the rate is probed on the record."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.solvers.problems import posed, taken

from batchlearn.kernels.window_mean import WindowMean
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.statistics.totals import GradientTotal
from batchlearn.training.matrix import read_matrix
from batchlearn.training.regimes import FullBatch, MiniBatch, Regime, default_solver, epochs


def test_a_window_mean_is_the_mean_of_its_points() -> None:
    rng = np.random.default_rng(1)
    point, mean, points = np.zeros(3), WindowMean.start(np.zeros(3), 4), []
    for _ in range(21):
        change = rng.normal(size=3)
        point = point + change
        mean = mean._replace(moves=mean.moves + mean.batches * change, batches=mean.batches + 1)
        points.append(point)
        mean = mean.turned(point)
    # Windows of 4, 8 and then 16: the mean is over the last full one and the nine points since.
    np.testing.assert_allclose(mean.mean(point), np.mean(points[4:], axis=0), rtol=1e-12)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_steps_are_those_of_the_textbook(loss: str) -> None:
    problem = posed(loss, rows=160, weighted=True)
    objective, rows = problem.objective, taken(problem.rows, np.arange(160))
    reading = ReadingPlan(40, 160, rows.total_weight, 0)
    solver = StochasticGradient(0.05)
    state = solver.start(objective, rows, np.zeros(13), reading)
    found = solver.step(objective, rows, state).parameters[:-1]
    expected = np.zeros(13)
    for step in range(4):
        batch = taken(rows, np.arange(40 * step, 40 * step + 40))
        rate = 0.05 / np.sqrt(1.0 + step / 4)
        _, total = GradientTotal(objective.loss)(batch.read(batch.chunks[0]), expected)
        expected = expected - rate * total / (rows.total_weight / 4)
        # The penalty is stepped along implicitly after the rows.
        expected -= rate * objective.penalty.gradient(expected) / (1.0 + rate * objective.penalty.strengths)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_the_probe_is_on_the_record_and_takes_the_best() -> None:
    problem = posed()
    run = list(epochs(problem.objective, problem.rows, MiniBatch(64), StochasticGradient(), passes=1.0))
    probe = run[-1].state.probe
    assert len(probe) >= 3
    assert all(a.rate * 4.0 == pytest.approx(b.rate) for a, b in pairwise(probe))
    best = min(probe, key=lambda tried: tried.objective)
    state = StochasticGradient().start(
        problem.objective, problem.rows, np.zeros(13), ReadingPlan(64, 4000, problem.rows.total_weight, 0)
    )
    assert state.rate in [tried.rate for tried in state.probe]
    null = problem.objective.null_parameters(problem.rows)
    assert best.objective < problem.objective.value(problem.rows, null)
    assert run[0].rows_read > 4000 * 0.1  # the probe's rows are counted


def test_rates_that_diverge_are_never_taken() -> None:
    problem = posed("poisson", rows=3000)
    reading = ReadingPlan(32, 3000, problem.rows.total_weight, 0)
    state = StochasticGradient().start(problem.objective, problem.rows, np.zeros(13), reading)
    assert np.isfinite(min(tried.objective for tried in state.probe))
    assert np.isfinite(state.rate)


def test_it_has_an_answer_before_the_full_batch_where_no_matrix_can_be_kept() -> None:
    rng = np.random.default_rng(4)
    rows, columns, words = 8000, 6000, 20
    levels = np.minimum(rng.zipf(1.3, (rows, words)) - 1, columns - 1)
    counts = csr_array((np.ones(rows * words), levels.ravel(), np.arange(0, rows * words + 1, words)))
    counts.resize((rows, columns))
    eta = counts @ rng.normal(size=columns) * 0.5
    label = (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
    many = read_matrix(counts, label).rows
    objective = Objective(LOSSES["logistic"], ridge(many.layout, 1e-4))
    assert default_solver(objective, many, MiniBatch(64)) == StochasticGradient()

    def value(regime: Regime, passes: float) -> float:
        run = list(epochs(objective, many, regime, passes=passes))
        assert run[-1].passes <= passes + 1.5
        return objective.value(many, run[-1].parameters)

    # L-BFGS makes its first step after two readings.
    assert value(MiniBatch(64), 2.0) < 0.85 * value(FullBatch(), 2.0)
