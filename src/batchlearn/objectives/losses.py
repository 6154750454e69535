"""Losses of one row as functions of its linear predictor, with their first two derivatives.

Each is convex and generalised self-concordant: |third derivative| <= constant * second derivative (Bach 2010; Sun and
Tran-Dinh 2019). That constant is all the certificate needs to know about a loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Protocol

import numpy as np

from batchlearn.data.target import Target
from batchlearn.errors import DataError, NoFiniteOptimum, quoted
from batchlearn.kernels.design import Floats
from batchlearn.models.links import logistic
from batchlearn.objectives.softmax import SoftmaxLoss


class Loss(Protocol):
    """The loss phi(eta, y) of one row; arrays have one entry a row.

    With more than one output a row has a vector of linear predictors: `eta` and `slope` are then (outputs, m). The
    second derivative of a row is sum_p c_p z_p z_p' with the columns z_p of `contrasts` (outputs, p), and c_p > 0: one
    contrast, 1, where there is one output. How far a row moves is measured by `reach`, and so is self-concordance.
    """

    name: ClassVar[str]
    self_concordance: ClassVar[float]

    @property
    def outputs(self) -> int:
        """Linear predictors a row has."""
        ...

    @property
    def contrasts(self) -> Floats:
        """The directions in the space of predictors whose squares make up the curvature, (outputs, contrasts)."""
        ...

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return phi >= 0."""
        ...

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return the derivative of phi with respect to eta."""
        ...

    def curvatures(self, eta: Floats) -> Iterator[Floats]:
        """Yield c_p, shape (m,), for each contrast."""
        ...

    def least_curvature(self, eta: Floats) -> Floats:
        """Return the least curvature of each row along a direction of unit reach, shape (m,)."""
        ...

    def reach(self, change: Floats) -> Floats:
        """Return the reach of a change of the predictors, shape (m,)."""
        ...

    def largest_reach(self, error: Floats) -> Floats:
        """Return the largest reach, (m,), of any change with entries no larger than `error` (as eta)."""
        ...

    def slope_change(self, eta: Floats, reach: Floats) -> Floats:
        """Return what the slope can change by, as eta, when the predictors move by no more than `reach` (m,)."""
        ...

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return the size of the largest number met while the slope is computed: its rounding error scales with it."""
        ...

    def null_intercept(self, means: Floats) -> Floats:
        """Return the eta (outputs,) that is best for all rows at once when the means of `indicators` are these."""
        ...

    def indicators(self, label: Floats) -> Floats:
        """Return what of the labels the best intercept depends on, (numbers, m)."""
        ...

    def check_labels(self, label: Floats) -> None:
        """Refuse labels that this loss has no meaning for: DataError."""
        ...


class OneOutput:
    """What follows from `curvature`, the second derivative with respect to the one predictor, for losses of one."""

    self_concordance: ClassVar[float]
    outputs: ClassVar[int] = 1
    contrasts: ClassVar[Floats] = np.ones((1, 1))

    def curvature(self, eta: Floats) -> Floats:
        """Return the second derivative of phi with respect to eta; it does not depend on the label."""
        raise NotImplementedError

    def curvatures(self, eta: Floats) -> Iterator[Floats]:
        """Yield the curvature."""
        yield self.curvature(eta)

    def least_curvature(self, eta: Floats) -> Floats:
        """Return the curvature."""
        return self.curvature(eta)

    def reach(self, change: Floats) -> Floats:
        """Return the size of the change."""
        return np.abs(change)

    def largest_reach(self, error: Floats) -> Floats:
        """Return the error itself."""
        return error

    def slope_change(self, eta: Floats, reach: Floats) -> Floats:
        """Return curvature * reach * e^reach: the curvature grows by no more than that on the way."""
        return self.curvature(eta) * np.exp(self.self_concordance * reach) * reach

    def indicators(self, label: Floats) -> Floats:
        """Return the labels: their mean is enough."""
        return label[None]


