"""The loop of variance-reduced Newton steps over batches of rows: `solvers.variance_reduced` says what they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

# The weight of the mean's newest point after t batches is this over t (Shamir and Zhang 2013, polynomial decay).
_DECAY = 3.0


class Averaged(NamedTuple):
    """A point (d,) and the mean of those that led to it, the newest with the largest weights."""

    parameters: Floats
    mean: Floats
    batches: int  # in the mean


def follow_batches(
    loss: RowLoss,
    penalty: RowPenalty,
    rows: LabelledRows,
    batches: Iterable[tuple[int, int, float]],
    metric: tuple[NDArray[np.float32], float],
    anchor: tuple[Floats, Floats] | None,
    point: Averaged,
) -> Averaged:
    """Take a step for each batch from a point; return where they lead.

    A batch is its first row, the one after its last, and the weight that it stands for. `metric` is an inverse Hessian
    (d, d) and the length of a step; `anchor` a point (d,) and the gradient of all rows there.
    """
    (inverse, length), (parameters, mean, count) = metric, point
    if anchor is not None:
        eta = batch_predictor(rows.rows, 0, len(rows.label), padded(anchor[0], loss.outputs)) + rows.offset
        still = rows.weight * loss.slope(eta, rows.label)
    for start, stop, weight in batches:
        own = slice(start, stop)
        # 1. The gradient of the batch; with an anchor, without the batch's own noise.
        eta = batch_predictor(rows.rows, start, stop, padded(parameters, loss.outputs)) + rows.offset[own]
        slope = rows.weight[own] * loss.slope(eta, rows.label[own])
        total = padded(np.zeros_like(parameters), loss.outputs)
        if anchor is None:
            add_products(rows.rows, start, stop, total, slope / weight)
            gradient = unpadded(total) + penalty.gradient(parameters)
        else:
            add_products(rows.rows, start, stop, total, (slope - still[..., own]) / weight)
            gradient = unpadded(total) + penalty.gradient(parameters - anchor[0]) + anchor[1]
        # 2. The direction, in single precision: it needs no more digits. Further than a reach of one, curvature here
        # says nothing about curvature there.
        size = float(np.max(np.abs(gradient))) or 1.0
        direction = -length * (np.asarray(inverse @ (gradient / size).astype(np.float32), dtype=np.float64) * size)
        change = batch_predictor(rows.rows, start, stop, padded(direction, loss.outputs))
        reach = loss.self_concordance * float(np.max(np.abs(change)))
        if reach > 1.0:
            direction, change = direction / reach, change / reach
        # 3. No further than the lowest point of the batch along it.
        bend = rows.weight[own] * loss.slope(eta + change, rows.label[own]) - slope
        fall = -float(gradient @ direction)
        curvature = float(np.sum(bend * change)) / weight + float(direction @ penalty.gradient(direction))
        if curvature > fall:
            direction *= max(fall, 0.0) / curvature
        # 4. The point and the mean.
        parameters = parameters + direction
        count += 1
        mean = mean + min(1.0, _DECAY / (count + _DECAY - 1.0)) * (parameters - mean)
    return Averaged(parameters, mean, count)
