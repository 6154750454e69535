"""Predictions made before labels are used: no row has a say in what is predicted for it, or before its label comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.solvers.problems import posed, taken

from batchlearn.errors import UsageError
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online import RowSolver
from batchlearn.solvers.online.diagonal import DiagonalNewton
from batchlearn.solvers.online.newton import OnlineNewton, OnlineState
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.solvers.online.progressive import predictors_before
from batchlearn.statistics.rowwise import predictor

SOLVERS: list[RowSolver[Any]] = [OnlineNewton(), DiagonalNewton(), NormalisedGradient()]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
@pytest.mark.parametrize("delay", [0, 1, 40, 500])
def test_each_row_is_predicted_from_the_labels_known_before_it(solver: RowSolver[Any], delay: int) -> None:
    problem = posed(rows=120, weighted=True)
    found = predictors_before(problem.objective, problem.rows, solver, delay=delay)
    reading = ReadingPlan(1, 120, problem.rows.total_weight, 0)
    for row in (0, 1, 33, 64, 119):
        state = solver.start(problem.objective, problem.rows, np.zeros(13), reading)
        known = max(row - delay, 0)
        if known:
            state = solver.step(problem.objective, taken(problem.rows, np.arange(known)), state)
        point = state.parameters if isinstance(state, OnlineState) else state.parameters[:-1]
        one = problem.rows.read(taken(problem.rows, np.array([row])).chunks[0])._replace(weight=np.ones(1))
        np.testing.assert_allclose(found[row], predictor(one, point)[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_later_labels_change_nothing_before_them(solver: RowSolver[Any]) -> None:
    problem = posed(rows=150)
    chunks, ends = problem.rows.chunks, np.cumsum([len(chunk) for chunk in problem.rows.chunks])
    later = np.split(np.arange(150) >= 90, ends[:-1])
    turned = [replace(c, label=np.where(late, 1.0 - c.label, c.label)) for c, late in zip(chunks, later, strict=True)]
    changed = replace(problem.rows, chunks=tuple(turned))
    one, other = (predictors_before(problem.objective, rows, solver, delay=5) for rows in (problem.rows, changed))
    np.testing.assert_array_equal(one[:96], other[:96])
    assert not np.array_equal(one[96:], other[96:])


def test_a_delay_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="0 or more rows"):
        predictors_before(posed(rows=50).objective, posed(rows=50).rows, OnlineNewton(), delay=-1)
