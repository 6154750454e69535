"""Refinement of the bound from totals by readings of all rows, each with the true gradient and Hessian at one point."""

from __future__ import annotations

import math

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import DataError
from batchlearn.kernels.rounding import accumulated
from batchlearn.kernels.sums import symmetric
from batchlearn.statistics.totals import Hessian, HessianTotal
from batchlearn.statistics.updates import PointSums, PointSumsTotal, totals_together
from batchlearn.updating.update import BestKnown, Local, Update, UpdateResult, prove

MOST_PASSES = 3
# A step that moves no row further than this needs no shortening.
_SHORT = 0.5


def refine(update: Update, start: UpdateResult, rows: Rows, most: int = MOST_PASSES) -> tuple[UpdateResult, int]:
    """Read all rows until the update is certified, at most `most` times; return where that came to, and how often.

    DataError where `rows` are not the old rows and the new ones: their weights do not add up.
    """
    if abs(rows.total_weight - update.weight) > 1e-9 * update.weight:
        raise DataError(
            f"All rows weigh {rows.total_weight:.12g}; the kept totals and the new rows weigh {update.weight:.12g} "
            "together. Give the rows that the version was trained on and the new ones, no others.",
            code="rows-do-not-add-up",
        )
    reached, passes = start, 0
    while passes < most:
        reached, passes = _read_at(update, reached, rows), passes + 1
        if reached.proof.bounds is not None or passes == most:
            break
        factor, gradient = reached.proof.factor, reached.gradient
        if factor is None or gradient is None:
            break
        step = update.shortened(-factor.solve(gradient), _SHORT)
        reached = reached._replace(parameters=reached.parameters + step)
    return reached, passes


def _read_at(update: Update, before: UpdateResult, rows: Rows) -> UpdateResult:
    """Read all rows at the parameters and prove what follows."""
    loss, penalty, kept = update.objective.loss, update.penalty, update.kept
    parameters, length = before.parameters, rows.additions
    back = kept.parameters - parameters
    with np.errstate(over="ignore", invalid="ignore"):
        read = totals_together(rows, (HessianTotal(loss), PointSumsTotal(loss, back, (1.0,), length)), parameters)
    found, point = Hessian(*read[0]), PointSums(*read[1])
    hessian = symmetric(found.grams[0])
    penalty.add_to(hessian)
    error = point.gradient_error * (1.0 + 1e-9) + accumulated(penalty.terms + 9) * penalty.magnitude(parameters)
    gradient = point.gradient + penalty.gradient(parameters)
    relative = accumulated(length + 28) + math.expm1(min(point.growth, 700.0))
    local = Local(gradient, error + accumulated(4) * np.abs(gradient), 0.0, hessian, relative, 0.9)
    proof = prove(update, local)
    gained = float(point.values[0]) + float(back @ penalty.gradient(parameters + 0.5 * back))
    size = penalty.magnitude(parameters) + penalty.magnitude(kept.parameters)
    doubt = point.error + accumulated(4 * len(back) + 40) * float(size @ np.abs(back))
    weight, left = update.weight, 0.0 if proof.factor is None else proof.factor.solve(gradient)
    lower, upper = max(before.lower, (gained - doubt) / weight * (1.0 - 1e-12)), None
    if proof.bounds is not None:
        upper = max((gained + doubt) / weight, 0.0) * (1.0 + 1e-12) + proof.bounds.loss
    estimate = max((gained + 0.5 * proof.decrement_known**2) / weight, lower)
    return before._replace(
        lower=lower,
        upper=upper,
        estimate=estimate if upper is None else min(estimate, upper),
        proof=proof,
        reach=update.domain.reach(parameters - kept.parameters),
        readings=before.readings + (proof.factor is not None and update.added is not None),
        optimum=BestKnown(parameters - left, hessian),
        gradient=gradient,
    )
