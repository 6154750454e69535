"""Which effects of a model stand out: what a reader looks at first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batchlearn.data.encoding import LevelTerm
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel


class Effect(NamedTuple):
    """One effect on the linear predictor: of one unit of a number, or of a level against its column's mean level."""

    name: str
    estimate: float
    error: float | None  # standard error


def strongest_effects(model: LinearModel, most: int) -> list[Effect]:
    """Return the effects with the largest ratio to their standard errors, or the largest where errors are not known.

    A level's own coefficient is known only up to what the intercept may take over, so levels are set against the mean
    of the levels of their column, whose error is free of that.
    """
    estimates, errors = _contrasts(model)
    units = model.encoding.units
    strength = np.abs(estimates) if errors is None else np.abs(estimates) / np.maximum(errors, np.finfo(float).tiny)
    order = 1 + np.argsort(-strength[1:], kind="stable")[:most]
    return [
        Effect(
            model.encoding.names[place],
            float(estimates[place] / units[place]),
            None if errors is None else float(errors[place] / units[place]),
        )
        for place in order
    ]


def _contrasts(model: LinearModel) -> tuple[Floats, Floats | None]:
    """Return estimates and standard errors (coefficients,), in the units of the encoding."""
    estimates = model.parameters.copy()
    inverse = None if model.bounds is None else model.bounds.inverse
    errors = model.standard_errors
    variances = None
    if errors is not None and inverse is not None and inverse[0, 0] > 0.0:
        variances = np.diag(inverse) * (errors[0] ** 2 / inverse[0, 0])
    start = model.encoding.layout.lead
    for group in model.encoding.groups:
        stop = start + len(group.names)
        levels = len(group.names) + (group.reference is not None)
        estimates[start:stop] -= model.parameters[start:stop].sum() / levels
        if variances is not None and errors is not None and inverse is not None:
            block = inverse[start:stop, start:stop]
            spread = np.diag(block) - 2.0 * block.sum(axis=1) / levels + block.sum() / levels**2
            variances[start:stop] = np.maximum(spread, 0.0) * (errors[0] ** 2 / inverse[0, 0])
        start = stop
    if variances is not None:
        return estimates, np.sqrt(variances)
    # Without the covariances only numbers have an error that means something; with levels, none is better than wrong.
    return estimates, None if any(isinstance(group, LevelTerm) for group in model.encoding.groups) else errors
