"""The objective: F(w) = sum_i weight_i phi(x_i'w + offset_i, y_i) / sum_i weight_i + penalty(w)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats, Layout, symmetric
from batchlearn.objectives.factor import Factor, factorise
from batchlearn.objectives.huber import HuberLoss, MajorisedHuber
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.statistics import (
    DiagonalTotal,
    GradientTotal,
    HessianTotal,
    LabelTotal,
    RoundingTotal,
    ValueTotal,
    accumulated,
)

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
    curvature: float  # mean of weight times curvature
    centre: Floats  # (d,): mean row, weighted by weight times curvature
    centre_error: Floats  # (d,): bound on the error of the centre
    kappa: float  # the leverage bound, as in Expansion


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
        return self.loss.self_concordance == 0.0 and not isinstance(self.loss, HuberLoss)

    def value(self, rows: Rows, parameters: Floats) -> float:
        """Return F(w), reading every row once."""
        total = rows.total(ValueTotal(self.loss), parameters)
        return float(total.value / rows.total_weight) + self.penalty.value(parameters)

    def gradient(self, rows: Rows, parameters: Floats) -> tuple[float, Floats]:
        """Return F(w) and its gradient, reading every row once."""
        total = rows.total(GradientTotal(self.loss), parameters)
        value = float(total.value / rows.total_weight) + self.penalty.value(parameters)
        return value, total.gradient / rows.total_weight + self.penalty.gradient(parameters)

    def expand(self, rows: Rows, parameters: Floats) -> Expansion:
        """Return value, gradient and Hessian, reading every row once."""
        total = rows.total(HessianTotal(self.loss), parameters)
        weight = rows.total_weight
        hessian = symmetric(total.hessian) / weight
        self.penalty.add_to(hessian)
        kappa = _leverage_bound(weight, total.smallest)
        value = float(total.value / weight) + self.penalty.value(parameters)
        return Expansion(value, total.gradient / weight + self.penalty.gradient(parameters), hessian, kappa)

    def hessian_diagonal(self, rows: Rows, parameters: Floats) -> Floats:
        """Return the diagonal of the Hessian, shape (d,), reading every row once."""
        total = rows.total(DiagonalTotal(self.loss), parameters)
        return total.diagonal / rows.total_weight + self.penalty.diagonal

    def gradient_error(self, rows: Rows, parameters: Floats) -> GradientError:
        """Bound the rounding error of the gradient at these parameters, reading every row once."""
        length = rows.longest_chunk + len(rows.chunks)
        total = rows.total(RoundingTotal(self.loss, length), parameters)
        penalty = accumulated(self.penalty.terms + 7) * self.penalty.magnitude(parameters)
        # The totals of the bound are themselves sums: their own rounding is covered by one part in 1e9.
        error = (total.error / rows.total_weight) * (1.0 + 1e-9) + penalty
        # Twenty more operations than additions: of the curvature, its weight, two entries, the weights' sum.
        relative = accumulated(length + 20) + float(np.expm1(total.growth))
        safe = max(total.curvature, 1e-300)
        return GradientError(
            error,
            relative,
            total.curvature / rows.total_weight,
            total.centre / safe,
            3.0 * relative * total.magnitude / safe,
            _leverage_bound(rows.total_weight, total.smallest),
        )

    def factor(self, expansion: Expansion) -> Factor:
        """Factor the Hessian for a step: what its own rounding did to it is for a certificate to bound."""
        return factorise(expansion.hessian, 0.0)

    def rank_one_norm(self, vector: Floats, slack: Floats | float, at: GradientError, intercept: bool) -> float:
        """Return an upper bound on sqrt(v' H^-1 v), for every v within `slack` (d,) of the one given, without H.

        From Hhat = penalty + c m m' <= H with c the mean curvature and m the mean row: Jensen's inequality gives
        c m m' <= mean of curvature * x x'. Its inverse has the closed form
        v' Hhat^-1 v = v_0^2 / c + sum_j (v_j - v_0 m_j)^2 / strength_j. Infinite where a coefficient has no penalty.
        """
        strengths = self.penalty.strengths
        slack = np.broadcast_to(np.asarray(slack, dtype=np.float64), vector.shape)
        first = int(intercept)
        if np.any(strengths[first:] <= 0.0):
            return float("inf")
        if not first:
            return float(np.sqrt(np.sum((np.abs(vector) + slack) ** 2 / strengths))) * (1.0 + 1e-9)
        lead = abs(vector[0]) + slack[0]
        rest = np.abs(vector[1:] - vector[0] * at.centre[1:])
        rest = rest + slack[1:] + slack[0] * np.abs(at.centre[1:]) + lead * at.centre_error[1:]
        curvature = at.curvature / (1.0 + at.relative)
        if not curvature > 0.0:
            return float("inf")  # every row beyond the threshold of a Huber loss
        return float(np.sqrt(lead**2 / curvature + np.sum(rest**2 / strengths[1:]))) * (1.0 + 1e-9)

    def null_parameters(self, rows: Rows) -> Floats:
        """Return the parameters of the null model: the best intercept, all else zero.

        From the labels' mean where there are no offsets; with offsets a few Newton steps on the intercept follow.
        Raises NoFiniteOptimum where no finite intercept is best.
        """
        parameters = np.zeros(rows.layout.size)
        if rows.layout.intercept:
            bare = rows.intercept_only()
            sums = bare.total(LabelTotal(), parameters[:1])
            parameters[0] = self.loss.null_intercept(sums.label / rows.total_weight) - sums.offset / rows.total_weight
            loss = MajorisedHuber(self.loss.threshold) if isinstance(self.loss, HuberLoss) else self.loss
            longest = np.inf if loss is not self.loss else 2.0
            for _ in range(_NULL_STEPS if loss is not self.loss or rows.has_offset else 0):
                total = bare.total(HessianTotal(loss), parameters[:1])
                step = np.clip(total.gradient[0] / max(total.hessian[0, 0], 1e-300), -longest, longest)
                parameters[0] -= step
                if abs(step) < 1e-12 * (1.0 + abs(parameters[0])):
                    break
        return parameters

    def null_value(self, rows: Rows) -> float:
        """Return the loss of the model without features, the yardstick of relative tolerances."""
        return self.value(rows, self.null_parameters(rows))


def ridge(layout: Layout, alpha: float, scale: Floats | None = None) -> Quadratic:
    """Return alpha/2 ||coefficients||^2 with a free intercept; `scale` (d,) divides the coefficients as stored."""
    strengths = np.full(layout.size, alpha)
    if scale is not None:
        strengths = strengths / scale**2
    if layout.intercept:
        strengths[0] = 0.0
    return Quadratic(strengths)
