"""Online Newton with the full matrix: the answer to all rows so far, one row at a time.

The state is a point w and P, the inverse of the curvature met so far (the penalty's first). A row with predictor
eta = x'w and h = x'Px moves its own predictor to

    z = argmin weight * phi(z, y) + (z - eta)^2 / (2 h),    w += P x (z - eta) / h,
    P -= g (P x)(P x)',   g = c / (1 + c h),   c = weight * phi''(z)

which for squared loss is recursive least squares, exact after every row, and for the others the extended Kalman
filter with an implicit step: there is no rate, no step overshoots its own row, and scaling a column changes nothing
but its own coefficient. The loop over rows is `kernels.online.newton`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.epochs import follow_newton
from batchlearn.kernels.online.newton import follow_rows
from batchlearn.objectives.factor import factorise
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers import ReadingPlan, RowsAtOnce
from batchlearn.solvers.batches import compiled, labelled
from batchlearn.solvers.online import RowSolver
from batchlearn.statistics.objective import Objective

MOST_COEFFICIENTS = 512
# Curvature given to what has no penalty, as a number of rows of unit length: it fades as rows come.
FAINT = 1e-2


@dataclass(frozen=True)
class OnlineState:
    """The point (d,), the inverse curvature (d, d), and the pull of the penalty not yet paid (d,).

    `base` is the curvature at the beginning of the present pass: what rows of this pass did not bring.
    """

    parameters: Floats
    inverse: Floats
    debt: Floats
    base: Floats
    weight: float = 0.0  # of all rows
    passes: int = 0
    further_rows: int = 0

    @property
    def delivered(self) -> Floats:
        """The parameters now, with the penalty paid."""
        return self.parameters - self.inverse @ self.debt if self.debt.any() else self.parameters.copy()


@dataclass(frozen=True)
class OnlineNewton(RowSolver["OnlineState"]):
    """The update above, row by row, whatever the batch size: a batch is as many single steps."""

    name: ClassVar[str] = "online-newton"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ONE
    most_passes: ClassVar[float] = 5.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> OnlineState:
        """Return the state before the first row: curvature of the penalty alone, and a faint one where it has none."""
        if objective.loss.outputs > 1 or rows.layout.size > MOST_COEFFICIENTS:
            other = "NormalisedGradient()" if objective.loss.outputs > 1 else "DiagonalNewton()"
            raise UsageError(
                f"OnlineNewton keeps a matrix of all coefficients: it needs one output and at most {MOST_COEFFICIENTS} "
                f"coefficients; there are {objective.loss.outputs} and {rows.layout.size}. Use {other}.",
                code="online-newton-size",
            )
        penalty = penalty_matrix(objective.penalty, rows.layout.size) * reading.weight
        curved = penalty + np.diag(np.where(np.diagonal(penalty) > 0.0, 0.0, FAINT))
        return OnlineState(parameters.copy(), inverted(curved), penalty @ parameters, curved, reading.weight)

    def begin_pass(self, objective: Objective, rows: Rows, state: OnlineState) -> OnlineState:
        """Count the penalty once more for a further pass: the rows will have been counted once more as well.

        Curvature met far from the optimum is forgotten: that of the last pass stands for each pass before it.
        """
        if state.passes == 0:
            return replace(state, passes=1)
        penalty = penalty_matrix(objective.penalty, rows.layout.size) * state.weight
        fresh = inverted(state.inverse) - state.base
        curved = state.passes * fresh + (state.passes + 1) * penalty
        curved += np.diag(np.where(np.diagonal(penalty) > 0.0, 0.0, FAINT))
        inverse, point = inverted(curved), state.delivered
        moved = point - inverse @ (penalty @ point)
        return OnlineState(moved, inverse, np.zeros_like(point), curved, state.weight, state.passes + 1)

    def follow(
        self, objective: Objective, rows: Rows, state: OnlineState, shown: Rows | None = None
    ) -> tuple[OnlineState, Floats]:
        """Go through rows one by one, a block at a time: the protocol's `follow`."""
        fast = compiled(objective.loss, rows, shown)
        if fast is not None:
            parameters, inverse, made, _ = follow_newton(fast, state.parameters, state.inverse)
        else:
            other = None if shown is None or shown is rows else labelled(shown)
            learned = labelled(rows)
            parameters, inverse, made = follow_rows(objective.loss, learned, state.parameters, state.inverse, other)
        return replace(state, parameters=parameters, inverse=inverse), made


def inverted(matrix: Floats) -> Floats:
    """Return the inverse of a symmetric positive definite matrix, (d, d). Raises NotPositiveDefinite."""
    return factorise(matrix, 0.0).inverse_hessian


def penalty_matrix(penalty: Quadratic, size: int) -> Floats:
    """Return the Hessian of a penalty, (d, d)."""
    matrix = np.zeros((size, size))
    penalty.add_to(matrix)
    return matrix
