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
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.models.links import logistic
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.objectives.losses.log_link import GammaLoss, PoissonLoss, TweedieLoss
from batchlearn.objectives.losses.one_output import OneOutput, check_squares
from batchlearn.objectives.losses.softmax import SoftmaxLoss


class Loss(Protocol):
    """The loss phi(eta, y) of one row; arrays have one entry a row.

    With more than one output a row has a vector of linear predictors: `eta` and `slope` are then (outputs, m). The
    second derivative of a row is sum_p c_p z_p z_p' with the columns z_p of `contrasts` (outputs, p), and c_p > 0: one
    contrast, 1, where there is one output. How far a row moves is measured by `reach`, and so is self-concordance.
    """

    name: ClassVar[str]
    self_concordance: ClassVar[float]
    free_scale: ClassVar[bool]  # whether the labels' variance has a scale that the mean says nothing about
    of_classes: ClassVar[bool]  # whether labels are classes, and the response their probabilities

    @property
    def outputs(self) -> int:
        """Linear predictors a row has."""
        ...

    @property
    def contrasts(self) -> Floats:
        """The directions in the space of predictors whose squares make up the curvature, (outputs, contrasts)."""
        ...

    @property
    def corners(self) -> HuberLoss | None:
        """The loss itself where its curvature jumps somewhere."""
        ...

    def noise(self, value: float) -> float:
        """Return what of a mean loss speaks of the noise of the labels."""
        ...

    def rise(self, change: Floats, label: Floats) -> Floats:
        """Return how each row's loss goes in the end along a change of its predictors, (..., m): up where positive."""
        ...

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return phi >= 0."""
        ...

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return the derivative of phi with respect to eta."""
        ...

    def curvatures(self, eta: Floats, label: Floats) -> Iterator[Floats]:
        """Yield c_p, shape (m,), for each contrast."""
        ...

    def least_curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return the least curvature of each row along a direction of unit reach, shape (m,)."""
        ...

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return the mean of the curvature over labels whose mean is what eta says, as eta; of each output alone."""
        ...

    def reach(self, change: Floats) -> Floats:
        """Return the reach of a change of the predictors, shape (m,)."""
        ...

    def largest_reach(self, error: Floats) -> Floats:
        """Return the largest reach, (m,), of any change with entries no larger than `error` (as eta)."""
        ...

    def slope_change(self, eta: Floats, label: Floats, reach: Floats) -> Floats:
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


class SquaredLoss(OneOutput):
    """Half the squared error: (y - eta)^2 / 2."""

    name: ClassVar[str] = "squared"
    self_concordance: ClassVar[float] = 0.0
    free_scale: ClassVar[bool] = True

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return (y - eta)^2 / 2."""
        return 0.5 * (label - eta) ** 2

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return eta - y."""
        return eta - label

    def curvature(self, eta: Floats, label: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return one."""
        return np.ones_like(eta)

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return one."""
        return np.ones_like(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return |eta - y|: the difference of two floats is exact to half a unit in its last place."""
        return np.abs(eta - label)

    def null_intercept(self, means: Floats) -> Floats:
        """Return the mean."""
        return means

    def check_labels(self, label: Floats) -> None:
        """Labels are numbers whose squares are."""
        check_squares(label)


class LogisticLoss(OneOutput):
    """The negative log likelihood of a class in {0, 1} whose log odds are eta."""

    name: ClassVar[str] = "logistic"
    self_concordance: ClassVar[float] = 1.0
    free_scale: ClassVar[bool] = False
    of_classes: ClassVar[bool] = True

    def rise(self, change: Floats, label: Floats) -> Floats:
        """Return the change away from the label."""
        return np.where(label > 0.5, -change, change)

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return log(1 + exp(-eta)) for y = 1 and log(1 + exp(eta)) for y = 0."""
        signed = (1.0 - 2.0 * label) * eta
        # In place: fresh memory for a chunk of rows costs as much as the arithmetic.
        small = np.abs(signed)
        np.log1p(np.exp(np.negative(small, out=small), out=small), out=small)
        small += np.maximum(signed, 0.0, out=signed)
        return small

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return p - y, without the cancellation when p is near y."""
        sign = 1.0 - 2.0 * label
        return np.asarray(sign * logistic(sign * eta))

    def curvature(self, eta: Floats, label: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return p (1 - p), whatever the label."""
        return self.expected_curvature(eta)

    def expected_curvature(self, eta: Floats) -> Floats:
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


# Smooth losses by name, of the default power where they have one.
LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (SquaredLoss(), LogisticLoss(), PoissonLoss(), GammaLoss(), TweedieLoss())
}


def loss_of(target: Target) -> Loss:
    """Return the loss that a target is learned with."""
    return named_loss(target.loss, target.power, target.threshold, len(target.classes))


def named_loss(name: str, power: float | None = None, threshold: float | None = None, classes: int = 2) -> Loss:
    """Return a loss by its name; `power` is the Tweedie loss's own, `threshold` the Huber loss's.

    The logistic loss of more than two classes is the softmax loss.
    """
    if classes > 2:
        return SoftmaxLoss(classes)
    if threshold is not None:
        return HuberLoss(threshold)
    return LOSSES[name] if power is None else TweedieLoss(power)
