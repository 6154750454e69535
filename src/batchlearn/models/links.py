"""Inverse link functions: from the linear predictor to the scale people read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from batchlearn.kernels.design import Floats


def identity(eta: Floats) -> Floats:
    """Return the linear predictor itself."""
    return eta


def logistic(eta: Floats) -> Floats:
    """Return 1 / (1 + exp(-eta)), without overflow, to full relative precision at both ends."""
    small = np.exp(-np.abs(eta))
    return np.asarray(np.where(eta >= 0, 1.0, small) / (1.0 + small))


def exponential(eta: Floats) -> Floats:
    """Return exp(eta); infinite above 709."""
    with np.errstate(over="ignore"):
        return np.exp(eta)


INVERSE_LINKS: dict[str, Callable[[Floats], Floats]] = {
    "squared": identity,
    "huber": identity,
    "logistic": logistic,
    "poisson": exponential,
    "gamma": exponential,
    "tweedie": exponential,
}


def response_change(loss: str, eta: Floats, bound: Floats) -> Floats:
    """Return how far the response can move, at most, when the linear predictor moves by at most `bound`, row by row.

    The logarithm of the slope of these responses changes by at most one per unit of the predictor, so the response
    moves by at most slope * (e^bound - 1): exactly that for the exponential, and never more than bound / 4 or 1 for
    the logistic.
    """
    if INVERSE_LINKS[loss] is identity:
        return bound
    with np.errstate(over="ignore", invalid="ignore"):
        if INVERSE_LINKS[loss] is exponential:
            return np.exp(eta) * np.expm1(bound)
        # Not mean * (1 - mean): that is zero from a predictor of 37 on, while the response still moves.
        small = np.exp(-np.abs(eta))
        steepest = small / (1.0 + small) ** 2 * np.expm1(np.minimum(bound, 700.0))
    return np.minimum(np.minimum(steepest, 0.25 * bound), 1.0)
