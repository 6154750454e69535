"""Online Newton with a diagonal: units of columns and labels do not matter, and no rate has to be chosen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import SGDClassifier
from tests.solvers.problems import posed, taken

from batchlearn import LinearClassifier
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online.diagonal import DiagonalNewton
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.regimes import Online, epochs


def raw(scale: float, label_scale: float = 1.0, loss: str = "logistic") -> tuple[Objective, MemoryRows]:
    """Return rows whose columns are stored and read in other units, without penalty."""
    problem = posed(loss, rows=400)
    (chunk,) = taken(problem.rows, np.arange(400)).chunks
    factors = scale ** np.array([1.0, -1.0, 0.5, 0.0])
    stored = StoredChunk(chunk.dense * factors[:, None], chunk.codes, chunk.label * label_scale)
    layout = problem.rows.layout
    rows = MemoryRows(layout, (stored,), np.zeros(4), np.ones(4))
    return Objective(LOSSES[loss], ridge(layout, 0.0)), rows


def predicted(objective: Objective, rows: MemoryRows) -> np.ndarray:
    state = DiagonalNewton().start(objective, rows, np.zeros(13), ReadingPlan(1, 400, 400.0, 0))
    return DiagonalNewton().follow(objective, rows, state)[1]


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_predictions_do_not_depend_on_the_units_of_columns(scale: float) -> None:
    np.testing.assert_allclose(predicted(*raw(scale)), predicted(*raw(1.0)), rtol=1e-6, atol=1e-9)


def test_predictions_of_a_squared_loss_follow_the_units_of_labels() -> None:
    plain = predicted(*raw(1.0, loss="squared"))
    large = predicted(*raw(1.0, 1e5, loss="squared"))
    np.testing.assert_allclose(large, 1e5 * plain, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_it_learns_most_of_what_there_is_in_one_pass(loss: str) -> None:
    problem = posed(loss, rows=3000)
    null = problem.excess(problem.objective.null_parameters(problem.rows))
    end = list(epochs(problem.objective, problem.rows, Online(), DiagonalNewton(), passes=1.0))[-1]
    assert problem.excess(end.parameters) < 0.15 * null


def test_sparse_rows_are_learned_as_dense_ones() -> None:
    problem = posed(rows=300)
    (chunk,) = taken(problem.rows, np.arange(300)).chunks
    objective = Objective(LOSSES["logistic"], ridge(Layout(True, 4), 1e-3))
    none = np.empty((0, 300), dtype=int)
    dense = MemoryRows(Layout(True, 4), (StoredChunk(chunk.dense, none, chunk.label),), np.zeros(4), np.ones(4))
    sparse = MemoryRows(
        Layout(True, 0, (), 4),
        (StoredChunk(np.empty((0, 300)), none, chunk.label, sparse=csr_array(chunk.dense.T)),),
        np.zeros(0),
        np.ones(0),
    )
    answers = []
    for rows in (dense, sparse):
        state = DiagonalNewton().start(objective, rows, np.zeros(5), ReadingPlan(1, 300, 300.0, 0))
        answers.append(DiagonalNewton().follow(objective, rows, state)[1])
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-9, atol=1e-12)


def test_cutting_a_stretch_changes_no_bit() -> None:
    problem = posed(rows=200)
    start = DiagonalNewton().start(problem.objective, problem.rows, np.zeros(13), ReadingPlan(1, 200, 200.0, 0))
    whole, _ = DiagonalNewton().follow(problem.objective, taken(problem.rows, np.arange(200)), start)
    state = start
    for first, last in ((0, 1), (1, 77), (77, 200)):
        state, _ = DiagonalNewton().follow(problem.objective, taken(problem.rows, np.arange(first, last)), state)
    assert state.parameters.tobytes() == whole.parameters.tobytes()
    assert state.delivered.tobytes() == whole.delivered.tobytes()


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_the_step_of_a_row_is_the_best_for_it_along_its_own_direction(loss: str) -> None:
    """z = argmin weight * phi(z, y) + (z - eta)^2 / (2 x'Dx), by bisection; w moves along D x."""
    objective, rows = raw(1.0, loss=loss)
    solver, plan = DiagonalNewton(), ReadingPlan(1, 400, 400.0, 0)
    state = solver.start(objective, rows, np.zeros(13), plan)
    state, _ = solver.follow(objective, taken(rows, np.arange(100)), state)
    row = taken(rows, np.arange(100, 101))
    after, (eta,) = solver.follow(objective, row, state)
    chunk = row.read(row.chunks[0])
    x = np.append(chunk.block.dense[:, 0], np.zeros(len(state.parameters) - 5))
    for codes, part in zip(chunk.block.codes, chunk.layout.group_slices, strict=True):
        x[part.start + codes[0]] += codes[0] < part.stop - part.start
    assert eta == pytest.approx(x @ state.parameters)
    # Sizes as they are after the row; the curvature as it was before.
    prior = np.full(len(x), after.sums.entries / after.sums.rows * state.sums.strength)
    prior[0] = 0.25
    precision, was = (prior * square + 0.25 * state.curvature for square in (after.square, state.square))
    shrunk = np.where((was < precision) & (state.count > 0.0), was / np.where(precision > 0.0, precision, 1.0), 1.0)
    start = np.where(x != 0.0, state.parameters * shrunk, state.parameters)
    direction = np.divide(x, precision, out=np.zeros_like(x), where=x != 0.0)
    reach, now = x @ direction, x @ start
    low, high = now - 50.0, now + 50.0
    for _ in range(100):
        middle = np.array([0.5 * (low + high)])
        rises = objective.loss.slope(middle, chunk.label)[0] + (middle[0] - now) / reach > 0.0
        low, high = (low, middle[0]) if rises else (middle[0], high)
    np.testing.assert_allclose(after.parameters, start + direction * (low - now) / reach, rtol=5e-3, atol=1e-4)
    assert np.abs(after.parameters - start).max() > 1e-3


@pytest.mark.parametrize("values", ["counts", "signed"])
def test_rare_columns_are_predicted_no_worse_than_by_the_best_rate_of_gradient_steps(values: str) -> None:
    rng, (rows, columns, entries) = np.random.default_rng(0), (4000, 4000, 60)
    column = np.minimum(columns ** rng.uniform(size=(rows, entries)), columns).astype(np.int32) - 1
    value = rng.normal(size=column.shape) if values == "signed" else 1.0 + rng.poisson(0.5, size=column.shape)
    pointers = np.arange(0, column.size + 1, entries, dtype=np.int32)
    X = csr_array((value.ravel(), column.ravel(), pointers), shape=(rows, columns))
    X.sum_duplicates()
    eta = X @ (rng.normal(size=columns) / entries**0.5)
    y = (rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-eta))).astype(float)

    def progressive(model: LinearClassifier | SGDClassifier) -> float:
        total = 16 * np.log(2.0)
        model.partial_fit(X[:16], y[:16], classes=[0.0, 1.0])
        for first in range(16, rows, 16):
            own = slice(first, first + 16)
            found = model.decision_function(X[own])
            total += float(np.sum(np.logaddexp(0.0, found) - y[own] * found))
            model.partial_fit(X[own], y[own])
        return float(total / rows)

    steps = {"loss": "log_loss", "learning_rate": "constant", "alpha": 1e-5}
    best = min(progressive(SGDClassifier(eta0=rate, **steps)) for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1))
    assert progressive(LinearClassifier(alpha=1e-5)) < 1.005 * best


