"""Inverse link functions: from the linear predictor to the scale people read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import UNDERFLOW, UNIT_ROUNDOFF


def identity(eta: Floats) -> Floats:
    """Return the linear predictor itself."""
    return eta


def logistic(eta: Floats) -> Floats:
    """Return 1 / (1 + exp(-eta)), without overflow, to full relative precision at both ends."""
    small = np.exp(-np.abs(eta))
    # One where eta is not negative, else exp(eta): a choice by `where` is slow where signs are mixed.
    return np.asarray(np.maximum(small, eta >= 0) / (1.0 + small))


def exponential(eta: Floats) -> Floats:
    """Return exp(eta); infinite above 709."""
    with np.errstate(over="ignore"):
        return np.exp(eta)


@cache
def class_contrasts(classes: int) -> Floats:
    """Return Helmert's contrasts, (K-1, K): orthonormal rows that sum to zero; two classes: (-1, 1) / sqrt(2)."""
    matrix = np.zeros((classes - 1, classes))
    for row in range(1, classes):
        matrix[row - 1, :row] = -1.0
        matrix[row - 1, row] = row
        matrix[row - 1] /= np.sqrt(row * (row + 1.0))
    matrix.setflags(write=False)
    return matrix


def class_logits(eta: Floats) -> Floats:
    """Return the logits of K classes, (K, m), from K-1 predictors (K-1, m); they sum to zero in every row.

    Summed predictor by predictor and not by BLAS: a row's logits have the same bits in whatever batch it comes.
    """
    matrix = class_contrasts(len(eta) + 1)
    logits = np.zeros((len(eta) + 1, eta.shape[1]))
    for weights, values in zip(matrix, eta, strict=True):
        logits += weights[:, None] * values
    return logits


def class_probabilities(eta: Floats) -> Floats:
    """Return the probabilities of K classes, (K, m), from K-1 predictors (K-1, m)."""
    return class_shares(class_logits(eta))


def class_shares(logits: Floats) -> Floats:
    """Return the probabilities of classes from their logits, both (K, m); the logits are overwritten."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def largest_class_range(each: Floats) -> Floats:
    """Return the largest range of the logits' change, (m,), when no predictor changes by more than `each` (K-1, m)."""
    return np.asarray(2.0 * (np.abs(class_contrasts(len(each) + 1)).T @ each).max(axis=0))


def largest_class_form(forms: Floats) -> Floats:
    """Return the largest z'Fz over the differences z = C_k - C_l of two classes, (m,), of forms (K-1, K-1, m)."""
    matrix, outputs = class_contrasts(len(forms) + 1), len(forms)
    largest = np.zeros(forms.shape[2])
    for other in range(1, len(matrix.T)):
        between = matrix[:, :other] - matrix[:, other : other + 1]
        outer = (between[:, None] * between).reshape(outputs**2, -1)
        own = outer.T @ forms.reshape(outputs**2, -1)
        np.maximum(largest, own.max(axis=0), out=largest)
    return largest


def class_variances(share: Floats) -> Floats:
    """Return p (1 - p) of each class, (K, m), with 1 - p as the sum of the others: nothing cancels near one."""
    before = np.cumsum(share, axis=0)[:-1]
    after = np.cumsum(share[::-1], axis=0)[::-1][1:]
    others = np.zeros_like(share)
    others[1:] += before
    others[:-1] += after
    return np.asarray(share * others)


INVERSE_LINKS: dict[str, Callable[[Floats], Floats]] = {
    "squared": identity,
    "huber": identity,
    "logistic": logistic,
    "poisson": exponential,
    "softmax": class_probabilities,
    "gamma": exponential,
    "tweedie": exponential,
}
PROBABILITIES = ("logistic", "softmax")
"""Losses whose response is a probability."""


def response_change(loss: str, eta: Floats, bound: Floats) -> Floats:
    """Return how far the response can move, at most, when the linear predictor moves by at most `bound`, row by row.

    The logarithm of the slope of these responses changes by at most one per unit of the predictor, so the response
    moves by at most slope * (e^bound - 1): exactly that for the exponential, and never more than bound / 4 or 1 for
    the logistic. For classes `eta` is (K-1, m), `bound` is on the range of the logits' change, and the answer on any of
    the probabilities: dp_k = p_k (change_k - mean change) is no more than p_k (1 - p_k) times that range.
    """
    if loss == "softmax":
        share = class_probabilities(eta)
        with np.errstate(over="ignore", invalid="ignore"):
            steepest = class_variances(share).max(axis=0) * np.expm1(np.minimum(bound, 700.0))
        return np.asarray(np.minimum(np.minimum(steepest, 0.25 * bound), 1.0))
    if INVERSE_LINKS[loss] is identity:
        return bound
    with np.errstate(over="ignore", invalid="ignore"):
        if INVERSE_LINKS[loss] is exponential:
            return np.exp(eta) * np.expm1(bound)
        # Not mean * (1 - mean): that is zero from a predictor of 37 on, while the response still moves.
        small = np.exp(-np.abs(eta))
        steepest = small / (1.0 + small) ** 2 * np.expm1(np.minimum(bound, 700.0))
    return np.minimum(np.minimum(steepest, 0.25 * bound), 1.0)


def link_error(loss: str, response: Floats | float, outputs: int = 1) -> Floats | float:
    """Return what computing the link alone can do to a response no larger than the one given.

    An exponential is within four units, sums and quotients are rounded once each; near one that is the last place of
    the float that is returned, however little the exact response still moves.
    """
    if INVERSE_LINKS[loss] is identity:
        return 0.0
    return (7 + outputs) * UNIT_ROUNDOFF * response


def returned_distance(loss: str, eta: Floats, bound: Floats, error: Floats) -> Floats:
    """Return how far the response as computed from `eta` is, at most, from the optimum's, row by row.

    `bound` is on the distance of the exact predictor from the optimum's, as in `response_change`, and `error`, shaped
    as eta, on that of the computed predictor from the exact one (`rounding.predictor_error`).
    """
    response = INVERSE_LINKS[loss](eta)
    if eta.ndim > 1:
        change = response_change(loss, eta, bound + largest_class_range(error))
        own = link_error(loss, response.max(axis=0), len(eta))
    else:
        change = response_change(loss, eta, bound + error)
        own = link_error(loss, response)
    # Twelve digits for the rounding of the bound itself.
    distance = (change + own) * (1.0 + 1e-12) + UNDERFLOW
    return np.asarray(np.minimum(distance, 1.0) if loss in PROBABILITIES else distance)


def largest_returned_distance(loss: str, reach: float, outputs: int) -> float | None:
    """Return the same for every row whose computed predictor is within `reach` of the optimum's; None without a bound.

    Of classes `reach` is on the range of the logits. A mean that is an exponential has no bound that holds everywhere.
    """
    if INVERSE_LINKS[loss] is identity:
        return reach * (1.0 + 1e-12) + UNDERFLOW
    if loss not in PROBABILITIES:
        return None
    # A probability moves most where it crosses one half in the middle: tanh(reach / 4).
    distance = float(np.tanh(0.25 * reach) + link_error(loss, 1.0, outputs)) * (1.0 + 1e-12) + UNDERFLOW
    return min(distance, 1.0)
