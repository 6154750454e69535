"""Scale-invariant normalised updates, one row at a time, for losses of several outputs.

Normalised adaptive gradient (Ross, Mineiro and Langford 2013, algorithm NAG, as in Vowpal Wabbit): each coefficient
has the largest size s_j of its column so far and the sum G_j of its squared gradients in those units; a column in
other units gives the same predictions. What is left of a learning rate there has the unit of a predictor; here it is
the one-row Newton step, sqrt(mean slope^2) / (mean curvature), so that labels in other units change nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.normalised import NormalisedState, follow_rows
from batchlearn.kernels.single_rows import padded
from batchlearn.kernels.window_mean import WindowMean
from batchlearn.solvers import ReadingPlan, RowsAtOnce
from batchlearn.solvers.batches import labelled
from batchlearn.solvers.online import RowSolver
from batchlearn.statistics.objective import Objective


@dataclass(frozen=True)
class NormalisedGradient(RowSolver[NormalisedState]):
    """The update above, row by row, whatever the batch size: a batch is as many single steps."""

    name: ClassVar[str] = "normalised-gradient"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ONE
    most_passes: ClassVar[float] = 5.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> NormalisedState:
        """Return the state before the first row."""
        point = padded(parameters, objective.loss.outputs)
        layout = rows.layout
        size = np.ones(layout.size + 1)
        size[: layout.lead] = size[layout.sparse_slice] = 0.0
        mean = WindowMean.start(point, max(reading.rows // 16, 1))
        return NormalisedState(point, mean, np.zeros_like(point), size, 0.0, 0.0, 0.0, 0.0)

    def follow(
        self, objective: Objective, rows: Rows, state: NormalisedState, shown: Rows | None = None
    ) -> tuple[NormalisedState, Floats]:
        """Go through rows one by one: the protocol's `follow`."""
        other = None if shown is None or shown is rows else labelled(shown)
        return follow_rows(objective.loss, objective.penalty, labelled(rows), state, other)
