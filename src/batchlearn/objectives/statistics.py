"""Per-chunk statistics of an objective: what `rows.total` adds up.

Each is a small frozen value, called with a chunk and the parameters. Arrays over rows have shape (m,), arrays over
coefficients (d,). `combine` names the ufunc that puts two chunks' fields together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, absolute, predictors, squared
from batchlearn.kernels.rounding import UNDERFLOW, UNIT_ROUNDOFF, accumulated, predictor_error
from batchlearn.kernels.sums import summed_predictors, symmetric, transposed_products, weighted_grams, with_absolute
from batchlearn.models.links import returned_distance
from batchlearn.objectives.losses import Loss

# Contrasts whose curvatures are in memory together.
_AT_ONCE = 32


def predictor(chunk: Chunk, parameters: Floats) -> Floats:
    """Return the linear predictor with the offset, shape (m,); (outputs, m) where parameters are of several outputs.

    Zero for a row without weight: it has no say, and must not overflow.
    """
    eta = summed_predictors(chunk.layout, chunk.block, parameters) + chunk.offset
    eta[..., chunk.weight == 0.0] = 0.0
    return eta


def predictor_sizes(chunk: Chunk, parameters: Floats) -> Floats:
    """Return |X| |w| + |offset|, as `predictor`: what its rounding errors are proportional to."""
    sizes = summed_predictors(chunk.layout, absolute(chunk.block), np.abs(parameters)) + np.abs(chunk.offset)
    sizes[..., chunk.weight == 0.0] = 0.0
    return sizes


class Value(NamedTuple):
    """Weighted sum of the losses."""

    value: float


class Gradient(NamedTuple):
    """Weighted sums of the losses and of their gradients."""

    value: float
    gradient: Floats


class Hessian(NamedTuple):
    """Weighted sums of the losses, gradients and Hessians, and the smallest weight times curvature of a row."""

    value: float
    gradient: Floats
    grams: Floats  # (contrasts, d, d): upper triangles of X' diag(weight c_p) X
    smallest: float


@dataclass(frozen=True)
class ValueTotal:
    """The loss alone."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Value:
        """Return the chunk's total."""
        eta = predictor(chunk, parameters)
        return Value(float(chunk.weight @ self.loss.value(eta, chunk.label)))


@dataclass(frozen=True)
class GradientTotal:
    """Loss and gradient in one reading."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Gradient:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        slope = chunk.weight * self.loss.slope(eta, chunk.label)
        value = float(chunk.weight @ self.loss.value(eta, chunk.label))
        return Gradient(value, transposed_products(chunk.layout, chunk.block, slope))


@dataclass(frozen=True)
class HessianTotal:
    """Loss, gradient and Hessian in one reading."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Hessian:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        slope = chunk.weight * self.loss.slope(eta, chunk.label)
        curvatures = _some_at_once(self.loss.curvatures(eta, chunk.label), chunk.weight)
        return Hessian(
            float(chunk.weight @ self.loss.value(eta, chunk.label)),
            transposed_products(chunk.layout, chunk.block, slope),
            np.concatenate([weighted_grams(chunk.layout, chunk.block, some) for some in curvatures]),
            _smallest(chunk, self.loss.least_curvature(eta, chunk.label)),
        )


def _some_at_once(curvatures: Iterator[Floats], weight: Floats) -> Iterator[Floats]:
    """Yield weight times curvature of some contrasts at a time, (some, m): pairs of many classes are very many."""
    while some := list(islice(curvatures, _AT_ONCE)):
        yield weight * np.stack(some)


def assembled(loss: Loss, grams: Floats) -> Floats:
    """Return sum_p z_p z_p' (x) gram_p, (outputs d, outputs d), from the Gram matrix of each contrast, (p, d, d)."""
    if loss.outputs == 1:
        return symmetric(grams[0])
    contrasts, size = loss.contrasts, grams.shape[1]
    hessian = np.empty((loss.outputs * size, loss.outputs * size))
    for a in range(loss.outputs):
        for b in range(a + 1):
            block = symmetric(np.tensordot(contrasts[a] * contrasts[b], grams, axes=1))
            hessian[a * size : (a + 1) * size, b * size : (b + 1) * size] = block
            hessian[b * size : (b + 1) * size, a * size : (a + 1) * size] = block
    return hessian


class GradientRounding(NamedTuple):
    """How wrong a computed gradient can be, and the curvature of a row beside it."""

    error: Floats  # (parameters,): sum of the possible error of each row's contribution
    growth: float  # the largest possible error of the logarithm of a row's curvature


def gradient_rounding(
    loss: Loss, chunk: Chunk, length: int, eta: Floats, slope: Floats, error: Floats
) -> GradientRounding:
    """Bound the error of the gradient's total: of the inner products, of the slopes, and of the summation.

    Higham 2002, section 3.1, for inner products and sums in any order. `slope` is the loss's at the predictors eta,
    `error` what those can be off by (both as eta); `length` is the number of additions a total can go through: the
    rows of the longest chunk and the number of chunks.
    """
    reach = loss.largest_reach(error)
    growth = loss.self_concordance * reach  # of the logarithm of the curvature
    own = 8.0 * UNIT_ROUNDOFF * chunk.weight * loss.slope_magnitude(eta, chunk.label)
    # Twelve more operations than additions: entries, weights, the division by their sum, the penalty.
    summed = accumulated(length + 12) * np.abs(chunk.weight * slope)
    row = chunk.weight * loss.slope_change(eta, chunk.label, reach) + own + summed + UNDERFLOW
    products = transposed_products(chunk.layout, absolute(chunk.block), row)
    return GradientRounding(products, float(growth.max(initial=0.0)))


