"""The bound from totals: how far a retrain would go, from kept totals and the new rows alone (bounds C6 to C8).

w1 minimises what is known: the old rows' Taylor polynomial, the new rows exactly, the penalty. At w1 the gradient is
known up to the polynomial's remainder, a matrix below the Hessian is known, and no row's leverage there is above the
old bound over mu, the smallest eigenvalue of that matrix against the Hessian that was kept. Where kappa nu < 1 follows,
C1 to C3 hold at w1, and

    change of the polynomial - remainder  <=  F(w0) - F*  <=  change + remainder + C2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from batchlearn.errors import CertificateError
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.kernels.sums import symmetric
from batchlearn.objectives.factor import NotPositiveDefinite, step_factor
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.totals import HessianTotal
from batchlearn.statistics.updates import PointSums, PointSumsTotal, SlopeTotal
from batchlearn.updating.remainder import FAR, Ahead, OldRows, Way
from batchlearn.updating.sufficient_statistics import SufficientStatistics
from batchlearn.updating.update import BestKnown, Local, Update, UpdateResult, joint_error, prove

_REFINEMENTS = 5
# The gradient that is left may cost this much of the room that kappa nu < 1 leaves.
_SETTLED = 1e-2
# Between steps that differ by no more than this for any row, the third-order total need not be contracted anew.
_CLOSE = 0.2
# A step that moves no row further than this is not worth shortening.
_SHORT = 0.3
# So much of the Hessian may be given away to save a reading of the new rows.
_LOST = 0.03
_LENGTHS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)


def bound_from_totals(update: Update) -> UpdateResult:
    """Return how far the update comes without an old row.

    CertificateError where the Hessian of old and new rows has no factor: too much was removed, or there is no penalty.
    """
    old = OldRows(update.kept, update.objective.loss.self_concordance)
    step, readings = _minimise_known(update, old)
    return _bound_at_step(update, old, update.kept.parameters + step, readings)


def bound_at(update: Update, parameters: Floats) -> UpdateResult:
    """Return what is known without an old row at parameters (d,) that came from elsewhere."""
    old = OldRows(update.kept, update.objective.loss.self_concordance)
    return _bound_at_step(update, old, parameters, 1)


def _bound_at_step(update: Update, old: OldRows, parameters: Floats, readings: int) -> UpdateResult:
    # The step to the parameters as they are stored.
    step = parameters - update.kept.parameters
    way = old.way(step)
    point = _sums_at(update, old, way, (1.0, *_shortened(update, old, way)))
    # The most that is certainly gained along the step, in total, and the length where it is (C7).
    lengths = list(point.values)
    gains = [-(sum(old.rise(way.part(t))) + point.values[t]) - point.error for t in lengths]
    gains = [gain if math.isfinite(gain) else -math.inf for gain in gains]
    largest = int(np.argmax(gains))
    lower, best = (gains[largest], lengths[largest]) if gains[largest] > 0.0 else (0.0, 0.0)
    known = -(point.change + point.ahead.rise.change)
    proof, optimum = prove(update, point.local), BestKnown(parameters, point.likely)
    estimate = max(known + 0.5 * proof.decrement_known**2, lower, 0.0)
    weight, upper = update.weight, None
    if proof.bounds is not None:
        most = known + point.error + point.ahead.rise.error
        upper = max(most / weight, 0.0) * (1.0 + 1e-12) + proof.bounds.loss
    elif best != 1.0:
        parameters = update.kept.parameters + best * step
    return UpdateResult(
        parameters=parameters,
        lower=lower / weight * (1.0 - 1e-12),
        upper=upper,
        estimate=estimate / weight if upper is None else min(estimate / weight, upper),
        proof=proof,
        reach=update.domain.reach(parameters - update.kept.parameters),
        readings=readings + point.readings + (proof.factor is not None) if update.added else 0,
        optimum=optimum,
    )


def _shortened(update: Update, old: OldRows, way: Way) -> list[float]:
    """Return the length where most is certainly gained, as the new rows' quadratic has it, and the next shorter one."""
    kept, fresh = update.kept, update.fresh
    if old.constant * update.domain.reach(way.step) <= _SHORT:
        return []
    slope, bend = float(fresh.gradient @ way.step), float(way.step @ (fresh.hessian @ way.step))

    def rise(t: float) -> float:
        new = t * slope + 0.5 * t * t * bend + _penalty_change(update.penalty, kept.parameters, t * way.step)
        return sum(old.rise(way.part(t))) + new

    best = min(range(len(_LENGTHS)), key=lambda k: rise(_LENGTHS[k]))
    return [t for t in _LENGTHS[best : best + 2] if t < 1.0]


