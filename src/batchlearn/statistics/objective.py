"""The objective: F(w) = sum_i weight_i phi(x_i'w + offset_i, y_i) / sum_i weight_i + penalty(w)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.rounding import UNDERFLOW, accumulated
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.curvature import AroundTotal, DiagonalTotal
from batchlearn.statistics.rounding import AnchoredTotal, RoundingTotal
from batchlearn.statistics.totals import GradientTotal, HessianTotal, LabelTotal, LineTotal, ValueTotal, assembled

_NULL_STEPS = 20


class Expansion(NamedTuple):
    """The objective around a point: value, gradient (d,), Hessian (d, d), and the leverage bound on kappa."""

    value: float
    gradient: Floats
    hessian: Floats
    kappa: float  # sqrt(total weight / min weight_i phi''_i): a row's leverage is at most one


class GradientError(NamedTuple):
    """What floating point can have done to a gradient at given parameters, and the curvature there."""

    error: Floats  # (d,): bound on the error of each entry
    relative: float  # bound on the relative error of a Hessian entry, or of a row's curvature, formed there
    curvature: Floats  # (contrasts,): mean of weight times curvature
    centre: Floats  # (contrasts, d): mean of weight times curvature times the row
    magnitude: Floats  # (contrasts, d): the same of the absolute row
    kappa: float  # the leverage bound, as in Expansion
    predictor: float = math.inf  # the reach of what rounding can do to a row's predictor
    value: float = math.nan  # the objective, and its gradient (d,), where they were wanted
    gradient: Floats = np.empty(0)


class NearPoint(NamedTuple):
    """The objective at a point near an anchor, whose Hessian bounds the one here from below: H >= e^-drift H_anchor."""

    value: float
    gradient: Floats  # (d,)
    error: Floats  # (d,): what rounding can have done to the gradient
    relative: float  # as in GradientError, of the Hessian formed at the anchor and of a curvature here
    predictor: float  # the reach of what rounding can do to a row's predictor
    drift: float  # how far the logarithm of a row's curvature can be from that at the anchor
    kappa: float  # the leverage bound, as in Expansion
    spread: float  # the largest ||x / diagonal||^2 of a row, from above


def _leverage_bound(total_weight: float, smallest: float) -> float:
    # Two roots and not the root of the ratio, which may overflow.
    return math.sqrt(total_weight) / math.sqrt(smallest) * (1.0 + 1e-9) if smallest > 0.0 else float("inf")


@dataclass(frozen=True)
class Objective:
    """Mean loss over rows plus penalty, as a function of the parameters; it owns no data."""

    loss: Loss
    penalty: Quadratic

    @property
    def quadratic(self) -> bool:
        """Whether the Hessian is the same everywhere."""
        return self.loss.self_concordance == 0.0 and self.loss.corners is None

    def value(self, rows: Rows, parameters: Floats) -> float:
        """Return F(w), reading every row once."""
        (total,) = rows.total(ValueTotal(self.loss), parameters)
        return float(total / rows.total_weight) + self.penalty.value(parameters)

    def gradient(self, rows: Rows, parameters: Floats) -> tuple[float, Floats]:
        """Return F(w) and its gradient, reading every row once."""
        total, gradient = rows.total(GradientTotal(self.loss), parameters)
        value = float(total / rows.total_weight) + self.penalty.value(parameters)
        return value, gradient / rows.total_weight + self.penalty.gradient(parameters)

    def along(
        self, rows: Rows, parameters: Floats, direction: Floats, lengths: tuple[float, ...]
    ) -> tuple[Floats, float]:
        """Return F at these lengths along a direction, infinite where it overflows, reading every row once.

        And the largest change of a row's predictor per unit of the direction.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            totals, reach = rows.total(LineTotal(self.loss, direction, lengths), parameters)
        penalties = [self.penalty.value(parameters + length * direction) for length in lengths]
        values = totals / rows.total_weight + penalties
        return np.where(np.isfinite(values), values, np.inf), reach

    def expand(self, rows: Rows, parameters: Floats) -> Expansion:
        """Return value, gradient and Hessian, reading every row once."""
        total = rows.total(HessianTotal(self.loss), parameters)
        weight = rows.total_weight
        hessian = assembled(self.loss, total.grams, weight)
        self.penalty.add_to(hessian)
        kappa = _leverage_bound(weight, total.smallest)
        value = float(total.value / weight) + self.penalty.value(parameters)
        return Expansion(value, total.gradient / weight + self.penalty.gradient(parameters), hessian, kappa)

    def hessian_diagonal(self, rows: Rows, parameters: Floats) -> Floats:
        """Return the diagonal of the Hessian, shape (parameters,), reading every row once."""
        (diagonal,) = rows.total(DiagonalTotal(self.loss), parameters)
        return diagonal / rows.total_weight + self.penalty.diagonal

    def around(self, rows: Rows, parameters: Floats) -> tuple[float, Floats, Floats, GradientError]:
        """Return F(w), its gradient, the Hessian's diagonal and, but for rounding, what a lower bound on it stands on.

        Of a loss of one output, reading every row once; all but numbers of shape (d,).
        """
        weight, total = rows.total_weight, rows.total(AroundTotal(self.loss), parameters)
        value = float(total.value / weight) + self.penalty.value(parameters)
        gradient = total.gradient / weight + self.penalty.gradient(parameters)
        curvature, centre = np.array([total.curvature / weight]), total.centre[None] / weight
        known = GradientError(np.zeros_like(gradient), 0.0, curvature, centre, np.abs(centre), math.inf)
        return value, gradient, total.diagonal / weight + self.penalty.diagonal, known

    def gradient_error(
        self, rows: Rows, parameters: Floats, *, gradient: bool = False, centred: bool = True
    ) -> GradientError:
        """Bound the rounding error of the gradient at these parameters, reading every row once.

        With the value and the gradient if they are wanted; without the curvature, whose sums are empty then, where
        nobody asks for its centre.
        """
        length, weight = rows.additions, rows.total_weight
        total = rows.total(RoundingTotal(self.loss, length, gradient, centred), parameters)
        known = total.gradient / weight + self.penalty.gradient(parameters) if gradient else total.gradient
        return GradientError(
            self._gradient_error(total.error / weight, parameters),
            self._relative_error(length, total.growth),
            total.curvature / weight,
            total.centre / weight,
            total.magnitude / weight,
            _leverage_bound(weight, total.smallest),
            total.predictor,
            float(total.value / weight) + self.penalty.value(parameters),
            known,
        )

    def near(self, rows: Rows, parameters: Floats, anchor: Floats, diagonal: Floats) -> NearPoint:
        """Return the objective at a point near an anchor, with what rounding can have done, reading every row once.

        `diagonal` (d,): the units of a row's length, the roots of the diagonal of the Hessian at the anchor.
        """
        length, constant, weight = rows.additions, self.loss.self_concordance, rows.total_weight
        total = rows.total(AnchoredTotal(self.loss, length, anchor, 1.0 / diagonal**2), parameters)
        growth = constant * total.predictor
        return NearPoint(
            float(total.value / weight) + self.penalty.value(parameters),
            total.gradient / weight + self.penalty.gradient(parameters),
            self._gradient_error(total.error / weight, parameters),
            self._relative_error(length, growth),
            total.predictor,
            # The change of a predictor is itself an inner product, of two points.
            (constant * total.reach + 2.0 * growth) * (1.0 + 1e-12),
            _leverage_bound(weight, total.smallest),
            total.spread * (1.0 + accumulated(rows.layout.terms + 16)) + UNDERFLOW,
        )

    def _gradient_error(self, error: Floats, parameters: Floats) -> Floats:
        penalty = accumulated(self.penalty.terms + 7) * self.penalty.magnitude(parameters)
        # The totals of the bound are themselves sums: their own rounding is covered by one part in 1e9.
        # Strengths and products too small to be exact are in the last term.
        return error * (1.0 + 1e-9) + penalty + UNDERFLOW * (1.0 + np.abs(parameters))

    def _relative_error(self, length: int, growth: float) -> float:
        # Twenty more operations than additions: of the curvature, its weight, two entries, the weights' sum; and those
        # of the sum over contrasts.
        contrasts = self.loss.contrasts.shape[1]
        return accumulated(length + 20 + 8 * (contrasts - 1)) + float(np.expm1(growth))

    def null_parameters(self, rows: Rows) -> Floats:
        """Return the parameters of the null model: the best intercept, all else zero.

        From the labels' mean where there are no offsets; with offsets a few Newton steps on the intercept follow.
        Raises NoFiniteOptimum where no finite intercept is best.
        """
        outputs, size = self.loss.outputs, rows.layout.size
        parameters = np.zeros(outputs * size)
        if rows.layout.intercept:
            bare = rows.intercept_only()
            labels, offset = bare.total(LabelTotal(self.loss), parameters[:outputs])
            intercepts = self.loss.null_intercept(labels / rows.total_weight)
            if rows.has_offset or self.loss.corners is not None:
                cornered = self.loss.corners
                loss = self.loss if cornered is None else cornered.majorised
                longest = 2.0 if cornered is None else np.inf
                intercepts = intercepts - offset / rows.total_weight
                for _ in range(_NULL_STEPS):
                    total = bare.total(HessianTotal(loss), intercepts)
                    step = np.clip(total.gradient / max(float(total.grams[0, 0, 0]), 1e-300), -longest, longest)
                    intercepts = intercepts - step
                    if abs(step[0]) < 1e-12 * (1.0 + abs(intercepts[0])):
                        break
            parameters[::size] = intercepts
        return parameters


def ridge(layout: Layout, alpha: float, scale: Floats | None = None, outputs: int = 1) -> Quadratic:
    """Return alpha/2 ||coefficients||^2 with free intercepts; `scale` (d,) divides the coefficients as stored."""
    strengths = np.full(layout.size, alpha)
    if scale is not None:
        strengths = strengths / scale**2
    if layout.intercept:
        strengths[0] = 0.0
    return Quadratic(np.tile(strengths, outputs))
