"""The softmax loss of K classes with K - 1 linear predictors.

The K logits are C'eta, with the rows of C (K-1, K) orthonormal and each summing to zero (Helmert's contrasts). The
logits of a row then sum to zero, and so do the intercepts and each column's coefficients over the classes: no direction
is left without curvature. A penalty that is the same for every class has the same value in either parametrisation.

The Hessian of a row is diag(p) - pp' in the logits, which is sum over pairs of classes k < l of p_k p_l z z' with
z = C_k - C_l in the predictors: a sum of positive terms, where nothing cancels. Self-concordance holds with the range,
largest less smallest, of the change of a row's logits: |third cumulant| <= range * variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

import numpy as np

from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.models.links import (
    class_contrasts,
    class_logits,
    class_shares,
    class_variances,
    largest_class_range,
)


@dataclass(frozen=True)
class SoftmaxLoss:
    """The negative log likelihood of one of K > 2 classes; labels are 0 .. K-1, eta is (K-1, m)."""

    classes: int
    name: ClassVar[str] = "softmax"
    self_concordance: ClassVar[float] = 1.0
    free_scale: ClassVar[bool] = False
    of_classes: ClassVar[bool] = True
    corners: ClassVar[None] = None

    @property
    def outputs(self) -> int:
        """One less than the classes."""
        return self.classes - 1

    @cached_property
    def contrasts(self) -> Floats:
        """C_k - C_l for each pair of classes, (K-1, K(K-1)/2)."""
        matrix = class_contrasts(self.classes)
        return np.stack([matrix[:, k] - matrix[:, other] for k, other in self._pairs], axis=1)

    @cached_property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        return tuple(combinations(range(self.classes), 2))

    def noise(self, value: float) -> float:
        """Return all of it."""
        return value

    def rise(self, change: Floats, label: Floats) -> Floats:
        """Return how much more each logit gains than the row's own, (K, m)."""
        logits = class_logits(change)
        return logits - logits[label.astype(np.intp), np.arange(len(label))]

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return log(sum_k exp(logit_k)) - logit_y, without cancellation where class y is all but certain."""
        logits = _logits(eta)
        own = logits[label.astype(np.intp), np.arange(len(label))]
        above = logits - own
        above[label.astype(np.intp), np.arange(len(label))] = -np.inf
        largest = np.maximum(above.max(axis=0), 0.0)
        others = np.exp(above - largest).sum(axis=0)
        # log(1 + sum of e^(differences)), the largest difference taken out where it is positive.
        return np.asarray(np.where(largest > 0.0, largest + np.log(np.exp(-largest) + others), np.log1p(others)))

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return C (p - indicator of y), shape (K-1, m)."""
        return np.asarray(class_contrasts(self.classes) @ self._residual(eta, label))

    def curvatures(self, eta: Floats, label: Floats) -> Iterator[Floats]:  # noqa: ARG002 - every loss is called alike
        """Yield p_k p_l for each pair of classes."""
        share = _probabilities(eta)
        for k, other in self._pairs:
            yield share[k] * share[other]

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return the variance of each contrast under the probabilities: the labels have no say in it."""
        share, matrix = _probabilities(eta), class_contrasts(self.classes)
        return np.asarray(np.maximum(matrix**2 @ share - (matrix @ share) ** 2, 0.0))

    def least_curvature(self, eta: Floats, label: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return the least variance of values over the classes whose range is one: p_k p_l / (p_k + p_l).

        The other classes lie where they add nothing, at the mean of the two that are least likely.
        """
        least = np.partition(_probabilities(eta), 1, axis=0)[:2]
        return np.asarray(least[0] * least[1] / np.maximum(least[0] + least[1], 1e-300))

    def reach(self, change: Floats) -> Floats:
        """Return the range of the logits' change, largest less smallest."""
        logits = _logits(change)
        return np.asarray(logits.max(axis=0) - logits.min(axis=0))

    def largest_reach(self, error: Floats) -> Floats:
        """Return twice the largest error of a logit."""
        return largest_class_range(error)

    def slope_change(self, eta: Floats, label: Floats, reach: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return |C| p (1 - p) reach e^reach: p_k moves by p_k (change_k - mean change)."""
        size = class_variances(_probabilities(eta)) * np.exp(reach) * reach
        return np.asarray(np.abs(class_contrasts(self.classes)) @ size)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return |C| |p - y| times what the exponentials, their sum and the contrasts lose, in eighths of a unit."""
        lost = (2.0 * self.reach(eta) + 3.0 * self.classes + 16.0) / 8.0
        return np.asarray(np.abs(class_contrasts(self.classes)) @ (np.abs(self._residual(eta, label)) * lost))

    def null_intercept(self, means: Floats) -> Floats:
        """Return the contrasts of the classes' log shares. Raises NoFiniteOptimum where a class never occurs."""
        if not np.all(means > 0.0):
            raise NoFiniteOptimum(
                f"{int(np.sum(means <= 0.0))} of {self.classes} classes have no row that counts, so their best "
                "intercepts are infinite; the softmax loss needs rows of every class. Leave such classes out.",
                code="class-without-rows",
            )
        return np.asarray(class_contrasts(self.classes) @ np.log(means))

    def indicators(self, label: Floats) -> Floats:
        """Return which class each row has, (K, m)."""
        return np.asarray(label == np.arange(self.classes)[:, None], dtype=np.float64)

    def check_labels(self, label: Floats) -> None:
        """Labels are whole numbers from 0 to K - 1."""
        fits = (label >= 0.0) & (label < self.classes) & (label == np.rint(label))
        if not np.all(fits):
            raise DataError(
                f"A label is {label[~fits][0]!r}; the softmax loss of {self.classes} classes needs whole numbers from "
                f"0 to {self.classes - 1}. Number the classes first.",
                code="label-not-a-class",
            )

    def _residual(self, eta: Floats, label: Floats) -> Floats:
        """Return p - indicator of y; for class y as minus the sum of the others, which does not cancel."""
        residual = _probabilities(eta)
        own, rows = label.astype(np.intp), np.arange(len(label))
        residual[own, rows] = 0.0
        residual[own, rows] = -residual.sum(axis=0)
        return residual


def _logits(eta: Floats) -> Floats:
    """Return the logits of rows that are added up: by a matrix product, many times faster than `class_logits`."""
    return np.asarray(class_contrasts(len(eta) + 1).T @ eta)


def _probabilities(eta: Floats) -> Floats:
    return class_shares(_logits(eta))
