"""The loop of online Newton with a diagonal over single rows: `solvers.online.diagonal` says what it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Floats
from batchlearn.kernels.online.newton import proximal
from batchlearn.kernels.single_rows import LabelledRows, RowLoss, RowPenalty, batch_predictor, unpadded

# Columns that come together share the curvature of their rows. Of 1, 1/4 and 1/16 the second lost least on 23 streams.
_SHARE = 0.25
# Precision of the intercept, before a row: of predictors of up to 2 or so.
_OF_INTERCEPT = 0.25
# The prior at first lets a row's coefficients together move its predictor by what a precision of 3/4 allows.
STRENGTH = 0.75
_WEAKEST, _STRONGEST = 0.005, 15.0
# Steps of the logarithm of the strength: their length, and rows that the first ones are watched for.
_RATE, _ROWS_OF_START = 4.0, 10.0
# Entries of a row, for how often every coefficient is touched: at least so many, whatever a sparse row holds.
_FEWEST_TERMS = 16


class DiagonalSums(NamedTuple):
    """What all rows so far add up to, by their weight, in the order of the kernels."""

    rows: float = 0.0
    entries: float = 0.0  # values that are not 0, the intercept's not counted
    slopes: float = 0.0  # squared
    curvatures: float = 0.0
    strength: float = STRENGTH
    strength_curvature: float = 0.0  # along the logarithm of the strength
    due: float = 0.0  # weight of the rows whose share of the penalty is still to come
    waiting: float = 0.0  # rows since the penalty was stepped along

    @property
    def precision(self) -> float:
        """The prior's precision of a coefficient whose values have a mean square of one."""
        return self.strength * self.entries / self.rows if self.rows > 0.0 else self.strength


@dataclass(frozen=True)
class DiagonalState:
    """Of each coefficient, padded: parameter, curvature, mean square of the values that are not 0, and their weight."""

    parameters: Floats
    curvature: Floats
    square: Floats
    count: Floats
    intercept: bool  # whether the first is one
    sums: DiagonalSums = DiagonalSums()  # noqa: RUF009 - a value like a number
    further_rows: int = 0

    @property
    def delivered(self) -> Floats:
        """The parameters now, flat."""
        return unpadded(self.parameters)


def penalty_interval(terms: int, size: int) -> int:
    """Return after how many rows the penalty is stepped along: that may cost as much as touching those of the rows."""
    return math.ceil(size / max(terms, _FEWEST_TERMS))


def follow_rows(
    loss: RowLoss, penalty: RowPenalty, rows: LabelledRows, state: DiagonalState, shown: LabelledRows | None = None
) -> tuple[DiagonalState, Floats]:
    """Learn rows one by one; return the state after them, and predictors made on the way, (m,).

    Number t is the predictor of row t of `shown`, the same rows unless given, before row t is learned from.
    """
    view, label = rows.rows, rows.label
    walk = _DiagonalWalk(loss, penalty, view.lead + view.levels.shape[1], state)
    predictors = np.empty(len(label))
    # Coefficient and value of each entry of the dense columns and the levels, (m, entries) both; "no level" has the
    # last place, and value zero.
    columns = np.concatenate([np.broadcast_to(np.arange(view.lead), view.dense.shape), view.levels], axis=1)
    values = np.concatenate([view.dense, view.levels != len(state.count) - 1], axis=1)
    for i in range(len(label)):
        row = columns[i], values[i]
        if view.sparse is not None:
            entries = slice(view.sparse.indptr[i], view.sparse.indptr[i + 1])
            row = (
                np.append(row[0], view.sparse.indices[entries] + view.first),
                np.append(row[1], view.sparse.data[entries]),
            )
        if shown is not None:
            predictors[i] = batch_predictor(shown.rows, i, i + 1, walk.parameters)[0] + shown.offset[i]
        predictor = walk.step(*row, label[i : i + 1], float(rows.weight[i]), float(rows.offset[i]))
        if shown is None:
            predictors[i] = predictor
    return walk.state(), predictors


