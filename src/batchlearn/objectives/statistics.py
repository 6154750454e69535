"""Per-chunk statistics of an objective: what `rows.total` adds up.

Each is a small frozen value, called with a chunk and the parameters. Arrays over rows have shape (m,), arrays over
coefficients (d,). `combine` names the ufunc that puts two chunks' fields together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import (
    Floats,
    absolute,
    linear_predictor,
    predictors,
    quadratic_form,
    squared,
    transposed_product,
    transposed_products,
    weighted_gram,
)
from batchlearn.models.links import response_change
from batchlearn.objectives.huber import HuberLoss
from batchlearn.objectives.losses import Loss

UNIT_ROUNDOFF = 2.0**-53
# More than a product that underflows can lose, and less than anything else in a bound.
_UNDERFLOW = 1e-290


def accumulated(terms: int) -> float:
    """Return gamma_n = n u / (1 - n u): the relative rounding error of n operations in a row (Higham 2002, 3.1)."""
    return terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)


def predictor(chunk: Chunk, parameters: Floats) -> Floats:
    """Return the linear predictor with the offset, shape (m,); (outputs, m) where parameters are of several outputs.

    Zero for a row without weight: it has no say, and must not overflow.
    """
    eta = predictors(chunk.layout, chunk.block, parameters) + chunk.offset
    eta[..., chunk.weight == 0.0] = 0.0
    return eta


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
    hessian: Floats
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
        curvature = chunk.weight * self.loss.curvature(eta, chunk.label)
        return Hessian(
            float(chunk.weight @ self.loss.value(eta, chunk.label)),
            transposed_products(chunk.layout, chunk.block, slope),
            weighted_gram(chunk.layout, chunk.block, curvature),
            _smallest(chunk, curvature),
        )


class Rounding(NamedTuple):
    """How wrong a computed gradient can be, and the curvature the bound for many coefficients needs."""

    error: Floats  # (d,): sum of the possible error of each row's contribution
    growth: float  # the largest possible error of the logarithm of a row's curvature
    curvature: float  # sum of weight times curvature
    centre: Floats  # (d,): sum of weight times curvature times the row
    magnitude: Floats  # (d,): the same of the absolute row
    smallest: float  # the smallest weight times curvature of a row


@dataclass(frozen=True)
class RoundingTotal:
    """A bound on the error of the gradient's total: of the inner products, of the slopes, and of the summation.

    Higham 2002, section 3.1, for inner products and sums in any order. `length` is the number of additions a total
    can go through: the rows of the longest chunk and the number of chunks.
    """

    loss: Loss
    length: int
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.maximum, np.add, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Rounding:
        """Return the chunk's totals."""
        layout, magnitudes = chunk.layout, absolute(chunk.block)
        eta = predictor(chunk, parameters)
        # Five more operations than terms: shift, scale and offset of a value, the delivered coefficient itself, and a
        # loss's own factor in front of the predictor.
        inner = linear_predictor(layout, magnitudes, np.abs(parameters)) + np.abs(chunk.offset)
        inner[chunk.weight == 0.0] = 0.0
        error = accumulated(layout.terms + 6) * inner
        growth = self.loss.self_concordance * error  # of the logarithm of the curvature
        curvature = chunk.weight * self.loss.curvature(eta, chunk.label)
        slope = np.abs(chunk.weight * self.loss.slope(eta, chunk.label))
        own = 8.0 * UNIT_ROUNDOFF * chunk.weight * self.loss.slope_magnitude(eta, chunk.label)
        # Twelve more operations than additions: entries, weights, the division by their sum, the penalty.
        row = curvature * np.exp(growth) * error + own + accumulated(self.length + 12) * slope + _UNDERFLOW
        return Rounding(
            transposed_product(layout, magnitudes, row),
            float(growth.max(initial=0.0)),
            float(curvature.sum()),
            transposed_product(layout, chunk.block, curvature),
            transposed_product(layout, magnitudes, curvature),
            _smallest(chunk, curvature),
        )


def _smallest(chunk: Chunk, curvature: Floats) -> float:
    counted = curvature[chunk.weight > 0]
    return float(counted.min()) if counted.size else np.inf


class Leverage(NamedTuple):
    """The largest of quantities that each row has at the optimum."""

    form: float  # max x' A x
    scaled: float  # max ||x / diagonal||^2, for the rounding of the form
    response: float  # max change of a prediction on the response scale
    loss: float  # weighted sum of the approximate leave-one-out losses
    square: float  # weighted sum of their squares
    margin: float  # by how much, at least, a row stays on its side of a corner of its loss; infinite without corners


