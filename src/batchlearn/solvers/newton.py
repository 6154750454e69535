"""Newton's method with a Cholesky factor, safe from any start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor
from batchlearn.objectives.objective import Expansion, Objective
from batchlearn.objectives.statistics import LineTotal

_LENGTHS = tuple(0.5**k for k in range(1, 9))
# Of a loss with corners no length is sure: a descent direction has one, and the next corner may be near.
_CORNERED = tuple(0.5**k for k in range(1, 41))


class NewtonState(NamedTuple):
    """The point, the objective around it, and the factor of its Hessian."""

    parameters: Floats
    expansion: Expansion
    factor: Factor
    passes: int  # readings of all rows so far

    @property
    def decrement(self) -> float:
        """sqrt(g' H^-1 g), without the rounding of the gradient."""
        return self.factor.norm(self.expansion.gradient)


@dataclass(frozen=True)
class Newton:
    """w - H^-1 g, shortened where the objective does not fall by what the decrement promises.

    The shorter step is the best of a few lengths, all tried in one reading. One of them is sure to lower a generalised
    self-concordant objective from any point: ln(1 + a) / a, a the largest change of a row's predictor (Sun and
    Tran-Dinh 2019).
    """

    name: ClassVar[str] = "newton-cholesky"
    needs_all_rows: ClassVar[bool] = True

    def start(self, objective: Objective, rows: Rows, parameters: Floats) -> NewtonState:
        """Expand the objective at the start. Raises NotPositiveDefinite."""
        expansion = objective.expand(rows, parameters)
        return NewtonState(parameters, expansion, objective.factor(expansion), 1)

    def step(self, objective: Objective, rows: Rows, state: NewtonState) -> NewtonState:
        """Return the state after one step. Raises NotPositiveDefinite where the new Hessian cannot be factored."""
        direction = -state.factor.solve(state.expansion.gradient)
        passes = state.passes
        if objective.quadratic:
            return self._refine(objective, rows, state, state.parameters + direction)
        promise = 0.25 * float(-(state.expansion.gradient @ direction))
        with np.errstate(over="ignore", invalid="ignore"):
            moved = objective.expand(rows, state.parameters + direction)
        passes += 1
        slack = 4e-15 * (1.0 + abs(state.expansion.value))
        if math.isfinite(moved.value) and moved.value <= state.expansion.value - promise + slack:
            factor = objective.factor(moved)
            return NewtonState(state.parameters + direction, moved, factor, passes)
        length = self._length(objective, rows, state, direction)
        return self._move(objective, rows, state.parameters + length * direction, passes + 1)

    @staticmethod
    def _length(objective: Objective, rows: Rows, state: NewtonState, direction: Floats) -> float:
        corners = objective.loss.self_concordance == 0.0
        lengths = _CORNERED if corners else _LENGTHS
        with np.errstate(over="ignore", invalid="ignore"):
            line = rows.total(LineTotal(objective.loss, direction, lengths), state.parameters)
        penalties = [objective.penalty.value(state.parameters + length * direction) for length in lengths]
        values = line.values / rows.total_weight + penalties
        best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
        if corners:
            return lengths[best]
        reach = line.reach * objective.loss.self_concordance
        sure = math.log1p(reach) / reach if reach > 0.0 else 1.0
        return max(lengths[best], sure) if values[best] < state.expansion.value else sure

    @staticmethod
    def _move(objective: Objective, rows: Rows, parameters: Floats, passes: int) -> NewtonState:
        expansion = objective.expand(rows, parameters)
        return NewtonState(parameters, expansion, objective.factor(expansion), passes + 1)

    @staticmethod
    def _refine(objective: Objective, rows: Rows, state: NewtonState, parameters: Floats) -> NewtonState:
        """Move where the Hessian is the same everywhere: a gradient is enough, and steps refine each other."""
        value, gradient = objective.gradient(rows, parameters)
        expansion = state.expansion._replace(value=value, gradient=gradient)
        return NewtonState(parameters, expansion, state.factor, state.passes + 1)