class _DiagonalWalk:
    """The rows of one stretch; works on copies of the state's arrays."""

    def __init__(self, loss: RowLoss, penalty: RowPenalty, terms: int, state: DiagonalState) -> None:
        self._loss, self._penalty, self._state, self._sums = loss, penalty, state, state.sums
        self.parameters, self._curvature = state.parameters.copy(), state.curvature.copy()
        self._square, self._count = state.square.copy(), state.count.copy()
        self._interval = penalty_interval(terms, self.parameters.size)
        self._majorant = penalty.magnitude(np.ones(self.parameters.size - 1))

    def step(self, columns: NDArray[np.intp], values: Floats, label: Floats, weight: float, offset: float) -> float:
        """Learn from one row; return its predictor before."""
        sums, given = self._sums, self.parameters[columns]
        before = float(given @ values) + offset
        if weight > 0.0:
            own = (columns == 0) & self._state.intercept
            met, size = values != 0.0, values * values
            entries = sums.entries + weight * np.count_nonzero(met & ~own)
            sums = sums._replace(rows=sums.rows + weight, entries=entries)
            # 1. Sizes are taken in; where they grow, coefficients say less by as much as the prior is stronger.
            known, square = self._count[columns], self._square[columns]
            count = known + weight * met
            bend, prior = _SHARE * self._curvature[columns], np.where(own, _OF_INTERCEPT, sums.precision)
            was = prior * square + bend
            square = square + (size - square) * (weight * met / _one_for_none(count))
            precision = prior * square + bend
            inverse = 1.0 / _one_for_none(precision)
            now = np.where((known > 0.0) & (was < precision), given * (was * inverse), given)
            # 2. The prior's strength goes along the gradient of the loss as the row was predicted.
            part = float(np.sum(np.where(own, 0.0, given * values * (prior * square * inverse))))
            point = np.array([before])
            slope = float(self._loss.slope(point, label)[0])
            curvature = float(self._loss.least_curvature(point, label)[0])
            sums = sums._replace(
                slopes=sums.slopes + weight * slope * slope,
                curvatures=sums.curvatures + weight * curvature,
                strength_curvature=sums.strength_curvature + weight * curvature * part * part,
                due=sums.due + weight,
            )
            # 3. The step that is best for the row along D x.
            direction = values * inverse
            reach = float(direction @ values)
            if reach > 0.0:
                eta = np.array([float(now @ values) + offset])
                step, found = proximal(self._loss, eta, label, weight, reach, point)
                now = now + direction * (step / reach)
                self._curvature[columns] += found * size
            self.parameters[columns], self._square[columns], self._count[columns] = now, square, count
            sums = sums._replace(strength=_strengthened(sums, weight * slope * part))
        self._sums = sums._replace(waiting=sums.waiting + 1.0)
        if self._sums.waiting >= self._interval:
            self._catch_up()
        return before

    def _catch_up(self) -> None:
        """Step along the penalty for the rows since the last time, no further than is stable."""
        sums = self._sums
        if sums.due > 0.0:
            prior = np.full(self.parameters.size - 1, sums.precision)
            if self._state.intercept:
                prior[0] = _OF_INTERCEPT
            precision = prior * self._square[:-1] + _SHARE * self._curvature[:-1]
            gradient = self._penalty.gradient(unpadded(self.parameters))
            met = self._count[:-1] > 0.0
            step = sums.due * gradient / np.where(met, precision + sums.due * self._majorant, 1.0)
            self.parameters[:-1] -= np.where(met, step, 0.0)
        self._sums = sums._replace(due=0.0, waiting=0.0)

    def state(self) -> DiagonalState:
        return replace(
            self._state,
            parameters=self.parameters,
            curvature=self._curvature,
            square=self._square,
            count=self._count,
            sums=self._sums,
        )


def _strengthened(sums: DiagonalSums, gain: float) -> float:
    """Return the strength after a row: weaker where the prior's part of the predictor went the right way."""
    unit = _ROWS_OF_START * sums.slopes / max(sums.curvatures, 1e-300) + sums.strength_curvature
    step = _RATE * gain / unit if unit > 0.0 else 0.0
    step = 0.0 if math.isnan(step) else min(max(step, -1.0), 1.0)
    return min(max(sums.strength * ((2.0 + step) / (2.0 - step)), _WEAKEST), _STRONGEST)


def _one_for_none(numbers: Floats) -> Floats:
    return np.where(numbers > 0.0, numbers, 1.0)
