"""How strongly each term is penalised: one strength a term, by the generalised Fellner-Schall fixed point.

Wood and Fasiolo 2017: at the optimum for strengths lambda, with H the penalised Hessian of the total loss,

    lambda_j <- phi (rank S_j - lambda_j tr(H^-1 S_j)) / (w' S_j w)

raises the restricted likelihood (REML) at every step. phi is the dispersion: one for classes, estimated for numbers,
counts and amounts. Strengths are in total over the rows, so that they mean the same for any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Penalty, Quadratic
from batchlearn.objectives.penalties.smoothing import UnitPenalty
from batchlearn.statistics.dispersion import pearson_dispersion
from batchlearn.statistics.objective import Expansion, Objective

_UPDATES = 15
_SETTLED = 0.01  # relative change of the effective degrees of freedom
_WEAKEST, _STRONGEST = 1e-4, 1e9
_FIRST_STEPS = 12
_LENGTHS = 0.5, 6.0  # of the step of the fixed point
_HALVINGS = 8
# Of the total loss over the dispersion: what a coefficient without effect gains, before the first update, whose
# strengths nobody asked for; then a hundredth of that.
_FIRST_NEAR, _NEAR = 1.0, 0.01


@dataclass(frozen=True)
class PenalisedTerm:
    """The coefficients of one term and its penalty at strength one."""

    part: slice
    unit: UnitPenalty


@dataclass(frozen=True)
class PenaltySelection:
    """One strength a term, in total over the rows, and how they were found."""

    values: tuple[float, ...]
    degrees_of_freedom: tuple[float, ...]
    dispersion: float
    updates: int
    rows: int


def penalty(
    terms: Sequence[PenalisedTerm], strengths: Sequence[float] | Floats, size: int, outputs: int = 1
) -> Penalty:
    """Return the penalty of terms, for `size` coefficients an output: strengths are in total, centres per row."""
    diagonal, blocks = np.zeros(size), []
    for term, strength in zip(terms, strengths, strict=True):
        if term.unit.centre is None and np.count_nonzero(term.unit.matrix) == len(term.unit.matrix):
            diagonal[term.part] = strength * np.diagonal(term.unit.matrix)
        else:
            blocks.append((term.part, strength * term.unit.matrix))
    centres = [(term.part, term.unit.centre) for term in terms if term.unit.centre is not None]
    return Penalty(
        Quadratic(np.tile(diagonal, outputs), _repeated(blocks, size, outputs)),
        Quadratic(np.zeros(outputs * size), _repeated(centres, size, outputs)),
    )


def _repeated(blocks: Sequence[tuple[slice, Floats]], size: int, outputs: int) -> tuple[tuple[slice, Floats], ...]:
    return tuple(
        (slice(part.start + k * size, part.stop + k * size), matrix) for k in range(outputs) for part, matrix in blocks
    )


class _PenalisedPoint(NamedTuple):
    """Parameters, the loss around them without any penalty, and the factor of the penalised Hessian."""

    parameters: Floats
    data: Expansion
    value: float  # penalised
    factor: Factor


def select_penalties(
    loss: Loss, rows: Rows, terms: Sequence[PenalisedTerm], start: tuple[Sequence[float], Floats] | None = None
) -> tuple[PenaltySelection, Floats]:
    """Return the strengths that the rows themselves ask for, and the parameters fitted with them.

    `start` gives strengths of the terms and parameters (d,) to begin with. Each update reads the rows once: the
    loss's own expansion does not depend on the strengths.
    """
    given, rows = len(rows), rows.deduplicate()
    size, weight = rows.layout.size, rows.total_weight
    free = Objective(loss, Quadratic(np.zeros(size)))
    strengths, parameters = begin(free, rows, len(terms), start)
    data = free.expand(rows, parameters)
    freedom, update, here, asked = np.full(len(terms), np.inf), 0, None, strengths
    dispersion = pearson_dispersion(loss, rows, parameters, 1.0)
    for update in range(1, _UPDATES + 1):
        now = penalty(terms, strengths, size).over(weight)
        try:
            most, near = (_FIRST_STEPS, _FIRST_NEAR) if update == 1 else (1, _NEAR)
            point = _approach(free, rows, now, (parameters, data), most, near * dispersion)
        except NotPositiveDefinite:
            if strengths is asked:
                break
            strengths = asked  # the longer step went where nothing can be vouched for
            continue
        parameters, data = point.parameters, point.data
        freedom_before, ranks = freedom, np.asarray([t.unit.rank for t in terms])
        freedom = ranks - strengths * _traces(point.factor, terms) / weight
        dispersion = pearson_dispersion(loss, rows, parameters, 1.0 + float(freedom.sum()))
        asked = np.asarray(
            [
                bounded_strength(dispersion * float(f), float(values @ t.unit.matrix @ values), dispersion)
                for t, f, values in zip(terms, freedom, (parameters[t.part] for t in terms), strict=True)
            ]
        )
        if settled(freedom, freedom_before):
            break
        point_before, here = here, FixedPoint(np.log(strengths), np.log(asked) - np.log(strengths))
        strengths = here.next_strengths(point_before)
    found = np.where(np.isfinite(freedom), freedom, 0.0)
    return PenaltySelection(tuple(map(float, asked)), tuple(map(float, found)), dispersion, update, given), parameters


def begin(
    free: Objective, rows: Rows, terms: int, start: tuple[Sequence[float], Floats] | None
) -> tuple[Floats, Floats]:
    """Return the strengths and the parameters that a search begins with: of a start that is better than no model."""
    null = free.null_parameters(rows)
    if start is None:
        return np.ones(terms), null
    better = free.value(rows, start[1]) <= free.value(rows, null)
    return np.asarray(start[0]), start[1] if better else null


def _approach(
    free: Objective, rows: Rows, now: Quadratic, start: tuple[Floats, Expansion], steps: int, near: float
) -> _PenalisedPoint:
    """Take Newton steps towards the penalised optimum, shortened where the objective does not fall.

    They end where a step promises less than `near` of the total loss. The factor returned is that of the last step: the
    point it leads to is so near that a factor of its own would say the same.
    """
    parameters, data = start
    point = _at(parameters, data, now, rows.threads)
    for taken in range(steps):
        if taken:
            point = _at(point.parameters, point.data, now, rows.threads)
        gradient = point.data.gradient + now.gradient(point.parameters)
        step = -point.factor.solve(gradient)
        if float(-(gradient @ step)) * rows.total_weight < near:
            break
        for _ in range(_HALVINGS):
            with np.errstate(over="ignore", invalid="ignore"):
                moved = free.expand(rows, point.parameters + step)
            if moved.value + now.value(point.parameters + step) <= point.value + 1e-12 * abs(point.value):
                value = moved.value + now.value(point.parameters + step)
                point = _PenalisedPoint(point.parameters + step, moved, value, point.factor)
                break
            step = 0.3 * step
        else:
            break
    return point


def _at(parameters: Floats, data: Expansion, now: Quadratic, threads: int) -> _PenalisedPoint:
    hessian = data.hessian.copy()
    now.add_to(hessian)
    return _PenalisedPoint(parameters, data, data.value + now.value(parameters), factorise(hessian, 0.0, threads))


def _traces(factor: Factor, terms: Sequence[PenalisedTerm]) -> Floats:
    """Return tr(H^-1 S) of each term, from the rows of the factor's inverse that the term needs."""
    found = []
    for term in terms:
        columns = factor.inverse[term.part.start :, term.part] / factor.diagonal[term.part]
        found.append(float(np.sum((columns @ term.unit.matrix) * columns)))
    return np.asarray(found)


