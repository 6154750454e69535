"""The loop of stochastic gradient descent over batches of rows: a stretch of them in, the moved parameters out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from batchlearn.kernels.design import Floats
from batchlearn.kernels.single_rows import (
    LabelledRows,
    RowLoss,
    RowPenalty,
    add_products,
    batch_predictor,
    padded,
    unpadded,
)
from batchlearn.kernels.window_mean import WindowMean


def follow_batches(
    loss: RowLoss,
    penalty: RowPenalty,
    rows: LabelledRows,
    batches: Iterable[tuple[int, int, float, float]],
    interval: int,
    parameters: Floats,
    mean: WindowMean,
) -> tuple[Floats, WindowMean]:
    """Step along the gradient of each batch; return the parameters, padded, and their mean after the last.

    A batch is its first row, the one after its last, the weight that it stands for and the rate of its step. The
    penalty is stepped along after `interval` batches, and after the last.
    """
    parameters, moves = parameters.copy(), mean.moves.copy()
    majorant = penalty.magnitude(np.ones(parameters.size - loss.outputs))
    due, waiting = 0.0, 0
    for start, stop, weight, rate in batches:
        own = slice(start, stop)
        eta = batch_predictor(rows.rows, start, stop, parameters) + rows.offset[own]
        slope = rows.weight[own] * loss.slope(eta, rows.label[own])
        slope *= -rate / weight
        add_products(rows.rows, start, stop, parameters, slope)
        add_products(rows.rows, start, stop, moves, mean.batches * slope)
        due, waiting = due + rate, waiting + 1
        if waiting >= interval:
            moved = _along_penalty(penalty, parameters, due, majorant, loss.outputs)
            parameters += moved
            moves += mean.batches * moved
            due, waiting = 0.0, 0
        mean = mean._replace(batches=mean.batches + 1)
        if mean.batches >= mean.length:
            mean = mean._replace(moves=moves).turned(parameters)
            moves = mean.moves
    moved = _along_penalty(penalty, parameters, due, majorant, loss.outputs)
    parameters += moved
    moves += mean.batches * moved
    return parameters, mean._replace(moves=moves)


def _along_penalty(penalty: RowPenalty, parameters: Floats, due: float, majorant: Floats, outputs: int) -> Floats:
    """Return the step along the penalty for the rates that are due, padded: no further than is stable at any rate."""
    return padded(-due * penalty.gradient(unpadded(parameters)) / (1.0 + due * majorant), outputs)