class SquaredLoss(OneOutput):
    """Half the squared error: (y - eta)^2 / 2."""

    name: ClassVar[str] = "squared"
    self_concordance: ClassVar[float] = 0.0

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return (y - eta)^2 / 2."""
        return 0.5 * (label - eta) ** 2

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return eta - y."""
        return eta - label

    def curvature(self, eta: Floats) -> Floats:
        """Return one."""
        return np.ones_like(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return |eta - y|: the difference of two floats is exact to half a unit in its last place."""
        return np.abs(eta - label)

    def null_intercept(self, means: Floats) -> Floats:
        """Return the mean."""
        return means

    def check_labels(self, label: Floats) -> None:
        """Every finite number is a label."""


class LogisticLoss(OneOutput):
    """The negative log likelihood of a class in {0, 1} whose log odds are eta."""

    name: ClassVar[str] = "logistic"
    self_concordance: ClassVar[float] = 1.0

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return log(1 + exp(-eta)) for y = 1 and log(1 + exp(eta)) for y = 0."""
        signed = np.where(label > 0.5, -eta, eta)
        return np.maximum(signed, 0.0) + np.log1p(np.exp(-np.abs(signed)))

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return p - y, without the cancellation when p is near y."""
        positive = label > 0.5
        other = logistic(np.where(positive, -eta, eta))
        return np.where(positive, -other, other)

    def curvature(self, eta: Floats) -> Floats:
        """Return p (1 - p)."""
        small = np.exp(-np.abs(eta))
        return small / (1.0 + small) ** 2

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return |p - y|: nothing cancels."""
        return np.abs(self.slope(eta, label))

    def null_intercept(self, means: Floats) -> Floats:
        """Return the log odds of the mean. Raises NoFiniteOptimum where one class never occurs."""
        mean = float(means[0])
        if not 0.0 < mean < 1.0:
            raise NoFiniteOptimum(
                f"Every label that counts is {mean:g}, so the best intercept is infinite; the logistic loss needs rows "
                "of both classes. Check the label column and the filter of the rows.",
                code="one-class",
            )
        return np.asarray([math.log(mean) - math.log1p(-mean)])

    def check_labels(self, label: Floats) -> None:
        """Labels are 0 and 1."""
        extra = label[(label != 0.0) & (label != 1.0)]
        if extra.size:
            raise DataError(
                f"A label is {extra[0]!r}; the logistic loss needs 0 and 1. Map the two classes to 0 and 1 first.",
                code="label-not-binary",
            )


class PoissonLoss(OneOutput):
    """Half the Poisson deviance of a count y whose mean is exp(eta)."""

    name: ClassVar[str] = "poisson"
    self_concordance: ClassVar[float] = 1.0

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) - y eta - y + y log y, which is zero where exp(eta) = y."""
        with np.errstate(over="ignore"):
            positive = label > 0.0
            # y (e^d - 1 - d) with d = eta - log y: the terms of the textbook form cancel where counts are large.
            count = np.where(positive, label, 1.0)
            distance = eta - np.log(count)
            return np.where(positive, count * np.maximum(np.expm1(distance) - distance, 0.0), np.exp(eta))

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) - y."""
        with np.errstate(over="ignore"):
            return np.exp(eta) - label

    def curvature(self, eta: Floats) -> Floats:
        """Return exp(eta)."""
        with np.errstate(over="ignore"):
            return np.exp(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) + y: their difference may cancel."""
        with np.errstate(over="ignore"):
            return np.exp(eta) + label

    def null_intercept(self, means: Floats) -> Floats:
        """Return the logarithm of the mean. Raises NoFiniteOptimum where every count is zero."""
        mean = float(means[0])
        if not mean > 0.0:
            raise NoFiniteOptimum(
                "Every label that counts is 0, so the best intercept is minus infinity; the Poisson loss needs a row "
                "with a count above 0. Check the label column and the filter of the rows.",
                code="all-counts-zero",
            )
        return np.asarray([math.log(mean)])

    def check_labels(self, label: Floats) -> None:
        """Labels are counts or rates: not negative."""
        negative = label[label < 0]
        if negative.size:
            raise DataError(
                f"A label is {quoted(negative[0])}; the Poisson loss needs counts of 0 or more. "
                "Use --loss squared for numbers that may be negative.",
                code="label-negative",
            )


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (SquaredLoss(), LogisticLoss(), PoissonLoss())}


def loss_of(target: Target) -> Loss:
    """Return the loss that a target is learned with."""
    return SoftmaxLoss(len(target.classes)) if target.loss == SoftmaxLoss.name else LOSSES[target.loss]
