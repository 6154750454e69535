"""Statistics of rows that updates need besides those of training; shapes as in `statistics.totals`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk, Rows, Statistic
from batchlearn.kernels.design import Floats, absolute, linear_predictor, quadratic_form
from batchlearn.kernels.rounding import UNIT_ROUNDOFF, accumulated
from batchlearn.kernels.sums import transposed_product
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.rounding import gradient_rounding
from batchlearn.statistics.rowwise import predictor, weighted_slope


@dataclass(frozen=True)
class _Together:
    """Several statistics of the same chunk: what they hold, one after the other."""

    statistics: tuple[Statistic[Any], ...]
    combine: tuple[Any, ...]

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Any, ...]:
        found = (statistic(chunk, parameters) for statistic in self.statistics)
        return tuple(field for totals in found for field in totals)


def totals_together(rows: Rows, statistics: tuple[Statistic[Any], ...], parameters: Floats) -> list[tuple[Any, ...]]:
    """Return the totals of several statistics, reading every row once."""
    combine = tuple(ufunc for statistic in statistics for ufunc in statistic.combine)
    together: Any = _Together(statistics, combine)
    fields = rows.total(together, parameters)
    found, start = [], 0
    for statistic in statistics:
        found.append(tuple(fields[start : start + len(statistic.combine)]))
        start += len(statistic.combine)
    return found


@dataclass(frozen=True)
class SlopeTotal:
    """Weighted sum of the gradients of the losses, (d,)."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:
        """Return the chunk's total."""
        slope = weighted_slope(self.loss, predictor(chunk, parameters), chunk.label, chunk.weight)
        return (transposed_product(chunk.layout, chunk.block, slope),)


class Scatter(NamedTuple):
    """How much row gradients vary: in the metric of a Hessian, and the sum of the squared weights."""

    trace: float  # sum of (weight slope)^2 x' A x
    squares: float  # sum of weight^2


@dataclass(frozen=True)
class ScatterTotal:
    """Sum of (weight slope)^2 x' A x with A an inverse Hessian (d, d): tr(A S), S the outer products of gradients."""

    loss: Loss
    inverse: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Scatter:
        """Return the chunk's totals."""
        slope = weighted_slope(self.loss, predictor(chunk, parameters), chunk.label, chunk.weight)
        form = quadratic_form(chunk.layout, chunk.block, self.inverse)
        return Scatter(float(slope**2 @ form), float(chunk.weight @ chunk.weight))


class PointSums(NamedTuple):
    """Weighted sums at a point: the gradient, the changes of the losses along a line, and what rounding did to them."""

    gradient: Floats  # (d,)
    gradient_error: Floats  # (d,)
    growth: float  # the largest possible error of the logarithm of a row's curvature, here or at the line's points
    values: Floats  # (lengths,): the losses at the points of the line less those here
    error: float  # of any of the values
    share: float  # the smallest ratio of a row's curvature here to that at the end of the line


@dataclass(frozen=True)
class PointSumsTotal:
    """Gradient at the parameters, and the loss at `lengths` along a direction (d,) from there, less the loss there.

    The first of the lengths is the end of the line: the others are between it and zero.
    """

    loss: Loss
    direction: Floats
    lengths: tuple[float, ...]
    length: int  # additions that a total can go through
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.maximum, np.add, np.add, np.minimum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> PointSums:
        """Return the chunk's totals."""
        layout, loss, weight, label = chunk.layout, self.loss, chunk.weight, chunk.label
        idle = weight == 0.0
        eta = predictor(chunk, parameters)
        move = linear_predictor(layout, chunk.block, self.direction)
        size = linear_predictor(layout, absolute(chunk.block), np.abs(parameters) + np.abs(self.direction))
        size += np.abs(chunk.offset)
        move[idle], size[idle] = 0.0, 0.0
        off = accumulated(layout.terms + 8) * size
        slope = weighted_slope(loss, eta, label, weight)
        gradient_error, growth = gradient_rounding(loss, chunk, self.length, eta, slope, off)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            end = eta + self.lengths[0] * move
            value, doubt, curvature = self._doubt(eta, label, off)
            other, more, bend = self._doubt(end, label, off)
            others = [other, *(loss.value(eta + length * move, label) for length in self.lengths[1:])]
            # Between two points a convex loss is no larger than at the larger of them, and neither is its slope.
            error = doubt + np.maximum(doubt, more)
            error += accumulated(self.length + 12) * (value + np.maximum(value, other))
            # A row without curvature there asks for none here.
            share = float(np.min(curvature / bend, where=~idle & (bend > 0.0), initial=np.inf))
            values = np.asarray([float(weight @ (at - value)) for at in others])
        return PointSums(
            transposed_product(layout, chunk.block, slope),
            gradient_error,
            growth,
            values,
            float(weight @ error) * (1.0 + 1e-9),
            share,
        )

    def _doubt(self, eta: Floats, label: Floats, off: Floats) -> tuple[Floats, Floats, Floats]:
        """Return losses, how far each can be from the exact one when eta is off by at most `off`, and curvatures."""
        value, slope = self.loss.value(eta, label), self.loss.slope_magnitude(eta, label)
        # Each loss is a few operations on numbers no larger than its value and its slope, and the logarithm of a label,
        # below 40 for any count; a slope changes by e^off.
        own = 64.0 * UNIT_ROUNDOFF * (value + slope)
        curved = self.loss.least_curvature(eta, label)
        return value, own + off * (slope + curved * off) * np.exp(off), curved


@dataclass(frozen=True)
class FormTotal:
    """The largest x' A x of a row that counts, A an inverse Hessian (d, d)."""

    inverse: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float]:  # noqa: ARG002 - every statistic is called alike
        """Return the chunk's total; the parameters do not matter."""
        form = quadratic_form(chunk.layout, chunk.block, self.inverse)
        return (float(form[chunk.weight > 0.0].max(initial=0.0)),)
