"""The loop of scale-invariant normalised updates over single rows: `solvers.online.normalised` says what they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Floats
from batchlearn.kernels.online.diagonal import penalty_interval
from batchlearn.kernels.single_rows import (
    LabelledRows,
    RowLoss,
    RowPenalty,
    batch_predictor,
    padded,
    unpadded,
)
from batchlearn.kernels.window_mean import WindowMean

# Of the one-row Newton step.
_RATE = 0.25
_TINY, _SMALL = 1e-300, 1e-3


@dataclass(frozen=True)
class NormalisedState:
    """The parameters with their sums, all padded, and the sums that set the unit of a step."""

    parameters: Floats
    mean: WindowMean
    squares: Floats  # G
    size: Floats  # s, (coefficients + 1,): zero where nothing was seen yet
    rows: float  # weight so far
    norm: float  # N
    slopes: float
    curvatures: float
    due: float = 0.0  # weight of the rows whose share of the penalty is still to come
    waiting: int = 0
    further_rows: int = 0

    @property
    def delivered(self) -> Floats:
        """The mean of the last parameters, flat."""
        return unpadded(self.mean.mean(self.parameters))


def follow_rows(
    loss: RowLoss, penalty: RowPenalty, rows: LabelledRows, state: NormalisedState, shown: LabelledRows | None = None
) -> tuple[NormalisedState, Floats]:
    """Learn rows one by one; return the state after them, and predictors made on the way, (m,) or (outputs, m).

    Number t is the predictor of row t of `shown`, the same rows unless given, before row t is learned from.
    """
    view, label = rows.rows, rows.label
    walk = _NormalisedWalk(loss, penalty, view.lead + view.levels.shape[1], state)
    predictors = np.empty(state.parameters.shape[:-1] + label.shape)
    # Coefficient and value of each entry of the dense columns and the levels, (m, entries) both; "no level" has the
    # last place, and value zero.
    columns = np.concatenate([np.broadcast_to(np.arange(view.lead), view.dense.shape), view.levels], axis=1)
    values = np.concatenate([view.dense, view.levels != len(state.size) - 1], axis=1)
    # In which rows a dense value is larger than all before it.
    sizes = np.abs(view.dense)
    known = state.size[: view.lead]
    grown = np.any(sizes > np.maximum.accumulate(np.concatenate([known[None, :], sizes[:-1]]), axis=0), axis=1)
    for i in range(len(label)):
        row = columns[i], values[i]
        if view.sparse is not None:
            entries = slice(view.sparse.indptr[i], view.sparse.indptr[i + 1])
            row = (
                np.append(row[0], view.sparse.indices[entries] + view.first),
                np.append(row[1], view.sparse.data[entries]),
            )
        if grown[i] or view.sparse is not None:
            walk.grow(*row)
        if shown is not None:
            one = batch_predictor(shown.rows, i, i + 1, walk.parameters) + shown.offset[i : i + 1]
            predictors[..., i : i + 1] = one
        predictor = walk.step(*row, label[i : i + 1], float(rows.weight[i]), float(rows.offset[i]))
        if shown is None:
            predictors[..., i] = predictor
    return walk.state(), predictors


class _NormalisedWalk:
    """The rows of one stretch; works on copies of the state's arrays."""

    def __init__(self, loss: RowLoss, penalty: RowPenalty, terms: int, state: NormalisedState) -> None:
        self._loss, self._penalty, self._state = loss, penalty, state
        self.parameters, self._squares, self._size = state.parameters.copy(), state.squares.copy(), state.size.copy()
        self._mean, self._moves, self._mean_batches = state.mean, state.mean.moves.copy(), state.mean.batches
        self._rows, self._norm, self._slopes, self._curvatures = state.rows, state.norm, state.slopes, state.curvatures
        self._interval = penalty_interval(terms, self.parameters.size)
        self._due, self._waiting = state.due, state.waiting
        self._majorant = penalty.magnitude(np.ones(self.parameters.size - loss.outputs))

    def step(self, columns: NDArray[np.intp], values: Floats, label: Floats, weight: float, offset: float) -> Floats:
        """Learn from one row; return its predictor before."""
        loss = self._loss
        eta = np.asarray(self.parameters[..., columns] @ values + offset)
        self._mean_batches += 1
        if weight > 0.0:
            point = eta[..., None]
            slope = weight * loss.slope(point, label)[..., 0]
            size = _unit_size(self._size[columns])
            scaled = values / size
            self._rows, self._norm = self._rows + weight, self._norm + weight * float(scaled @ scaled)
            self._slopes += float(np.sum(slope * slope)) / weight
            self._curvatures += weight * _curvature(loss, point, label)
            self._move(columns, size, scaled, np.multiply.outer(slope, scaled))
            self._due += weight
        self._waiting += 1
        if self._waiting >= self._interval:
            self.catch_up()
        if self._mean_batches >= self._mean.length:
            self._mean = self._mean._replace(moves=self._moves, batches=self._mean_batches).turned(self.parameters)
            self._moves, self._mean_batches = self._mean.moves, 0
        return eta

    def grow(self, columns: NDArray[np.intp], values: Floats) -> None:
        """Take in new largest sizes: a coefficient keeps what it says about the largest value so far."""
        known, sizes = self._size[columns], np.abs(values)
        larger = np.maximum(known, sizes)
        self.parameters[..., columns] *= np.where(known > 0.0, known / _unit_size(larger), 1.0)
        self._size[columns] = larger

    def _unit(self) -> float:
        """Return the length of a step of one coefficient, in units of the predictor."""
        newton = math.sqrt(self._slopes / self._rows) / max(self._curvatures / self._rows, 1e-12)
        return _RATE * newton * math.sqrt(self._rows / max(self._norm, 1e-300))

    def _move(self, columns: NDArray[np.intp], size: Floats, scaled: Floats, gradient: Floats) -> None:
        squares = self._squares[..., columns] + gradient * gradient
        self._squares[..., columns] = squares
        step = gradient * (-self._unit()) / np.sqrt(squares + _TINY)
        reach = self._loss.self_concordance * float(np.max(np.abs(step @ scaled)))
        if reach > 1.0:
            step /= reach
        step /= size
        self.parameters[..., columns] += step
        self._moves[..., columns] += (self._mean_batches - 1) * step

    def catch_up(self) -> None:
        """Step along the penalty for the rows since the last time, no further than is stable."""
        if self._due > 0.0:
            outputs = self._loss.outputs
            squares = self._squares[..., :-1]
            met = squares > 0.0
            weight = _unit_size(self._size[:-1]) ** 2 * np.sqrt(np.where(met, squares, 1.0))
            rate = np.ravel(np.where(met, self._unit() / weight, 0.0)) * self._due
            change = -rate * self._penalty.gradient(unpadded(self.parameters))
            moved = padded(change / (1.0 + rate * self._majorant), outputs)
            self.parameters += moved
            self._moves += max(self._mean_batches - 1, 0) * moved
        self._due, self._waiting = 0.0, 0

    def state(self) -> NormalisedState:
        return replace(
            self._state,
            parameters=self.parameters,
            mean=self._mean._replace(moves=self._moves, batches=self._mean_batches),
            squares=self._squares,
            size=self._size,
            rows=self._rows,
            norm=self._norm,
            slopes=self._slopes,
            curvatures=self._curvatures,
            due=self._due,
            waiting=self._waiting,
        )


def _unit_size(size: Floats) -> Floats:
    """Return sizes with one where nothing was seen yet."""
    return np.where(size > 0.0, size, 1.0)


def _curvature(loss: RowLoss, eta: Floats, label: Floats) -> float:
    """Return the second derivative of one row; of several outputs that along all of them at once."""
    if loss.outputs == 1:
        return float(loss.least_curvature(eta, label)[0])
    change = np.full(eta.shape, _SMALL / math.sqrt(loss.outputs))
    bend = loss.slope(eta + change, label) - loss.slope(eta - change, label)
    return max(float(np.sum(bend * change)) / (2.0 * _SMALL**2), 0.0)
