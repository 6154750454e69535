"""What a row to come gains by a training that new rows went into: each day of them judged as if it had no part in it.

Rows of one day share what happened on that day, so a whole day is left out at a time: one Newton step at the best known
optimum of all rows, with the best known Hessian, moves the parameters to about those without the day (Rad and Maleki
2020 for a single row). Two days left out together say what a day adds to another, which serves twice: a training with
one day less is made good by what one day more adds, and the interval counts that the days that teach are the days that
judge (the second-order term of a U-statistic, Hoeffding 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats, linear_predictor
from batchlearn.kernels.sums import transposed_product
from batchlearn.objectives.factor import NotPositiveDefinite, step_factor
from batchlearn.statistics.rowwise import predictor, weighted_slope
from batchlearn.updating.update import BestKnown, Update

# With fewer days, or other clusters of rows, their spread is hardly known.
FEWEST_CLUSTERS = 8
# Where so few carry nearly all rows, the others say little of how these would differ.
_LEAST_FREEDOM = 3.0
# More days than this are left out some neighbours at a time: it costs less, and days may resemble the next.
_MOST_BLOCKS = 20
_LEVEL = 0.95
# Conjugate gradients for a Newton step that is an approximation itself.
_MOST_STEPS, _SETTLED = 30, 1e-2


@dataclass(frozen=True)
class LaterGain:
    """Mean gain of a row to come, if it is like the new ones, with its 95 % interval over clusters of the new rows.

    A cluster is what may share a shock: a "day" where dates are known, a "time" where times are numbers, else a "row".
    The ends are None where there are fewer than 8 of like size.
    """

    value: float
    low: float | None
    high: float | None
    clusters: int
    cluster: str


def later_gain(update: Update, optimum: BestKnown, times: NDArray[np.generic] | None) -> tuple[LaterGain | None, int]:
    """Estimate the gain of rows like the new ones; return it, and how often the new rows were read.

    `times` (rows,) are dates or numbers, and each row is a cluster of its own without them. There is no gain where no
    row came, where the Hessian has no factor, and where a loss overflows.
    """
    rows = update.added
    if rows is None:
        return None, 0
    cluster = "row" if times is None else "day" if times.dtype.kind == "M" else "time"
    clusters = np.arange(len(rows)) if times is None else np.unique(times, return_inverse=True)[1]
    count = int(clusters.max()) + 1
    # Of a single day only its own rows can be left out.
    blocks = _blocks(rows, clusters if count > 1 else np.arange(len(rows)))
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            steps, readings = _steps_without(blocks, update, optimum)
        except NotPositiveDefinite:
            return None, 0
        weight, alone, pairs = _gains(blocks, update, optimum.parameters, steps)
    readings += 1
    if not np.all(np.isfinite(alone)) or not np.all(np.isfinite(pairs)):
        return None, readings
    value, error, freedom = _mean(weight, alone, pairs)
    if min(count, len(blocks)) < FEWEST_CLUSTERS or freedom < _LEAST_FREEDOM:
        return LaterGain(value, None, None, count, cluster), readings
    reach = float(scipy.special.stdtrit(freedom, 0.5 + 0.5 * _LEVEL)) * error
    return LaterGain(value, value - reach, value + reach, count, cluster), readings


def _blocks(rows: Rows, clusters: NDArray[np.intp]) -> list[Rows]:
    """Return the rows in at most 20 parts of whole clusters, neighbours together."""
    counts = np.bincount(clusters)
    block = np.arange(len(counts))
    if len(counts) > _MOST_BLOCKS:
        block = (np.cumsum(counts) - counts) * _MOST_BLOCKS // len(rows)
    own = block[clusters]
    numbers = [np.flatnonzero(own == one) for one in np.unique(block)]
    return [next(rows.stretches(each, len(each))) for each in numbers]


def _steps_without(blocks: list[Rows], update: Update, optimum: BestKnown) -> tuple[Floats, int]:
    """Return the Newton step from the optimum of all rows to that without each block, (d, blocks), and readings.

    (H - H_k) s_k = g_k with the gradient and the Hessian of block k, by conjugate gradients preconditioned by H, for
    all blocks at once.
    """
    loss, start = update.objective.loss, update.kept.parameters
    hessian, factor = optimum.hessian, step_factor(optimum.hessian)
    slopes, curvatures = list[Floats](), list[Floats]()
    left = np.empty((len(hessian), len(blocks)))
    for k, chunk in enumerate(block.together() for block in blocks):
        eta = predictor(chunk, optimum.parameters)
        slopes.append(weighted_slope(loss, eta, chunk.label, chunk.weight))
        # No more than what the Hessian of all rows holds of them, be it of w0 or of the optimum.
        before = loss.least_curvature(predictor(chunk, start), chunk.label)
        curvatures.append(chunk.weight * np.minimum(loss.least_curvature(eta, chunk.label), before))
        left[:, k] = transposed_product(chunk.layout, chunk.block, slopes[-1])
    steps, turned = np.zeros_like(left), factor.solve(left)
    direction, size = turned.copy(), np.sum(left * turned, axis=0)
    enough = _SETTLED**2 * size
    readings = 1
    while readings <= _MOST_STEPS and np.any(size > enough):
        readings += 1
        bent = hessian @ direction
        for k, chunk in enumerate(block.together() for block in blocks):
            along = linear_predictor(chunk.layout, chunk.block, direction[:, k])
            bent[:, k] -= transposed_product(chunk.layout, chunk.block, curvatures[k] * along)
        curved = np.sum(direction * bent, axis=0)
        going = (size > enough) & (curved > 0.0)
        length = np.where(going, size / np.where(going, curved, 1.0), 0.0)
        steps += length * direction
        left -= length * bent
        turned = factor.solve(left)
        size, before = np.sum(left * turned, axis=0), size
        direction = turned + np.where(going, size / np.where(before > 0.0, before, 1.0), 0.0) * direction
    return steps, readings


def _gains(blocks: list[Rows], update: Update, parameters: Floats, steps: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each block's weight, what its rows gain by a training without it, and what by each other block.

    Sums over its rows, (blocks,) and (blocks, blocks): what one block adds for another is the other's slope, at the
    parameters without it, along the step; what it adds for itself is left out.
    """
    loss, count = update.objective.loss, len(blocks)
    weight, alone, pairs = np.empty(count), np.empty(count), np.empty((count, count))
    for k, chunk in enumerate(block.together() for block in blocks):
        own = predictor(chunk, parameters + steps[:, k])
        weight[k] = chunk.weight.sum()
        before = loss.value(predictor(chunk, update.kept.parameters), chunk.label)
        alone[k] = chunk.weight @ (before - loss.value(own, chunk.label))
        slope = weighted_slope(loss, own, chunk.label, chunk.weight)
        pairs[k] = transposed_product(chunk.layout, chunk.block, slope) @ steps
    np.fill_diagonal(pairs, 0.0)
    return weight, alone, pairs