def _minimise_known(update: Update, old: OldRows) -> tuple[Floats, int]:
    """Minimise what is known; return the step from w0 there, and how often the new rows were read."""
    kept, penalty, added = update.kept, update.penalty, update.added
    base = kept.totals.hessian + update.fresh.hessian
    penalty.add_to(base)
    try:
        factor = step_factor(base)
    except NotPositiveDefinite as refusal:
        raise CertificateError(
            "Nothing can be said from kept totals: the Hessian of the rows that remain has no safe factor, "
            f"{refusal}. Remove fewer rows, or retrain warm from all rows.",
            code="no-update",
        ) from refusal
    gradient = kept.totals.gradient + update.fresh.gradient + penalty.gradient(kept.parameters)
    solution = factor.solve(gradient)
    way, readings, before = old.way(update.shortened(-solution, 1.0)), 1, math.inf
    last, exact, factored, first = way, way, None, math.sqrt(max(float(gradient @ solution), 0.0))
    for _ in range(_REFINEMENTS):
        # Far away the cubic polynomial need not have a minimum.
        turn = way.turn if way.reach < FAR else None
        gradient = old.slope(way, cubic=turn is not None) + penalty.gradient(kept.parameters + way.step)
        if added is not None:
            (slope,) = added.total(SlopeTotal(update.objective.loss), kept.parameters + way.step)
            gradient += slope
            readings += 1
        solution = factor.solve(gradient)
        left = math.sqrt(max(float(gradient @ solution), 0.0))
        if not left < before:
            # The last step led away: what is known is known where it came from.
            way = last
            break
        if _settled(left, kept):
            break
        if turn is not None and turn is not factored:
            factored = turn
            try:
                factor = step_factor(base + turn)
            except NotPositiveDefinite:
                break
            solution = factor.solve(gradient)
        # What is left falls from step to step by the same factor, and faster once the step is short.
        expected, before, last = left * left / min(before, first), left, way
        step = way.step + update.shortened(-solution, 1.0)
        if old.constant * update.domain.reach(step - exact.step) <= _CLOSE:
            way = old.near(exact, step)
        else:
            way = exact = old.way(step)
        if _settled(expected, kept):
            break
    return way.step, readings


def _settled(left: float, kept: SufficientStatistics) -> bool:
    """Whether so much of a gradient may be left, in the dual norm of the Hessian."""
    return left < _SETTLED and left * math.sqrt(kept.leverage) < _SETTLED


class _KnownSums(NamedTuple):
    """What is known at w0 + s, in sums over all rows, the penalty included."""

    step: Floats
    ahead: Ahead
    local: Local
    values: dict[float, float]  # length -> change of the new rows' loss and the penalty from w0
    change: float  # of the new rows' loss and the penalty from w0 to w0 + s
    error: float  # of any of these
    readings: int  # of the new rows
    likely: Floats  # (d, d): the Hessian there as far as it is known


def _sums_at(update: Update, old: OldRows, way: Way, lengths: tuple[float, ...]) -> _KnownSums:
    kept, penalty, loss, step = update.kept, update.penalty, update.objective.loss, way.step
    parameters = kept.parameters + step
    ahead, bend = old.ahead(way), old.below(way)
    gradient = ahead.gradient + penalty.gradient(parameters)
    error = ahead.gradient_error + accumulated(penalty.terms + 9) * penalty.magnitude(parameters)
    hessian, likely = bend.lower.copy(), bend.likely
    penalty.add_to(hessian)
    penalty.add_to(likely)
    spread, doubt, readings = [(bend.relative, kept.totals.scale)], 0.0, 0
    values = {t: _penalty_change(penalty, kept.parameters, t * step) for t in lengths}
    doubt += accumulated(4 * len(step) + 40) * float(
        (penalty.magnitude(kept.parameters) + penalty.magnitude(parameters)) @ np.abs(step)
    )
    if update.added is not None:
        length = update.added.additions
        # From w1 back: the first length is the way to w0, the others are points between.
        back = tuple(1.0 - t for t in lengths[1:])
        with np.errstate(over="ignore", invalid="ignore"):
            point = update.added.total(PointSumsTotal(loss, -step, (1.0, *back), length), parameters)
        gradient, error = gradient + point.gradient, error + point.gradient_error * (1.0 + 1e-9)
        share, found, more = _fresh_below(update, point, parameters)
        fresh = share * found
        hessian += fresh
        likely += found
        relative = accumulated(length + 24) + math.expm1(min(point.growth, 700.0))
        spread.append((relative, np.diagonal(fresh)))
        here = np.append(0.0, point.values[1:])
        for t, value in zip(lengths, here - point.values[0], strict=True):
            values[t] += float(value)
        doubt, readings = doubt + 2.0 * point.error, 1 + more
    relative = joint_error(hessian, spread)
    rounded = error + accumulated(4) * np.abs(gradient)
    guess = math.exp(-min(ahead.reach, 700.0)) * kept.totals.weight / kept.reference_weight
    local = Local(gradient, rounded, ahead.unknown, hessian, relative, guess)
    return _KnownSums(step, ahead, local, values, values[1.0], doubt, readings, likely)


def _fresh_below(update: Update, point: PointSums, parameters: Floats) -> tuple[float, Floats, int]:
    """Return a share, a matrix (d, d) of which that is at most the new rows' Hessian, and how often they were read.

    The matrix is the Hessian at w0 with the smallest ratio of a row's curvatures, where little is lost by it, and else
    the one at the parameters.
    """
    share = min(point.share * math.exp(-2.0 * min(point.growth, 300.0)), 1.0) * (1.0 - 1e-12)
    if (1.0 - share) * update.fresh.weight <= _LOST * update.weight:
        return share, update.fresh.hessian, 0
    assert update.added is not None
    with np.errstate(over="ignore", invalid="ignore"):
        found = update.added.total(HessianTotal(update.objective.loss), parameters)
    return 1.0, symmetric(found.grams[0]), 1


def _penalty_change(penalty: Quadratic, start: Floats, step: Floats) -> float:
    return float(step @ penalty.gradient(start + 0.5 * step))
