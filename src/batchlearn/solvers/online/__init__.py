"""Solvers that learn from one row at a time, and what they predict on the way."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

from batchlearn.data.rows import Rows
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats
from batchlearn.solvers import RowsAtOnce, Solver, State
from batchlearn.solvers.batches import compiled_loss
from batchlearn.statistics.objective import Objective

# Numbers that compiled loops meet in the time in which Python goes through one row.
_INTERPRETED = 20_000.0


class RowSolver(Solver[State], Protocol[State]):
    """An update rule that learns from single rows, whatever the batch size: a batch is as many single steps."""

    def follow(self, objective: Objective, rows: Rows, state: State, shown: Rows | None = None) -> tuple[State, Floats]:
        """Go through rows one by one; return the state after them, and predictors made on the way.

        Number t is the predictor of row t of `shown`, the same rows unless given, before row t is learned from:
        (m,) or (outputs, m).
        """
        ...

    def values_of_row(self, objective: Objective, coefficients: int) -> float:
        """Return how many numbers a row meets; as many as take its time where Python goes through the rows."""
        fast = native.compiled() is not None and compiled_loss(objective.loss) is not None
        return coefficients if fast else max(coefficients, _INTERPRETED)

    def step(self, objective: Objective, rows: Rows, state: State) -> State:
        """Return the state after the rows of a stretch."""
        return self.follow(objective, rows, state)[0]


def learns_from_single_rows(solver: Solver[Any]) -> TypeGuard[RowSolver[Any]]:
    """Whether a solver looks at one row at a time."""
    return solver.needs is RowsAtOnce.ONE