class Rounding(NamedTuple):
    """How wrong a computed gradient can be, and the curvature the bound for many coefficients needs."""

    error: Floats  # (parameters,), and the next: as in `GradientRounding`
    growth: float
    curvature: Floats  # (contrasts,): sum of weight times curvature
    centre: Floats  # (contrasts, d): sum of weight times curvature times the row
    magnitude: Floats  # (contrasts, d): the same of the absolute row
    smallest: float  # the smallest weight times curvature of a row


@dataclass(frozen=True)
class RoundingTotal:
    """What `gradient_rounding` bounds, and the curvature, in one reading."""

    loss: Loss
    length: int
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.maximum, np.add, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Rounding:
        """Return the chunk's totals."""
        layout, eta = chunk.layout, predictor(chunk, parameters)
        error = predictor_error(layout, self.loss.outputs, predictor_sizes(chunk, parameters))
        sums, centres, sizes = list[Floats](), list[Floats](), list[Floats]()
        for some in _some_at_once(self.loss.curvatures(eta, chunk.label), chunk.weight):
            sums.append(some.sum(axis=1))
            centres.append(transposed_products(layout, chunk.block, some).reshape(len(some), -1))
            sizes.append(with_absolute(layout, chunk.block, centres[-1], some))
        return Rounding(
            *gradient_rounding(self.loss, chunk, self.length, eta, self.loss.slope(eta, chunk.label), error),
            np.concatenate(sums),
            np.concatenate(centres),
            np.concatenate(sizes),
            _smallest(chunk, self.loss.least_curvature(eta, chunk.label)),
        )


def _smallest(chunk: Chunk, curvature: Floats) -> float:
    """Return the smallest weight times curvature (m,) of a row that counts."""
    counted = chunk.weight > 0
    return float((chunk.weight * curvature)[counted].min()) if counted.any() else np.inf


class Returned(NamedTuple):
    """What rounding alone can do to a row at most."""

    error: float  # to its predictor, of classes to the range of its logits
    response: float  # to its response


@dataclass(frozen=True)
class ReturnedTotal:
    """What `rounding.predictor_error` bounds, over all rows; `carried` as in `LeverageTotal`."""

    loss: Loss
    carried: float
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Returned:
        """Return the chunk's largest."""
        error = predictor_error(chunk.layout, self.loss.outputs, predictor_sizes(chunk, parameters)) + self.carried
        eta, counted = predictor(chunk, parameters), chunk.weight > 0.0
        distance = returned_distance(self.loss.name, eta, np.zeros(len(chunk.label)), error)
        reach = self.loss.largest_reach(error)
        return Returned(float(reach[counted].max(initial=0.0)), float(distance[counted].max(initial=0.0)))


class Line(NamedTuple):
    """Weighted sums of the losses at points along a line, and the largest change of a predictor per unit of it."""

    values: Floats  # (lengths,)
    reach: float


@dataclass(frozen=True)
class LineTotal:
    """The loss at `lengths` along a direction (d,) from the parameters: one reading answers for all of them."""

    loss: Loss
    direction: Floats
    lengths: tuple[float, ...]
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Line:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        change = summed_predictors(chunk.layout, chunk.block, self.direction)
        change[..., chunk.weight == 0.0] = 0.0
        values = [chunk.weight @ self.loss.value(eta + length * change, chunk.label) for length in self.lengths]
        return Line(np.asarray(values), float(self.loss.reach(change).max(initial=0.0)))


class Label(NamedTuple):
    """Weighted sums of the labels' indicators, (numbers,), and of the offsets."""

    label: Floats
    offset: float


@dataclass(frozen=True)
class LabelTotal:
    """The labels and the offsets, for the null model's start."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Label:  # noqa: ARG002 - every statistic is called alike
        """Return the chunk's total; the parameters do not matter."""
        return Label(self.loss.indicators(chunk.label) @ chunk.weight, float(np.sum(chunk.weight * chunk.offset)))


def curvature_diagonal(loss: Loss, eta: Floats, label: Floats) -> Floats:
    """Return each row's second derivative with respect to each of its predictors alone, (outputs, m)."""
    diagonal = np.zeros((loss.outputs, eta.shape[-1]))
    for contrast, curvature in zip(loss.contrasts.T, loss.curvatures(eta, label), strict=True):
        for output in np.flatnonzero(contrast):
            diagonal[output] += contrast[output] ** 2 * curvature
    return diagonal


class Diagonal(NamedTuple):
    """Weighted sum of the squared rows times curvature, (parameters,)."""

    diagonal: Floats


@dataclass(frozen=True)
class DiagonalTotal:
    """The diagonal of the Hessian's data part."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Diagonal:
        """Return the chunk's total."""
        curvature = chunk.weight * curvature_diagonal(self.loss, predictor(chunk, parameters), chunk.label)
        return Diagonal(transposed_products(chunk.layout, squared(chunk.block), curvature))


class Recession(NamedTuple):
    """How the losses go along a direction: the largest rise and fall of a row's predictor, against its own terms."""

    rise: float
    fall: float


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

    def __call__(self, chunk: Chunk, parameters: Floats) -> Recession:
        """Return the chunk's totals; the parameters are the direction."""
        size = self.loss.largest_reach(predictors(chunk.layout, absolute(chunk.block), np.abs(parameters)))
        moved = (chunk.weight > 0) & (size > 0.0)
        change = predictors(chunk.layout, chunk.block, parameters)[..., moved] / size[moved]
        rise = self.loss.rise(change, chunk.label[moved])
        return Recession(float(rise.max(initial=0.0)), float((-rise).max(initial=0.0)))
