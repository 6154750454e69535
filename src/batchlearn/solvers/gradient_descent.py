"""Gradient descent whose step comes from the curvature, for problems where no matrix can be kept.

The step is the inverse of the curvature met along the last step (Barzilai and Borwein 1988), in the metric of the
Hessian's diagonal at the start, of one output about the mean row. The objective need not fall at each step, only below
the worst of the last few values (Grippo, Lampariello and Lucidi 1986; Raydan 1997).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.solvers import ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.preconditioner import SampledPreconditioner, centred_diagonal, diagonal_alone
from batchlearn.statistics.objective import Objective

_REMEMBERED, _FALL, _HALVINGS = 10, 1e-4, 40


@dataclass(frozen=True)
class DescentState:
    """The point, its value and gradient, the metric, and the length of the next step."""

    parameters: Floats
    value: float
    gradient: Floats
    metric: SampledPreconditioner
    length: float
    values: tuple[float, ...]  # the last few
    passes: int
    stuck: bool = False  # no step lowers the objective any more

    @property
    def delivered(self) -> Floats:
        """The point."""
        return self.parameters


@dataclass(frozen=True)
class GradientDescent(Solver["DescentState"]):
    """The update above: one reading of all rows a step, and memory for five vectors."""

    name: ClassVar[str] = "gradient-descent"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ALL
    most_passes: ClassVar[float] = 100.0

    def start(
        self,
        objective: Objective,
        rows: Rows,
        parameters: Floats,
        reading: ReadingPlan | None = None,  # noqa: ARG002 - it reads all rows
    ) -> DescentState:
        """Return the state before the first step."""
        if objective.loss.outputs == 1:
            value, gradient, diagonal, known = objective.around(rows, parameters)
            metric = centred_diagonal(objective, diagonal, known, intercept=rows.layout.intercept)
        else:
            value, gradient = objective.gradient(rows, parameters)
            metric = diagonal_alone(objective.hessian_diagonal(rows, parameters))
        # In this metric no curvature is above the number of entries a row can have (Cauchy and Schwarz).
        length = 1.0 / (rows.layout.lead + len(rows.layout.groups) + rows.layout.sparse)
        return DescentState(parameters, value, gradient, metric, length, (value,), 2)

    def step(self, objective: Objective, rows: Rows, state: DescentState) -> DescentState:
        """Return the state after one step, `stuck` where rounding hides any further fall."""
        direction = -state.metric.solve(state.gradient)
        slope = float(state.gradient @ direction)
        worst, length, passes = max(state.values), state.length, state.passes
        noise = 8e-16 * abs(state.value)
        for _ in range(_HALVINGS):
            parameters = state.parameters + length * direction
            with np.errstate(over="ignore", invalid="ignore"):
                value, gradient = objective.gradient(rows, parameters)
            passes += 1
            if np.isfinite(value) and value <= worst + _FALL * length * slope + noise:
                break
            length *= 0.25
        else:
            return replace(state, passes=passes, stuck=True)
        moved, bend = parameters - state.parameters, gradient - state.gradient
        curvature = float(moved @ bend)
        size = -(length**2) * slope  # of the step in the metric, which is as long as its gradient is in the inverse
        stuck = float(moved @ moved) <= 1e-32 * float(parameters @ parameters) or not curvature > 0.0
        length = size / curvature if curvature > 0.0 else state.length
        values = (*state.values, value)[-_REMEMBERED:]
        return DescentState(parameters, value, gradient, state.metric, length, values, passes, stuck)

    def finished(self, state: DescentState) -> bool:
        """Whether rounding hides any further fall."""
        return state.stuck
