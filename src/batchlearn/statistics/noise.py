"""Gradient noise: how much the gradients of single rows differ, and the batch size that this makes worth while.

With Sigma the covariance of the gradients of rows drawn at random and G the gradient over all of them, a step along
the gradient of B rows gains 1 / (1 + B_crit / B) of what a step along G would, where B_crit = tr(Sigma) / ||G||^2
(McCandlish et al. 2018, section 2.2, their simple noise scale). Below B_crit twice the rows make nearly twice the
progress; above it they are mostly wasted. For linear models both terms are sums over rows: the gradient of row i is its
slope times the row, so ||g_i||^2 = slope_i^2 ||x_i||^2, and one reading gives them exactly.

The norms depend on the metric. A solver that multiplies gradients by M takes gradient steps in coordinates where its
norm is v' M v: plain steps have M = I in the parameters' own metric, Newton-like ones M = H^-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats, linear_predictor, quadratic_form, squared
from batchlearn.kernels.sums import transposed_products
from batchlearn.objectives.factor import Factor
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.rowwise import predictor, weighted_slope


@dataclass(frozen=True)
class Noise:
    """The gradient noise at some parameters, in one metric.

    Rows are drawn with equal chances among those of weight above 0 and their gradients multiplied by weight / mean
    weight, as mini-batches do it. trace: tr(M Sigma). gradient_square: G' M G, penalty included.
    """

    trace: float
    gradient_square: float
    rows: int

    @property
    def critical_batch(self) -> float:
        """Rows at which noise and gradient are of one size: infinite where the gradient is zero."""
        if self.gradient_square > 0.0:
            with np.errstate(over="ignore"):
                return float(np.float64(self.trace) / self.gradient_square)
        return float("inf") if self.trace > 0.0 else 0.0

    @property
    def sampling_loss(self) -> float:
        """What having no more than these rows costs on average, in loss: tr(H^-1 Sigma) / (2 rows).

        It means this in the metric of the Hessian at the optimum (Takeuchi 1976; White 1982): the yardstick for an
        excess loss that training leaves.
        """
        return 0.5 * self.trace / max(self.rows, 1)


@dataclass(frozen=True)
class NoiseTotal:
    """What the noise at several points is made of, in one metric M: its diagonal, (d,), or the matrix, (d, d).

    Called with parameters (points, d), d of all outputs: what a row's own form in the metric costs is paid once. For
    each point the sum of the rows' weighted squared gradients, (points,), and of their gradients, (points, d); and the
    rows counted.
    """

    loss: Loss
    metric: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats, Floats, int]:
        """Return the chunk's totals."""
        slopes = [weighted_slope(self.loss, predictor(chunk, point), chunk.label, chunk.weight) for point in parameters]
        square = _row_squares(chunk, np.stack([np.atleast_2d(slope) for slope in slopes]), self.metric).sum(axis=1)
        gradient = np.stack([transposed_products(chunk.layout, chunk.block, slope) for slope in slopes])
        return square, gradient, int(np.count_nonzero(chunk.weight))


def _row_squares(chunk: Chunk, slopes: Floats, metric: Floats) -> Floats:
    """Return g' M g of each row's gradient g at each point, (points, m).

    The blocks of g are the outputs' slopes, (points, outputs, m), times x.
    """
    layout, size = chunk.layout, chunk.layout.size
    points, outputs, count = slopes.shape
    total = np.zeros((points, count))
    if metric.ndim == 1:
        squares = squared(chunk.block)
        for a, part in enumerate(metric.reshape(-1, size)):
            total += slopes[:, a] ** 2 * linear_predictor(layout, squares, part)
        return total
    blocks = metric.reshape(outputs, size, outputs, size)
    for a in range(outputs):
        total += slopes[:, a] ** 2 * quadratic_form(layout, chunk.block, blocks[a, :, a])
        for b in range(a):
            # Both off-diagonal blocks at once: x' (A + A') x, because a quadratic form asks for a symmetric matrix.
            cross = quadratic_form(layout, chunk.block, blocks[a, :, b] + blocks[a, :, b].T)
            total += slopes[:, a] * slopes[:, b] * cross
    return total


def gradient_noise(
    objective: Objective, rows: Rows, points: Sequence[Floats], factor: Factor | None = None
) -> tuple[Noise, ...]:
    """Return the gradient noise at each of the points, parameters (d,), reading every row once.

    In the metric of the Hessian whose factor is given; in the parameters' own metric where none is.
    """
    metric = np.ones(len(points[0])) if factor is None else factor.inverse_hessian
    squares, gradients, counted = rows.total(NoiseTotal(objective.loss, metric), np.stack(points))
    found = []
    for point, square, gradient in zip(points, squares, gradients, strict=True):
        mean = gradient / rows.total_weight
        # A row of weight v has v / mean weight times its gradient: the mean of these over rows is the weighted mean.
        trace = max(float(square) * counted / rows.total_weight**2 - _square(metric, mean), 0.0)
        found.append(Noise(trace, _square(metric, mean + objective.penalty.gradient(point)), int(counted)))
    return tuple(found)


def _square(metric: Floats, vector: Floats) -> float:
    return float(vector @ (metric * vector if metric.ndim == 1 else metric @ vector))
