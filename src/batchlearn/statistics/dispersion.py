"""How labels spread around their means: as a multiple of what the loss says of it, or by the rows' own gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.sums import symmetric, weighted_grams
from batchlearn.objectives.factor import Factor
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.rowwise import predictor, weighted_slope


@dataclass(frozen=True)
class _PearsonTotal:
    """Weighted sums of squared residuals over their variance, slope^2 / E[curvature], and of curvatures."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float, float]:
        eta = predictor(chunk, parameters)
        slope, variance = self.loss.slope(eta, chunk.label), self.loss.expected_curvature(eta)
        curvature = float(chunk.weight @ self.loss.least_curvature(eta, chunk.label))
        return float(chunk.weight @ (slope**2 / np.maximum(variance, 1e-12))), curvature


def effective_coefficients(factor: Factor, penalty: Quadratic) -> float:
    """Return the coefficients that the labels decide: tr(H^-1 (H - penalty'')), H the factored Hessian.

    Between the number of free coefficients and the number of all (Hastie and Tibshirani 1990, section 3.5).
    """
    inverse = factor.inverse_hessian
    shrunk = float(np.diagonal(inverse) @ penalty.strengths)
    shrunk += sum(float(np.sum(inverse[part, part] * matrix)) for part, matrix in penalty.blocks)
    return max(len(inverse) - shrunk, 0.0)


def pearson_dispersion(loss: Loss, rows: Rows, parameters: Floats, freedom: float) -> float:
    """Return the Pearson estimate of the dispersion, reading every row once; one for classes.

    The variance of a class follows from its mean. `freedom` is the effective number of coefficients. (McCullagh and
    Nelder 1989, section 4.5.2)
    """
    if loss.of_classes:
        return 1.0
    room = max(rows.total_weight - freedom, min(rows.total_weight, 1.0))
    total, curvature = rows.total(_PearsonTotal(loss), parameters)
    if loss.corners is not None:
        # The mean square of the slopes over the mean curvature: cov = that times H^-1 / n (Huber 1981, section 7.6).
        return total / room * rows.total_weight / max(curvature, 1e-300)
    return total / room


@dataclass(frozen=True)
class _ScoreTotal:
    """X' diag(s_a^2) X of the weighted slopes s of each output, then X' diag((s_a + s_b)^2) X of each pair b < a."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        slopes = np.atleast_2d(weighted_slope(self.loss, predictor(chunk, parameters), chunk.label, chunk.weight))
        first, second = np.tril_indices(len(slopes), -1)
        sums = np.concatenate([slopes, slopes[first] + slopes[second]])
        return (weighted_grams(chunk.layout, chunk.block, sums**2),)


def mean_squared_scores(loss: Loss, rows: Rows, parameters: Floats) -> Floats:
    """Return the sum of the outer products of the rows' weighted gradients over the total weight, (d, d).

    Reads every row once.
    """
    (grams,) = rows.total(_ScoreTotal(loss), parameters)
    grams = grams / rows.total_weight
    outputs, size = loss.outputs, grams.shape[1]
    blocks = np.empty((outputs, size, outputs, size))
    for a in range(outputs):
        blocks[a, :, a] = symmetric(grams[a])
    for (a, b), both in zip(np.transpose(np.tril_indices(outputs, -1)), grams[outputs:], strict=True):
        # Twice what crosses is the square of the sum less both squares.
        blocks[a, :, b] = blocks[b, :, a] = 0.5 * (symmetric(both) - blocks[a, :, a] - blocks[b, :, b])
    return blocks.reshape(outputs * size, outputs * size)
