"""What floating point can have done to a total, and to what is returned for a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, absolute
from batchlearn.kernels.rounding import SLOPE_ROUNDINGS, UNDERFLOW, UNIT_ROUNDOFF, accumulated, predictor_error
from batchlearn.kernels.sums import summed_predictors, transposed_products, with_absolute
from batchlearn.models.links import returned_distance
from batchlearn.objectives.losses import Loss
from batchlearn.statistics.passes import compiled_pass
from batchlearn.statistics.rowwise import (
    predictor,
    predictor_sizes,
    scaled_squares,
    smallest_curvature,
    weighted_curvatures,
    weighted_loss,
    weighted_slope,
)


def gradient_rounding(
    loss: Loss, chunk: Chunk, length: int, eta: Floats, slope: Floats, error: Floats
) -> tuple[Floats, float]:
    """Bound the error of the gradient's total, (parameters,): of inner products, of slopes, and of the summation.

    And return the largest possible error of the logarithm of a row's curvature.

    Higham 2002, section 3.1, for inner products and sums in any order. `slope` is the weighted one at the
    predictors eta, `error` what those can be off by (both as eta); `length` is the number of additions a total can go
    through: the rows of the longest chunk and the number of chunks.
    """
    reach = loss.largest_reach(error)
    growth = loss.self_concordance * reach  # of the logarithm of the curvature
    own = SLOPE_ROUNDINGS * UNIT_ROUNDOFF * chunk.weight * loss.slope_magnitude(eta, chunk.label)
    # Twelve more operations than additions: entries, weights, the division by their sum, the penalty.
    summed = accumulated(length + 12) * np.abs(slope)
    row = chunk.weight * loss.slope_change(eta, chunk.label, reach) + own + summed + UNDERFLOW
    products = transposed_products(chunk.layout, absolute(chunk.block), row)
    return products, float(growth.max(initial=0.0))


class Rounding(NamedTuple):
    """How wrong a computed gradient can be, and the curvature the bound for many coefficients needs."""

    error: Floats  # (parameters,), and the next: as in `gradient_rounding`
    growth: float
    curvature: Floats  # (contrasts,): sum of weight times curvature
    centre: Floats  # (contrasts, d): sum of weight times curvature times the row
    magnitude: Floats  # (contrasts, d): the same of the absolute row
    smallest: float  # the smallest weight times curvature of a row
    predictor: float  # the reach of what rounding can do to a predictor, at most
    value: float  # weighted sum of the losses
    gradient: Floats  # (parameters,), or none


@dataclass(frozen=True)
class RoundingTotal:
    """What `gradient_rounding` bounds, and the curvature, in one reading.

    `gradient`: whether the gradient is wanted too. `centred`: whether the curvature and the rows that it weighs are;
    else their sums are empty.
    """

    loss: Loss
    length: int
    gradient: bool = False
    centred: bool = True
    combine: ClassVar[tuple[Any, ...]] = (
        *(np.add, np.maximum, np.add, np.add, np.add, np.minimum),
        *(np.maximum, np.add, np.add),
    )

    def __call__(self, chunk: Chunk, parameters: Floats) -> Rounding:
        """Return the chunk's totals."""
        loss, layout, none = self.loss, chunk.layout, np.zeros((0, chunk.layout.size))
        done = compiled_pass(loss, chunk, parameters, gradient=self.gradient, length=self.length, centre=self.centred)
        if done is not None and done.error is not None:
            growth, curvature = loss.self_concordance * done.predictor, np.array([done.curvature])
            centre, magnitude = (none if one is None else one[None] for one in (done.centre, done.magnitude))
            own = done.error, growth, curvature[: len(centre)], centre, magnitude, done.smallest
            return Rounding(*own, done.predictor, done.value, none[:, 0] if done.gradient is None else done.gradient)
        eta = predictor(chunk, parameters)
        error = predictor_error(layout, loss.outputs, predictor_sizes(chunk, parameters))
        sums, centres, sizes = [none[:, 0]], [none], [none]
        curvatures = weighted_curvatures(loss, eta, chunk.label, chunk.weight) if self.centred else ()
        for some in curvatures:
            sums.append(some.sum(axis=1))
            centres.append(transposed_products(layout, chunk.block, some).reshape(len(some), -1))
            sizes.append(with_absolute(layout, chunk.block, centres[-1], some))
        slope = weighted_slope(loss, eta, chunk.label, chunk.weight)
        return Rounding(
            *gradient_rounding(loss, chunk, self.length, eta, slope, error),
            np.concatenate(sums),
            np.concatenate(centres),
            np.concatenate(sizes),
            smallest_curvature(loss, eta, chunk.label, chunk.weight),
            float(loss.largest_reach(error).max(initial=0.0)),
            weighted_loss(loss, eta, chunk.label, chunk.weight),
            transposed_products(layout, chunk.block, slope) if self.gradient else none[:, 0],
        )


