"""Predictions made before a row's label was used: test, then train, with labels that may come later."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.kernels.online.newton import BLOCK
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online import RowSolver
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import predictor

# Rows taken at a time: a multiple of the blocks of `newton`, so that cutting changes nothing.
_STRETCH = 512 * BLOCK


def predictors_before(
    objective: Objective, rows: Rows, solver: RowSolver[Any], *, delay: int = 0, start: Floats | None = None
) -> Floats:
    """Return each row's linear predictor from the rows before it alone, (rows,) or (outputs, rows).

    Rows are taken as stored. With a delay, the label of row t is learned from just before row t + delay + 1 is
    predicted; the first rows are predicted by the start, zero unless given.
    """
    if delay < 0:
        raise UsageError(f"The label delay is {delay}; it needs to be 0 or more rows.", code="delay-negative")
    count, delay = len(rows), min(delay, len(rows))
    parameters = np.zeros(rows.layout.size * objective.loss.outputs) if start is None else start
    state = solver.start(objective, rows, parameters, ReadingPlan(1, count, rows.total_weight, 0))
    before = [part.map_rows(predictor, parameters) for part in rows.stretches(np.arange(delay), max(delay, 1))]
    asked = rows.stretches(np.arange(delay, count), _STRETCH) if delay else None
    for learned in rows.stretches(np.arange(count - delay), _STRETCH):
        state, predictors = solver.follow(objective, learned, state, learned if asked is None else next(asked))
        before.append(predictors)
    return np.concatenate(before, axis=-1)
