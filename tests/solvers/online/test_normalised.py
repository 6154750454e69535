"""Normalised updates: units of columns and labels do not matter, and many coefficients cost nothing a row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.solvers.problems import posed, taken

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online.normalised import NormalisedGradient
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
    state = NormalisedGradient().start(objective, rows, np.zeros(13), ReadingPlan(1, 400, 400.0, 0))
    return NormalisedGradient().follow(objective, rows, state)[1]


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
    end = list(epochs(problem.objective, problem.rows, Online(), NormalisedGradient(), passes=1.0))[-1]
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
        state = NormalisedGradient().start(objective, rows, np.zeros(5), ReadingPlan(1, 300, 300.0, 0))
        answers.append(NormalisedGradient().follow(objective, rows, state)[1])
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-9, atol=1e-12)


def test_cutting_a_stretch_changes_no_bit() -> None:
    problem = posed(rows=200)
    start = NormalisedGradient().start(problem.objective, problem.rows, np.zeros(13), ReadingPlan(1, 200, 200.0, 0))
    whole, _ = NormalisedGradient().follow(problem.objective, taken(problem.rows, np.arange(200)), start)
    state = start
    for first, last in ((0, 1), (1, 77), (77, 200)):
        state, _ = NormalisedGradient().follow(problem.objective, taken(problem.rows, np.arange(first, last)), state)
    assert state.parameters.tobytes() == whole.parameters.tobytes()
    assert state.delivered.tobytes() == whole.delivered.tobytes()