class FixedPoint(NamedTuple):
    """Where an update of the strengths stood and what it asked for: logarithms of the terms, (terms,)."""

    at: Floats
    step: Floats

    def next_strengths(self, before: FixedPoint | None) -> Floats:
        """Return the strengths of the next update: the step, longer by what the last one left undone.

        An update goes a part of the way only. Which part the change of the step since the last update tells, term by
        term: the secant method.
        """
        longer = np.ones(len(self.at))
        if before is not None:
            moved, done = self.at - before.at, before.step - self.step
            np.divide(moved, done, out=longer, where=moved * done > 0.0)
        return np.asarray(np.clip(np.exp(self.at + longer.clip(*_LENGTHS) * self.step), _WEAKEST, _STRONGEST))


def settled(freedom: Floats, before: Floats) -> bool:
    """Whether the effective degrees of freedom of the terms (terms,) have stopped to change."""
    return bool(np.abs(freedom - before).sum() <= _SETTLED * (1.0 + freedom.sum()))


def bounded_strength(wanted: float, size: float, dispersion: float = 1.0) -> float:
    """Return the next strength of a term: what its freedom, times the dispersion, asks for over w'Sw."""
    # In a quotient both have the square of the labels' unit: a floor of its own for either would have a unit too.
    wanted = max(wanted, 1e-8 * dispersion)
    return _STRONGEST if wanted >= size * _STRONGEST else max(wanted / size, _WEAKEST)