@dataclass(frozen=True)
class LeverageTotal:
    """Quadratic forms x' A x with A the inverse Hessian, and what follows from them.

    `radius` is the certificate's r (bound C3: a row's predictor is off by at most r sqrt(x' A x)). The approximate
    leave-one-out predictor of a row is eta + h slope / (1 - h curvature), h = weight x' A x / total weight
    (Rad and Maleki 2020).
    """

    loss: Loss
    inverse: Floats  # (d, d)
    inverse_square_scale: Floats  # (d,)
    radius: float
    form_error: float
    total_weight: float
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum, np.maximum, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Leverage:
        """Return the chunk's totals."""
        eta = predictor(chunk, parameters)
        counted = chunk.weight > 0
        form = np.maximum(quadratic_form(chunk.layout, chunk.block, self.inverse), 0.0)
        scaled = linear_predictor(chunk.layout, squared(chunk.block), self.inverse_square_scale)
        bound = self.radius * np.sqrt(form + self.form_error * scaled)
        share = form * chunk.weight / self.total_weight
        room = np.maximum(1.0 - share * self.loss.curvature(eta, chunk.label), 1e-10)
        left_out = eta + share * self.loss.slope(eta, chunk.label) / room
        losses = self.loss.value(left_out[counted], chunk.label[counted])
        weight = chunk.weight[counted]
        with np.errstate(over="ignore"):
            loss, square = float(weight @ losses), float(weight @ losses**2)
        return Leverage(
            float(form[counted].max(initial=0.0)),
            float(scaled[counted].max(initial=0.0)),
            float(response_change(self.loss.name, eta, bound)[counted].max(initial=0.0)),
            loss,
            square,
            float(self._margins(chunk, parameters, eta, bound)[counted].min(initial=np.inf)),
        )

    def _margins(self, chunk: Chunk, parameters: Floats, eta: Floats, bound: Floats) -> Floats:
        if not isinstance(self.loss, HuberLoss):
            return np.full_like(eta, np.inf)
        size = linear_predictor(chunk.layout, absolute(chunk.block), np.abs(parameters)) + np.abs(chunk.offset)
        error = accumulated(chunk.layout.terms + 8) * (size + np.abs(chunk.label) + self.loss.threshold)
        return self.loss.distance_to_a_corner(eta, chunk.label) - bound * (1.0 + 1e-9) - 2.0 * error


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
        change = linear_predictor(chunk.layout, chunk.block, self.direction)
        change[chunk.weight == 0.0] = 0.0
        values = [chunk.weight @ self.loss.value(eta + length * change, chunk.label) for length in self.lengths]
        return Line(np.asarray(values), float(np.abs(change).max(initial=0.0)))


class Label(NamedTuple):
    """Weighted sums of the labels and of the offsets."""

    label: float
    offset: float


@dataclass(frozen=True)
class LabelTotal:
    """The labels and the offsets, for the null model's start."""

    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Label:  # noqa: ARG002 - every statistic is called alike
        """Return the chunk's total; the parameters do not matter."""
        return Label(float(chunk.weight @ chunk.label), float(np.sum(chunk.weight * chunk.offset)))


class Diagonal(NamedTuple):
    """Weighted sum of the squared rows times curvature."""

    diagonal: Floats


@dataclass(frozen=True)
class DiagonalTotal:
    """The diagonal of the Hessian's data part."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Diagonal:
        """Return the chunk's total."""
        curvature = chunk.weight * self.loss.curvature(predictor(chunk, parameters), chunk.label)
        return Diagonal(transposed_product(chunk.layout, squared(chunk.block), curvature))


class Recession(NamedTuple):
    """How the losses go along a direction: the largest rise and fall of a row's predictor, against its own terms."""

    rise: float
    fall: float


@dataclass(frozen=True)
class RecessionTotal:
    """Which way phi(t x'd, y) goes as t grows: a direction along which no row's loss rises in the end has no end.

    A logistic row rises with -x'd for a label of 1 and with x'd for one of 0; a row with a log link rises with x'd for
    a label of 0 and either way for one above, so that gamma rows, all above, have no such direction. Each is taken
    relative to sum_j |x_j d_j| of its own row, so that neither the scale of a column nor one huge row can hide another
    row's rise.
    """

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Recession:
        """Return the chunk's totals; the parameters are the direction."""
        size = linear_predictor(chunk.layout, absolute(chunk.block), np.abs(parameters))
        moved = (chunk.weight > 0) & (size > 0.0)
        change = linear_predictor(chunk.layout, chunk.block, parameters)[moved] / size[moved]
        label = chunk.label[moved]
        if self.loss.name == "logistic":
            signed = np.where(label > 0.5, -change, change)
        else:
            signed = np.where(label > 0.0, np.abs(change), change)
        return Recession(float(signed.max(initial=0.0)), float((-signed).max(initial=0.0)))
