"""Online Newton with the full matrix: the answer to all rows so far, one row at a time.

The state is a point w and P, the inverse of the curvature met so far (the penalty's first). A row with predictor
eta = x'w and h = x'Px moves its own predictor to

    z = argmin weight * phi(z, y) + (z - eta)^2 / (2 h),    w += P x (z - eta) / h,
    P -= g (P x)(P x)',   g = c / (1 + c h),   c = weight * phi''(z)

which for squared loss is recursive least squares, exact after every row, and for the others the extended Kalman
filter with an implicit step: there is no rate, no step overshoots its own row, and scaling a column changes nothing
but its own coefficient. Rows go through in blocks: within one, the d x d matrix is met through the block's own Gram
matrix X P X', which the rows update among themselves, so that one row at a time costs what a block costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import factorise
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers import Reading, RowsAtOnce
from batchlearn.solvers.batches import Stretch, only_stretch
from batchlearn.solvers.online import RowSolver
from batchlearn.statistics.objective import Objective

BLOCK = 32
MOST_COEFFICIENTS = 512
# Curvature given to what has no penalty, as a number of rows of unit length: it fades as rows come.
FAINT = 1e-2
_PROXIMAL_STEPS = 30


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

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: Reading) -> OnlineState:
        """Return the state before the first row: curvature of the penalty alone, and a faint one where it has none."""
        if objective.loss.outputs > 1 or rows.layout.size > MOST_COEFFICIENTS:
            raise UsageError(
                f"OnlineNewton keeps a matrix of all coefficients: it needs one output and at most {MOST_COEFFICIENTS} "
                f"coefficients; there are {objective.loss.outputs} and {rows.layout.size}. Use NormalisedGradient().",
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
        parameters, inverse = state.parameters.copy(), state.inverse.copy()
        stretch = only_stretch(rows)
        other = None if shown is None or shown is rows else only_stretch(shown)
        predictors = np.empty(len(stretch))
        for start, stop in stretch.cut(BLOCK):
            chunk = stretch.chunk
            design = _design(stretch, start, stop, len(parameters))
            reach = design @ inverse  # (b, d): P x of each row
            eta = design @ parameters + _offset(stretch, start, stop)
            moved = _Block(objective.loss, chunk.label[start:stop], chunk.weight[start:stop], eta).follow(
                reach @ design.T
            )
            # Row t's P x is that of the block's start less what the rows before it took: a triangular system.
            own = solve_triangular(moved.taken, reach, trans="T", unit_diagonal=True, check_finite=False)
            predictors[start:stop] = moved.predictors
            if other is not None:
                view = _design(other, start, stop, len(parameters))
                at_start = view @ parameters + _offset(other, start, stop)
                predictors[start:stop] = at_start + np.tril(view @ own.T, -1) @ moved.steps
            parameters += moved.steps @ own
            own *= np.sqrt(moved.gains)[:, None]
            inverse -= own.T @ own
        return replace(state, parameters=parameters, inverse=inverse), predictors


def _offset(stretch: Stretch, start: int, stop: int) -> Floats | float:
    offset = stretch.chunk.offset
    return offset[start:stop] if isinstance(offset, np.ndarray) else offset


def inverted(matrix: Floats) -> Floats:
    """Return the inverse of a symmetric positive definite matrix, (d, d). Raises NotPositiveDefinite."""
    return factorise(matrix, 0.0).inverse_hessian


class _Moved(NamedTuple):
    predictors: Floats  # (b,): before each row was used
    steps: Floats  # (b,): (z - eta) / h
    gains: Floats  # (b,): g
    taken: Floats  # (b, b), upper triangular: g_s x_t' P_s x_s for s < t


class _Block(NamedTuple):
    loss: Loss
    label: Floats
    weight: Floats
    predictor: Floats  # (b,): at the block's start

    def follow(self, gram: Floats) -> _Moved:
        """Go through the block's rows; `gram` is X P X' (b, b) at its start, and is used up."""
        count = len(self.label)
        predictor, before = self.predictor.copy(), np.empty(count)
        steps, gains, taken = np.zeros(count), np.zeros(count), np.zeros((count, count))
        for t in range(count):
            before[t] = predictor[t]
            reach = float(gram[t, t])
            if not reach > 0.0 or self.weight[t] == 0.0:
                continue
            column = gram[t].copy()
            step, curvature = self._proximal(t, predictor[t : t + 1], reach)
            gain = curvature / (1.0 + curvature * reach)
            steps[t], gains[t] = step / reach, gain
            predictor += column * (step / reach)
            taken[t, t + 1 :] = gain * column[t + 1 :]
            rest = column[t + 1 :]
            gram[t + 1 :, t + 1 :] -= np.multiply.outer(gain * rest, rest)
        return _Moved(before, steps, gains, taken)

    def _proximal(self, t: int, eta: Floats, reach: float) -> tuple[float, float]:
        """Return z - eta and weight times curvature at z, by Newton steps short enough to be safe."""
        label, weight = self.label[t : t + 1], float(self.weight[t])
        constant, point = self.loss.self_concordance, eta
        for _ in range(_PROXIMAL_STEPS):
            curvature = weight * float(self.loss.least_curvature(point, label)[0])
            slope = weight * float(self.loss.slope(point, label)[0])
            residual = float(point[0] - eta[0]) + reach * slope
            change = -residual / (1.0 + reach * curvature)
            size = constant * abs(change)
            if size > 1.0:
                change /= size
            point = point + change
            if size < 0.05:
                break
        return float(point[0] - eta[0]), curvature


def _design(stretch: Stretch, start: int, stop: int, size: int) -> Floats:
    rows = stretch.rows
    design = np.zeros((stop - start, size + 1))
    design[:, : rows.lead] = rows.dense[start:stop]
    row = np.arange(stop - start)
    for column in rows.levels[start:stop].T:
        design[row, column] += 1.0
    if rows.sparse is not None:
        design[:, rows.first : size] = rows.sparse[start:stop].toarray()
    return design[:, :size]


def penalty_matrix(penalty: Quadratic, size: int) -> Floats:
    """Return the Hessian of a penalty, (d, d)."""
    matrix = np.zeros((size, size))
    penalty.add_to(matrix)
    return matrix
