"""The compiled loops over single rows and batches: the same as their twins in NumPy, but for rounding.

Twins are `online.diagonal.follow_rows`, `online.newton.follow_rows`, `stochastic.follow_batches` and
`variance_reduced.follow_batches`. A stretch of rows is one call, during which other threads run; rows are read as they
are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from batchlearn.kernels import native
from batchlearn.kernels.design import Block, Columns, Floats, Layout
from batchlearn.kernels.online.diagonal import DiagonalState, DiagonalSums, penalty_interval
from batchlearn.kernels.variance_reduced import Averaged
from batchlearn.kernels.window_mean import WindowMean


class Compiled(NamedTuple):
    """A stretch as compiled loops take it."""

    rows: Any
    shown: Any  # the rows that are predicted where they are others, else None
    length: int
    terms: int  # entries of a row besides the sparse ones
    loss: int  # as the kernels number them
    parameter: float  # the loss's own number, where it has one


class Strengths(NamedTuple):
    """A quadratic penalty: strengths (d,), and symmetric blocks on the diagonal."""

    strengths: Floats
    blocks: Sequence[tuple[slice, Floats]]


class Turns(NamedTuple):
    """The penalty of coefficients (d,), paid in turn after each block: up to the weight so far, some at a time."""

    strengths: Floats
    paid: Floats
    weight: float
    turn: int
    in_turn: int
    least: float  # share of its coefficient that a payment has to be


def learned_rows(
    layout: Layout,
    block: Block,
    label: Floats,
    weight: Floats | None,
    offset: Floats | None,
) -> Any:
    """Return rows as compiled loops read them; None where their NumPy twins serve."""
    module = native.compiled()
    if module is None:
        return None
    given = block.given
    if not isinstance(given, Columns):
        given = Columns(given, np.zeros(layout.lead), np.ones(layout.lead), False)
    stored = given.stored if given.stored.dtype in (np.float32, np.float64) else given.stored.astype(np.float64)
    levels = np.array(layout.groups, dtype=np.int64)
    rows = module.LearnedRows(
        stored, given.shift, given.scale, given.intercept, block.codes, levels, label, weight, offset
    )
    sparse = block.sparse_columns
    if sparse is not None:
        rows.set_sparse(*sparse.arrays, layout.sparse, sparse.factor)
    return rows


def follow_diagonal(compiled: Compiled, penalty: Strengths, state: DiagonalState) -> tuple[DiagonalState, Floats]:
    """Learn rows one by one, as `online.diagonal.follow_rows`."""
    cells, kept = _cells(len(state.count)), state.parameters.base
    if kept is not None and kept is state.curvature.base is state.square.base is state.count.base:
        cells[:] = as_strided(state.parameters, cells.shape, cells.strides)  # they come from here
    else:
        for place, numbers in enumerate((state.parameters, state.curvature, state.square, state.count)):
            cells[:, place] = numbers
    sums, predictors = np.array(state.sums), np.empty(compiled.length)
    native.compiled().follow_diagonal(
        compiled.rows,
        compiled.shown,
        compiled.loss,
        compiled.parameter,
        _penalised(penalty),
        cells,
        sums,
        penalty_interval(compiled.terms, len(state.count)),
        predictors,
    )
    after = replace(
        state,
        parameters=cells[:, 0],
        curvature=cells[:, 1],
        square=cells[:, 2],
        count=cells[:, 3],
        sums=DiagonalSums(*sums.tolist()),
    )
    return after, predictors


def follow_newton(
    compiled: Compiled, parameters: Floats, inverse: Floats, turns: Turns | None = None, block: int = 32
) -> tuple[Floats, Floats, Floats, Turns | None]:
    """Learn rows one by one, as `online.newton.follow_rows`; after each block of rows a turn of the penalty is paid."""
    parameters, inverse, predictors = parameters.copy(), np.array(inverse, order="C"), np.empty(compiled.length)
    strengths, paid = (None, None) if turns is None else (turns.strengths, turns.paid.copy())
    weight, turn = (0.0, 0) if turns is None else (turns.weight, turns.turn)
    weights, numbers = np.array([weight]), np.array([turn], dtype=np.int64)
    native.compiled().follow_newton(
        compiled.rows,
        compiled.shown,
        compiled.loss,
        compiled.parameter,
        parameters,
        inverse,
        strengths,
        paid,
        weights,
        numbers,
        block,
        1 if turns is None else turns.in_turn,
        0.0 if turns is None else turns.least,
        predictors,
    )
    if turns is not None and paid is not None:
        turns = turns._replace(paid=paid, weight=float(weights[0]), turn=int(numbers[0]))
    return parameters, inverse, predictors, turns


def follow_gradients(
    compiled: Compiled,
    penalty: Strengths,
    majorant: Floats,
    batches: Sequence[tuple[int, int, float, float]],
    interval: int,
    parameters: Floats,
    mean: WindowMean,
) -> tuple[Floats, WindowMean]:
    """Step along the gradient of each batch, as `stochastic.follow_batches`."""
    module, penalised = native.compiled(), _penalised(penalty)
    parameters, moves, sums = parameters.copy(), mean.moves.copy(), np.array([float(mean.batches), 0.0, 0.0])
    starts, stops, weights, rates = _columns(batches, 4)

    def go(part: slice, last: bool) -> None:
        module.follow_gradients(
            compiled.rows,
            compiled.loss,
            compiled.parameter,
            penalised,
            starts[part],
            stops[part],
            weights[part],
            rates[part],
            interval,
            majorant,
            parameters,
            moves,
            sums,
            last,
        )

    first = 0
    while first < len(batches):
        part = slice(first, min(first + max(mean.length - int(sums[0]), 1), len(batches)))
        go(part, last=False)
        if sums[0] >= mean.length:
            mean = mean._replace(moves=moves, batches=int(sums[0])).turned(parameters)
            moves, sums[0] = mean.moves.copy(), float(mean.batches)
        first = part.stop
    go(slice(0, 0), last=True)
    return parameters, mean._replace(moves=moves, batches=int(sums[0]))


def follow_reduced(
    compiled: Compiled,
    penalty: Strengths,
    batches: Sequence[tuple[int, int, float]],
    metric: tuple[NDArray[np.float32], float],
    anchor: tuple[Floats, Floats] | None,
    point: Averaged,
) -> Averaged:
    """Take a variance-reduced Newton step for each batch, as `variance_reduced.follow_batches`."""
    parameters, mean, count = point.parameters.copy(), point.mean.copy(), np.array([point.batches], dtype=np.int64)
    starts, stops, weights = _columns(batches, 3)
    still, gradient = (None, None) if anchor is None else anchor
    native.compiled().follow_reduced(
        compiled.rows,
        compiled.loss,
        compiled.parameter,
        _penalised(penalty),
        starts,
        stops,
        weights,
        np.ascontiguousarray(metric[0]),
        metric[1],
        still,
        gradient,
        parameters,
        mean,
        count,
    )
    return Averaged(parameters, mean, int(count[0]))


def _cells(coefficients: int) -> Floats:
    """Return four numbers a coefficient that never lie in two lines of the cache: those have 64 bytes."""
    numbers = np.empty(4 * coefficients + 8)
    first = -numbers.__array_interface__["data"][0] % 64 // 8
    return numbers[first : first + 4 * coefficients].reshape(-1, 4)


def _columns(batches: Sequence[tuple[Any, ...]], width: int) -> list[NDArray[Any]]:
    """Return first rows, ends, weights and more of batches, an array each."""
    columns = list(zip(*batches, strict=True)) or [()] * width
    return [np.array(column, dtype=np.int64 if k < 2 else np.float64) for k, column in enumerate(columns)]


def _penalised(penalty: Strengths) -> Any:
    starts, stops = (np.array([getattr(part, end) for part, _ in penalty.blocks], dtype=np.int64) for end in _ENDS)
    numbers = np.concatenate([np.empty(0), *(np.ravel(matrix) for _, matrix in penalty.blocks)])
    return native.compiled().Penalised(np.ascontiguousarray(penalty.strengths), starts, stops, numbers)


_ENDS = ("start", "stop")
