"""L-BFGS for more coefficients than a factor can hold (Liu and Nocedal 1989; Nocedal and Wright 2006, chapter 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import FACTOR_LIMIT
from batchlearn.solvers import Distance, ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.preconditioner import SampledPreconditioner, centred_diagonal, preconditioner
from batchlearn.statistics.lower_bound import LowerBound
from batchlearn.statistics.objective import Objective

# Hager and Zhang 2005: near the optimum function values cannot tell a better point from a worse one, slopes can.
_ARMIJO, _CURVATURE = 1e-4, 0.9
_HALVINGS = 30
# Steps without a lower value (beyond rounding) or a gradient smaller by a tenth than any before: the floor.
_IDLE_STEPS = 30
# Steps after which the curvature of classes, which falls as they come apart, is taken anew.
_RENEWED = (5, 15, 45, 135, 405, 1215)


class LimitedMemoryState(NamedTuple):
    """The point, its gradient, and the last steps, gradient changes y and M^-1 y."""

    parameters: Floats
    value: float
    gradient: Floats
    solved: Floats  # M^-1 g, M the preconditioner
    pairs: tuple[tuple[Floats, Floats, Floats], ...]
    preconditioner: SampledPreconditioner
    lower: LowerBound | None  # on the Hessian at the start, where that was read there
    passes: int
    stuck: bool  # no step lowers the objective any more
    smallest: float  # the least g' M^-1 g so far
    scale: float = 1.0  # of M^-1, from the last pair
    idle: int = 0  # steps since anything got better
    steps: int = 0

    @property
    def delivered(self) -> Floats:
        """The point."""
        return self.parameters


@dataclass(frozen=True)
class LimitedMemory(Solver["LimitedMemoryState"]):
    """L-BFGS, preconditioned by the Hessian's diagonal about the mean row at the start; of classes by their blocks."""

    memory: int = 20
    renewed: tuple[int, ...] = _RENEWED
    name: ClassVar[str] = "l-bfgs"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ALL
    most_passes: ClassVar[float] = 20_000.0

    def start(
        self,
        objective: Objective,
        rows: Rows,
        parameters: Floats,
        reading: ReadingPlan | None = None,  # noqa: ARG002 - it reads all rows
        *,
        found: SampledPreconditioner | None = None,
    ) -> LimitedMemoryState:
        """Return the state before the first step, with the preconditioner found before where one is given."""
        lower, passes = None, 2
        if found is None and objective.loss.outputs == 1:
            value, gradient, diagonal, known = objective.around(rows, parameters)
            found = centred_diagonal(objective, diagonal, known, intercept=rows.layout.intercept)
            lower = LowerBound(objective.loss, objective.penalty, known, rows.layout.intercept)
        else:
            value, gradient = objective.gradient(rows, parameters)
            found = found or preconditioner(objective, rows, parameters)
        solved = found.solve(gradient)
        return LimitedMemoryState(
            parameters, value, gradient, solved, (), found, lower, passes, False, smallest=float(gradient @ solved)
        )

    def step(self, objective: Objective, rows: Rows, state: LimitedMemoryState) -> LimitedMemoryState:
        """Return the state after one step, `stuck` where rounding hides any further fall."""
        if state.steps in self.renewed and objective.loss.outputs > 1:
            renewed = preconditioner(objective, rows, state.parameters)
            # Pairs from where the curvature was another spoil what the new blocks know.
            state = state._replace(
                preconditioner=renewed,
                solved=renewed.solve(state.gradient),
                pairs=(),
                scale=1.0,
                smallest=np.inf,
                passes=state.passes + 1,
            )
        direction = -self._direction(state)
        slope = float(state.gradient @ direction)
        if not slope < 0.0:
            return state._replace(stuck=True)
        length, low, high, passes = 1.0, 0.0, np.inf, state.passes
        for _ in range(_HALVINGS):
            parameters = state.parameters + length * direction
            value, gradient = objective.gradient(rows, parameters)
            passes += 1
            after = float(gradient @ direction)
            noise = 1e-15 * abs(state.value) * 16
            falls = value <= state.value + _ARMIJO * length * slope or (
                value <= state.value + noise and after <= (2 * _ARMIJO - 1) * slope
            )
            if not (np.isfinite(value) and falls):
                high = length
            elif after < _CURVATURE * slope:
                low = length
            else:
                return self._moved(state, parameters, value, gradient)._replace(passes=passes)
            length = 0.5 * (low + high) if np.isfinite(high) else 2.0 * length
        return state._replace(passes=passes, stuck=True)

    def watch(self, objective: Objective, rows: Rows, parameters: Floats) -> Callable[[LimitedMemoryState], Distance]:
        """Return what a lower bound on the Hessian at the start tells of each state."""
        if objective.loss.outputs == 1:
            kappa: float | None = None

            def known(state: LimitedMemoryState) -> Distance:
                nonlocal kappa
                assert state.lower is not None
                if kappa is None:  # what a factor proves stands on each row, what the lower bound does on their mean
                    kappa = state.lower.reach(rows) if len(parameters) <= FACTOR_LIMIT else state.lower.kappa
                return Distance(state.value, state.lower.norm(state.gradient), kappa, stalled=state.stuck)

            return known
        error = objective.gradient_error(rows, parameters)
        lower = LowerBound(objective.loss, objective.penalty, error, rows.layout.intercept)
        # Not the leverage bound: of curvatures that are all alike at the start and not where the steps lead.
        kappa = lower.reach(rows)
        return lambda state: Distance(state.value, lower.norm(state.gradient), kappa, stalled=state.stuck)

    def finished(self, state: LimitedMemoryState) -> bool:
        """Whether rounding hides any further fall."""
        return state.stuck

    def _moved(
        self, state: LimitedMemoryState, parameters: Floats, value: float, gradient: Floats
    ) -> LimitedMemoryState:
        solved = state.preconditioner.solve(gradient)
        step, change = parameters - state.parameters, gradient - state.gradient
        # M is linear: M^-1 of the change needs no product of its own, nor does the direction.
        solved_change = solved - state.solved
        curved, spread = float(step @ change), float(change @ solved_change)
        pairs, scale = state.pairs, state.scale
        if curved > 0.0 and spread > 0.0:
            pairs, scale = (*pairs, (step, change, solved_change))[-self.memory :], curved / spread
        size = float(gradient @ solved)
        better = size < 0.8 * state.smallest or value < state.value - 1e-14 * (1.0 + abs(state.value))
        idle = 0 if better else state.idle + 1
        return state._replace(
            parameters=parameters,
            value=value,
            gradient=gradient,
            solved=solved,
            pairs=pairs,
            scale=scale,
            smallest=min(size, state.smallest),
            idle=idle,
            steps=state.steps + 1,
            stuck=idle >= _IDLE_STEPS,
        )

    @staticmethod
    def _direction(state: LimitedMemoryState) -> Floats:
        """Return the two-loop recursion's product of the inverse Hessian estimate with the gradient."""
        if not state.pairs:
            return state.solved
        vector, solved, weights = state.gradient.copy(), state.solved.copy(), []
        for step, change, solved_change in reversed(state.pairs):
            weight = (step @ vector) / (step @ change)
            weights.append(weight)
            vector -= weight * change
            solved -= weight * solved_change
        vector = state.scale * solved
        for (step, change, _), weight in zip(state.pairs, reversed(weights), strict=True):
            vector += (weight - (change @ vector) / (step @ change)) * step
        return vector
