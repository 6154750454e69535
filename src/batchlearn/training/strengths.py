"""How strongly each term is penalised: one strength a term, by the generalised Fellner-Schall fixed point.

Wood and Fasiolo 2017: at the optimum for strengths lambda, with H the penalised Hessian of the total loss,

    lambda_j <- phi (rank S_j - lambda_j tr(H^-1 S_j)) / (w' S_j w)

raises the restricted likelihood (REML) at every step. phi is the dispersion: one for classes, estimated for numbers and
counts. Strengths are in total over the rows, so that they mean the same for any number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.objective import Objective
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.smoothing import UnitPenalty
from batchlearn.objectives.statistics import predictor
from batchlearn.solvers.newton import Newton, NewtonState

_UPDATES = 15
_SETTLED = 0.01  # relative change of the effective degrees of freedom
_WEAKEST, _STRONGEST = 1e-4, 1e9
_FIRST_STEPS = 12


@dataclass(frozen=True)
class Term:
    """The coefficients of one term and its penalty at strength one."""

    part: slice
    unit: UnitPenalty


@dataclass(frozen=True)
class Strengths:
    """One strength a term, in total over the rows, and how they were found."""

    values: tuple[float, ...]
    degrees_of_freedom: tuple[float, ...]
    dispersion: float
    updates: int
    rows: int


def penalty(terms: Sequence[Term], strengths: Sequence[float], size: int, total_weight: float) -> Quadratic:
    """Return the penalty of the mean objective over rows of this total weight, for `size` coefficients."""
    diagonal, blocks = np.zeros(size), []
    for term, strength in zip(terms, strengths, strict=True):
        scaled = strength / total_weight
        if term.unit.centre is None and np.count_nonzero(term.unit.matrix) == len(term.unit.matrix):
            diagonal[term.part] = scaled * np.diagonal(term.unit.matrix)
            continue
        matrix = scaled * term.unit.matrix
        blocks.append((term.part, matrix if term.unit.centre is None else matrix + term.unit.centre))
    return Quadratic(diagonal, tuple(blocks))


def find_strengths(loss: Loss, rows: Rows, terms: Sequence[Term]) -> tuple[Strengths, Floats]:
    """Return the strengths that the rows themselves ask for, and the parameters fitted with them."""
    size, weight = rows.layout.size, rows.total_weight
    strengths = [1.0] * len(terms)
    state: NewtonState | None = None
    before, freedom, dispersion, update = np.inf, np.zeros(len(terms)), 1.0, 0
    for update in range(1, _UPDATES + 1):
        objective = Objective(loss, penalty(terms, strengths, size, weight))
        moved = _approach(objective, rows, state)
        if moved is None:
            break
        state = moved
        inverse = state.factor.inverse_hessian / weight  # of the total objective
        traces = np.asarray([float(np.sum(inverse[t.part, t.part] * t.unit.matrix)) for t in terms])
        freedom = np.asarray([t.unit.rank for t in terms]) - np.asarray(strengths) * traces
        total = 1.0 + float(freedom.sum())
        dispersion = _dispersion(loss, rows, state.parameters, total)
        strengths = [
            _update(term, state.parameters, float(free), dispersion)
            for term, free in zip(terms, freedom, strict=True)
        ]
        if abs(total - before) <= _SETTLED * total:
            break
        before = total
    found = Strengths(tuple(strengths), tuple(map(float, freedom)), dispersion, update, len(rows))
    return found, np.zeros(size) if state is None else state.parameters


def _approach(objective: Objective, rows: Rows, state: NewtonState | None) -> NewtonState | None:
    """Move towards the optimum: all the way at first, one step a later update (the next update moves it anyway)."""
    solver = Newton()
    try:
        if state is None:
            state = solver.start(objective, rows, objective.null_parameters(rows))
            for _ in range(_FIRST_STEPS):
                if state.decrement**2 * rows.total_weight < 0.01:
                    break
                state = solver.step(objective, rows, state)
            return state
        return solver.step(objective, rows, solver.start(objective, rows, state.parameters))
    except NotPositiveDefinite:
        return state


def _update(term: Term, parameters: Floats, freedom: float, dispersion: float) -> float:
    values = parameters[term.part]
    size = float(values @ term.unit.matrix @ values)
    return float(np.clip(dispersion * max(freedom, 1e-8) / max(size, 1e-12), _WEAKEST, _STRONGEST))


class _Pearson(NamedTuple):
    total: float


@dataclass(frozen=True)
class _PearsonTotal:
    """The weighted sum of squared residuals over their variance under the loss."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (np.add,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> _Pearson:
        eta = predictor(chunk, parameters)
        slope, curvature = self.loss.slope(eta, chunk.label), self.loss.curvature(eta)
        return _Pearson(float(chunk.weight @ (slope**2 / np.maximum(curvature, 1e-12))))


def _dispersion(loss: Loss, rows: Rows, parameters: Floats, freedom: float) -> float:
    """Return the Pearson estimate of the dispersion; one for classes, whose variance follows from the mean."""
    if loss.name == "logistic":
        return 1.0
    room = max(rows.total_weight - freedom, 1.0)
    return max(rows.total(_PearsonTotal(loss), parameters).total / room, 1e-12)


