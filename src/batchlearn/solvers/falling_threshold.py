"""The way to a Huber optimum: thresholds that fall to the one asked for, each a short way from the last.

Far from an optimum few rows or none may be within the threshold, and Newton's own Hessian says little or nothing. The
optima of all thresholds are a path, along which the rows within change a few at a time (Madsen and Nielsen 1993). It
begins where half of the rows are within. The penalty goes with the threshold, as the loss of a row far
outside does: otherwise it would hide the labels at one end of the path, or vanish at the other.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import WithinTotal

if TYPE_CHECKING:
    from batchlearn.solvers.newton import Newton

# From one threshold to the next; so many of them reach beyond every label.
_FALL, _MOST = 4.0, 500
# Of the threshold: few rows are still on the wrong side of it.
_NEAR_ENOUGH = 0.01
# Steps of each kind on the way, and steps from above at its end.
_STEPS, _LAST_STEPS = 8, 200


def from_above(objective: Objective, rows: Rows, loss: HuberLoss, solver: Newton, parameters: Floats) -> Floats:
    """Return parameters (d,) so near to the optimum of the objective, whose loss is given, that few rows cross."""
    with np.errstate(over="ignore"):
        sizes: Floats = loss.threshold * _FALL ** np.arange(float(_MOST))
    (within,) = rows.total(WithinTotal(sizes), parameters)
    for threshold in sizes[int(np.argmax(within >= 0.5 * within[-1])) :: -1]:
        penalty = objective.penalty.times(threshold / loss.threshold)
        above = Objective(HuberLoss(threshold).majorised, penalty)
        state = solver.start(above, rows, parameters)
        for _ in range(_LAST_STEPS if threshold == loss.threshold else _STEPS):
            if state.decrement < _NEAR_ENOUGH * threshold:
                break
            state = solver.step(above, rows, state)
        parameters = _inside(Objective(HuberLoss(threshold), penalty), rows, solver, state.parameters)
    return parameters


def _inside(objective: Objective, rows: Rows, solver: Newton, parameters: Floats) -> Floats:
    """Return where a few of Newton's own steps lead, as far as the Hessian has a factor."""
    with suppress(NotPositiveDefinite):
        state = solver.start(objective, rows, parameters)
        for _ in range(_STEPS):
            before, state = state.decrement, solver.step(objective, rows, state)
            parameters = state.parameters
            if not state.decrement < 0.5 * before:
                break
    return parameters