def test_the_prior_grows_weaker_where_rows_say_much_and_stronger_where_they_say_little() -> None:
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((3000, 600)) < 0.02) * 1.0)
    layout, none = Layout(True, 0, (), 600), np.empty((0, 3000))
    strengths = []
    for size in (0.0, 3.0):
        eta = X @ (size * rng.normal(size=600))
        label = (rng.uniform(size=3000) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
        chunk = StoredChunk(none, none.astype(int), label, sparse=X)
        rows = MemoryRows(layout, (chunk,), np.zeros(0), np.ones(0))
        objective = Objective(LOSSES["logistic"], ridge(layout, 0.0))
        state = DiagonalNewton().start(objective, rows, np.zeros(601), ReadingPlan(1, 3000, 3000.0, 0))
        strengths.append(DiagonalNewton().step(objective, rows, state).sums.strength)
    assert strengths[1] < 0.5 * 0.75 < 0.75 < strengths[0]


def test_several_outputs_are_refused_with_what_to_use() -> None:
    problem = posed(rows=50)
    objective = Objective(SoftmaxLoss(3), problem.objective.penalty)
    with pytest.raises(UsageError, match=r"Use NormalisedGradient\(\)") as refused:
        DiagonalNewton().start(objective, problem.rows, np.zeros(26), ReadingPlan(1, 50, 50.0, 0))
    assert refused.value.code == "diagonal-newton-outputs"
