"""Per-chunk statistics of an objective: what `rows.total` adds up.

Each is a small frozen value, called with a chunk and the parameters. Arrays over rows have shape (m,), arrays over
coefficients (d,). `combine` names the ufunc that puts two chunks' fields together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, absolute, predictors
from batchlearn.kernels.sums import summed_predictors, symmetric, transposed_products, weighted_grams
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.passes import compiled_pass
from batchlearn.statistics.rowwise import (
    predictor,
    smallest_curvature,
    weighted_curvatures,
    weighted_loss,
    weighted_slope,
)


class Hessian(NamedTuple):
    """Weighted sums of the losses, gradients and Hessians, and the smallest weight times curvature of a row."""

    value: float
    gradient: Floats
    grams: Floats  # (contrasts, d, d): upper triangles of X' diag(weight c_p) X
    smallest: float


@dataclass(frozen=True)
class ValueTotal:
    """Weighted sum of the losses."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float]:
        """Return the chunk's total."""
        done = compiled_pass(self.loss, chunk, parameters, gradient=False)
        if done is not None:
            return (done.value,)
        eta = predictor(chunk, parameters)
        return (weighted_loss(self.loss, eta, chunk.label, chunk.weight),)


@dataclass(frozen=True)
class GradientTotal:
    """Weighted sums of the losses and of their gradients, (d,)."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float, Floats]:
        """Return the chunk's totals."""
        done = compiled_pass(self.loss, chunk, parameters)
        if done is not None and done.gradient is not None:
            return done.value, done.gradient
        eta = predictor(chunk, parameters)
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        value = weighted_loss(self.loss, eta, chunk.label, chunk.weight)
        return value, transposed_products(chunk.layout, chunk.block, slope)


@dataclass(frozen=True)
class ExtendedGradientTotal:
    """Weighted sum of the gradients of the losses, (d,), in long double; dense columns alone."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Any]:
        """Return the chunk's total."""
        block = chunk.block.dense.astype(np.longdouble)
        eta: Any = parameters.astype(np.longdouble) @ block + chunk.offset
        return (block @ weighted_slope(self.loss, eta, chunk.label, chunk.weight),)


@dataclass(frozen=True)
class HessianTotal:
    """Loss, gradient and Hessian in one reading."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Hessian:
        """Return the chunk's totals."""
        done = compiled_pass(self.loss, chunk, parameters, gram=True)
        if done is not None and done.gradient is not None and done.gram is not None:
            return Hessian(done.value, done.gradient, done.gram[None], done.smallest)
        eta = predictor(chunk, parameters)
        curvatures = weighted_curvatures(self.loss, eta, chunk.label, chunk.weight)
        grams = np.concatenate([weighted_grams(chunk.layout, chunk.block, some) for some in curvatures])
        if done is not None and done.gradient is not None:
            return Hessian(done.value, done.gradient, grams, done.smallest)
        slope = weighted_slope(self.loss, eta, chunk.label, chunk.weight)
        return Hessian(
            weighted_loss(self.loss, eta, chunk.label, chunk.weight),
            transposed_products(chunk.layout, chunk.block, slope),
            grams,
            smallest_curvature(self.loss, eta, chunk.label, chunk.weight),
        )


def assembled(loss: Loss, grams: Floats, weight: float) -> Floats:
    """Return sum_p z_p z_p' (x) gram_p / weight, (outputs d, outputs d), of Gram matrices by contrast, (p, d, d)."""
    if loss.outputs == 1:
        return symmetric(grams[0]) / weight
    contrasts, size = loss.contrasts, grams.shape[1]
    hessian = np.empty((loss.outputs * size, loss.outputs * size))
    # All blocks by one product: one at a time each would read every Gram matrix once more.
    first, second = np.tril_indices(loss.outputs)
    blocks = (contrasts[first] * contrasts[second]) @ grams.reshape(len(grams), -1)
    for a, b, found in zip(first, second, blocks, strict=True):
        block = symmetric(found.reshape(size, size))
        block /= weight
        hessian[a * size : (a + 1) * size, b * size : (b + 1) * size] = block
        hessian[b * size : (b + 1) * size, a * size : (a + 1) * size] = block
    return hessian


@dataclass(frozen=True)
class LineTotal:
    """Weighted sums of the losses at `lengths` along a direction (d,) from the parameters, one of each.

    And the largest change of a predictor per unit of it: one reading answers for all of them.
    """

    loss: Loss
    direction: Floats
    lengths: tuple[float, ...]
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats, float]:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        change = summed_predictors(chunk.layout, chunk.block, self.direction)
        change[..., chunk.weight == 0.0] = 0.0
        points = (eta + length * change for length in self.lengths)
        values = [weighted_loss(self.loss, point, chunk.label, chunk.weight) for point in points]
        return np.asarray(values), float(self.loss.reach(change).max(initial=0.0))


@dataclass(frozen=True)
class LabelTotal:
    """Weighted sums of the labels' indicators, (numbers,), and of the offsets: for the null model's start."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats, float]:  # noqa: ARG002 - every statistic is called alike
        """Return the chunk's total; the parameters do not matter."""
        return self.loss.indicators(chunk.label) @ chunk.weight, float(np.sum(chunk.weight * chunk.offset))


@dataclass(frozen=True)
class RecessionTotal:
    """Which way phi(t x'd, y) goes as t grows: a direction along which no row's loss rises in the end has no end.

    A logistic row rises with -x'd for a label of 1 and with x'd for one of 0; a row with a log link rises with x'd for
    a label of 0 and either way for one above, so that gamma rows, all above, have no such direction; a row of several
    classes rises where its own logit is not the one that gains most. Each is taken relative to sum_j |x_j d_j| of its
    own row, so that neither the scale of a column nor one huge row can hide another row's rise.
    """

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float, float]:
        """Return the chunk's largest rise and fall; the parameters are the direction."""
        size = self.loss.largest_reach(predictors(chunk.layout, absolute(chunk.block), np.abs(parameters)))
        moved = (chunk.weight > 0) & (size > 0.0)
        change = predictors(chunk.layout, chunk.block, parameters)[..., moved] / size[moved]
        rise = self.loss.rise(change, chunk.label[moved])
        return float(rise.max(initial=0.0)), float((-rise).max(initial=0.0))


@dataclass(frozen=True)
class WithinTotal:
    """The weight of the rows whose residual is within each of some sizes, (sizes,)."""

    sizes: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's totals."""
        order = np.searchsorted(self.sizes, np.abs(predictor(chunk, parameters) - chunk.label))
        counts = np.bincount(order, chunk.weight, len(self.sizes) + 1)
        return (np.cumsum(counts, dtype=np.float64)[:-1],)