def _mean(weight: Floats, alone: Floats, pairs: Floats) -> tuple[float, float, float]:
    """Return the mean gain a row, its standard error, and degrees of freedom: fewer where blocks are uneven.

    With e_kh what is left of the pairs without the means of rows and columns, the variance of sum_k sum_h e_kh is
    sum_k sum_h e_kh (e_kh + e_hk): the spread of the blocks' gains holds the first half of it, the second is added.
    """
    total, count = float(weight.sum()), len(weight)
    if count == 1:
        return float(alone[0]) / total, math.inf, 0.0
    grown = total / (total - weight)
    gains = alone + (grown - 1.0) * pairs.sum(axis=1)
    value = float(gains.sum()) / total
    square = float(np.sum((gains - value * weight) ** 2)) * count / (count - 1)
    if count >= FEWEST_CLUSTERS:
        each = grown[:, None] * pairs
        rest = each - (each.sum(axis=1, keepdims=True) + each.sum(axis=0)) / (count - 2)
        rest += each.sum() / ((count - 1) * (count - 2))
        np.fill_diagonal(rest, 0.0)
        square += max(float(np.sum(rest * rest.T)), 0.0) * (count - 1) / (count - 3)
    return value, math.sqrt(square) / total, total**2 / float(weight @ weight) - 1.0
