"""Newton's method with a Cholesky factor, safe from any start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.solvers import Distance, ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.falling_threshold import from_above
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Expansion, Objective

_LENGTHS = tuple(0.5**k for k in range(1, 9))
# Of a loss with corners no length is sure: a descent direction has one, and the next corner may be near.
_CORNERED = tuple(0.5**k for k in range(1, 41))
# Half the square of a decrement is what is left to gain: this is below the rounding of any objective.
_AT_ROUNDING = 1e-9
# Chunks of which a quarter are a sample, and the steps on it.
_CHUNKS_TO_SAMPLE, _HEAD_STEPS = 8, 10
# Steps with a block a class: until the gain that is left is this little, in total, for each coefficient.
_STEPS_BY_BLOCKS, _BLOCKS_LEAD = 100, 1e-6


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

    @property
    def delivered(self) -> Floats:
        """The point."""
        return self.parameters


@dataclass(frozen=True)
class Newton(Solver["NewtonState"]):
    """w - H^-1 g, shortened where the objective does not fall by what the decrement promises.

    The shorter step is the best of a few lengths, all tried in one reading. One of them is sure to lower a generalised
    self-concordant objective from any point: ln(1 + a) / a, a the largest change of a row's predictor (Sun and
    Tran-Dinh 2019).
    """

    name: ClassVar[str] = "newton-cholesky"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ALL
    without_factor: ClassVar[LimitedMemory] = LimitedMemory()
    most_passes: ClassVar[float] = 600.0

    def start(
        self,
        objective: Objective,
        rows: Rows,
        parameters: Floats,
        reading: ReadingPlan | None = None,  # noqa: ARG002 - it reads all rows
    ) -> NewtonState:
        """Expand the objective at the start. Raises NotPositiveDefinite."""
        return _factored(parameters, objective.expand(rows, parameters), 1)

    def step(self, objective: Objective, rows: Rows, state: NewtonState) -> NewtonState:
        """Return the state after one step. Raises NotPositiveDefinite where the new Hessian cannot be factored."""
        direction = self.direction(state)
        parameters = state.parameters + direction
        if objective.quadratic:
            # The Hessian is the same everywhere: a gradient is enough, and steps refine each other.
            value, gradient = objective.gradient(rows, parameters)
            expansion = state.expansion._replace(value=value, gradient=gradient)
            return NewtonState(parameters, expansion, state.factor, state.passes + 1)
        # 1. The whole step, where the objective falls by half of what the decrement promises.
        promise = 0.25 * float(-(state.expansion.gradient @ direction))
        with np.errstate(over="ignore", invalid="ignore"):
            moved = objective.expand(rows, parameters)
        slack = 4e-15 * (1.0 + abs(state.expansion.value))
        if math.isfinite(moved.value) and moved.value <= state.expansion.value - promise + slack:
            return _factored(parameters, moved, state.passes + 1)
        # 2. The best of shorter ones, or the one that is sure.
        cornered = objective.loss.self_concordance == 0.0
        lengths = _CORNERED if cornered else _LENGTHS
        values, reach = objective.along(rows, state.parameters, direction, lengths)
        best = int(np.argmin(values))
        length = lengths[best]
        if not cornered:
            reach *= objective.loss.self_concordance
            sure = math.log1p(reach) / reach if reach > 0.0 else 1.0
            length = max(length, sure) if values[best] < state.expansion.value else sure
        parameters = state.parameters + length * direction
        return _factored(parameters, objective.expand(rows, parameters), state.passes + 3)

    def direction(self, state: NewtonState) -> Floats:
        """Return -H^-1 g, shape (d,)."""
        return -state.factor.solve(state.expansion.gradient)

    def finished(self, state: NewtonState) -> bool:
        """Whether rounding hides any further fall."""
        return state.decrement < _AT_ROUNDING

    def watch(self, objective: Objective, rows: Rows, parameters: Floats) -> Callable[[NewtonState], Distance]:  # noqa: ARG002 - all is in the states
        """Return what the factor tells of each state, and whether only rounding is left."""
        constant, quadratic, before = objective.loss.self_concordance, objective.quadratic, math.inf

        def known(state: NewtonState) -> Distance:
            nonlocal before
            value, decrement = state.expansion.value, state.decrement
            # Towards a far optimum (classes almost apart) the decrement falls by e^-1/2 a step: not yet the floor.
            small = 1e-3 if constant > 0.0 else 1e-4 * math.sqrt(2.0 * abs(objective.loss.noise(value)))
            # A quadratic needs no reason to go on but digits: refinement steps are cheap and only rounding ends them.
            stalled = decrement > 0.5 * before if quadratic else 0.9 * before < decrement < small
            before = decrement
            return Distance(value, decrement, state.expansion.kappa, True, stalled, 1 if quadratic else 2)

        return known

    def lead(
        self, objective: Objective, rows: Rows, parameters: Floats, *, fresh: bool, seconds: float
    ) -> tuple[Floats, int]:
        """Return where steps lead that cost no factor of all rows: far from the optimum they say as much, sooner.

        Of a loss with corners, where its own factor says something.
        """
        spent = 0
        if fresh and objective.loss.outputs > 1:
            parameters, spent = self._led_by_blocks(objective, rows, parameters, seconds)
        elif fresh:
            parameters, spent = self._led_by_a_sample(objective, rows, parameters)
        if objective.loss.corners is not None:
            with suppress(NotPositiveDefinite):
                parameters = from_above(objective, rows, objective.loss.corners, self, parameters)
        return parameters, spent

    def _led_by_a_sample(self, objective: Objective, rows: Rows, parameters: Floats) -> tuple[Floats, int]:
        """Return where a quarter of the chunks lead."""
        if rows.chunk_count < _CHUNKS_TO_SAMPLE or objective.quadratic:
            return parameters, 0
        sample = rows.of_chunks(slice(None, None, 4))
        try:
            state = self.start(objective, sample, parameters)
            for _ in range(_HEAD_STEPS):
                # Half the gain that is left, in total, against half a unit for each coefficient that is noise.
                if state.decrement**2 * sample.total_weight < len(parameters):
                    break
                state = self.step(objective, sample, state)
        except NotPositiveDefinite:
            return parameters, 0
        better = objective.value(rows, state.parameters) < objective.value(rows, parameters)
        return (state.parameters if better else parameters), state.passes // 4 + 2

    @staticmethod
    def _led_by_blocks(objective: Objective, rows: Rows, parameters: Floats, seconds: float) -> tuple[Floats, int]:
        """Return where steps with a block a class lead: each costs readings, not a factor of all classes."""
        solver, enough = LimitedMemory(), _BLOCKS_LEAD * len(parameters) / rows.total_weight
        began, state = time.perf_counter(), solver.start(objective, rows, parameters)
        while not state.stuck and state.steps < _STEPS_BY_BLOCKS and not state.smallest < enough:
            if time.perf_counter() - began > seconds:
                break
            state = solver.step(objective, rows, state)
        return state.parameters, state.passes


def _factored(parameters: Floats, expansion: Expansion, passes: int) -> NewtonState:
    """Return the state at a point: what its own rounding did to the Hessian is for a certificate to bound."""
    return NewtonState(parameters, expansion, factorise(expansion.hessian, 0.0), passes)