class Anchored(NamedTuple):
    """What is said at a point near another one, the anchor, whose Hessian is known."""

    value: float  # weighted sum of the losses
    gradient: Floats  # (parameters,)
    reach: float  # the largest change of a row's predictor from the anchor to here
    error: Floats  # (parameters,): of the gradient, as in `gradient_rounding`
    predictor: float  # the reach of what rounding can do to a predictor here and at the anchor, at most
    smallest: float  # the smallest weight times curvature of a row
    spread: float  # the largest square of a row's length, ||x / diagonal||^2


@dataclass(frozen=True)
class AnchoredTotal:
    """Loss and gradient with the bound on its rounding, and how far rows are from the anchor, in one reading."""

    loss: Loss
    length: int
    anchor: Floats
    inverse_squares: Floats  # (parameters,): 1 / diagonal^2
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add, np.maximum, np.add, np.maximum, np.minimum, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Anchored:
        """Return the chunk's totals."""
        loss, layout, change = self.loss, chunk.layout, parameters - self.anchor
        sizes = np.maximum(np.abs(parameters), np.abs(self.anchor))
        squares, length = self.inverse_squares, self.length
        done = compiled_pass(loss, chunk, parameters, sizes=sizes, direction=change, squares=squares, length=length)
        if done is not None and done.gradient is not None and done.error is not None:
            own = done.value, done.gradient, done.reach, done.error, done.predictor
            return Anchored(*own, done.smallest, done.spread)
        eta, counted = predictor(chunk, parameters), chunk.weight > 0.0
        slope = weighted_slope(loss, eta, chunk.label, chunk.weight)
        error = predictor_error(layout, loss.outputs, predictor_sizes(chunk, sizes))
        moved = loss.reach(summed_predictors(layout, chunk.block, change))
        return Anchored(
            weighted_loss(loss, eta, chunk.label, chunk.weight),
            transposed_products(layout, chunk.block, slope),
            float(moved[counted].max(initial=0.0)),
            gradient_rounding(loss, chunk, self.length, eta, slope, error)[0],
            float(loss.largest_reach(error).max(initial=0.0)),
            smallest_curvature(loss, eta, chunk.label, chunk.weight),
            float(scaled_squares(chunk, squares)[counted].max(initial=0.0)),
        )


@dataclass(frozen=True)
class ReturnedTotal:
    """What rounding can do to a row at most (`rounding.predictor_error`): to its predictor, and to its response.

    Of classes to the range of its logits. `carried` as in `LeverageTotal`.
    """

    loss: Loss
    carried: float
    combine: ClassVar[tuple[Any, ...]] = (np.maximum, np.maximum)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float, float]:
        """Return the chunk's largest."""
        error = predictor_error(chunk.layout, self.loss.outputs, predictor_sizes(chunk, parameters)) + self.carried
        eta, counted = predictor(chunk, parameters), chunk.weight > 0.0
        distance = returned_distance(self.loss.name, eta, np.zeros(len(chunk.label)), error)
        reach = self.loss.largest_reach(error)
        return float(reach[counted].max(initial=0.0)), float(distance[counted].max(initial=0.0))
