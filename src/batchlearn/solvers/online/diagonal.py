"""Online Newton with a diagonal, one row at a time, for more coefficients than a matrix can be kept of.

The update of `newton` where P is the inverse of a diagonal: the curvature that each coefficient met, of which it bears
a quarter, since columns come together, and a prior. The prior lets the entries of a row together move its predictor by
what one row of precision 3/4 would: the mean number of entries times the mean square of the column, so that units and
rare columns do not matter. How strong it is the rows themselves say: the logarithm of its strength goes along the
gradient of the loss of each prediction (as meta-descent does with rates, Sutton 1992). Diagonal Gaussian beliefs about
a linear model are those of Dredze, Crammer and Pereira 2008 and Graepel and others 2010; the step is the implicit one
of Kulis and Bartlett 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.epochs import follow_diagonal
from batchlearn.kernels.online.diagonal import DiagonalState, follow_rows
from batchlearn.kernels.single_rows import padded
from batchlearn.solvers import ReadingPlan, RowsAtOnce
from batchlearn.solvers.batches import compiled, labelled, strengths
from batchlearn.solvers.online import RowSolver
from batchlearn.statistics.objective import Objective


@dataclass(frozen=True)
class DiagonalNewton(RowSolver[DiagonalState]):
    """The update above, row by row, whatever the batch size: a batch is as many single steps."""

    name: ClassVar[str] = "diagonal-newton"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ONE
    most_passes: ClassVar[float] = 5.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> DiagonalState:  # noqa: ARG002 - nothing depends on how many rows come
        """Return the state before the first row. Raises UsageError for a loss of several outputs."""
        if objective.loss.outputs > 1:
            raise UsageError(
                f"DiagonalNewton learns one predictor a row; the loss has {objective.loss.outputs}. Use "
                "NormalisedGradient().",
                code="diagonal-newton-outputs",
            )
        point = padded(parameters, 1)
        curvature, square, count = np.zeros((3, len(point)))
        return DiagonalState(point, curvature, square, count, rows.layout.intercept)

    def follow(
        self, objective: Objective, rows: Rows, state: DiagonalState, shown: Rows | None = None
    ) -> tuple[DiagonalState, Floats]:
        """Go through rows one by one: the protocol's `follow`."""
        fast = compiled(objective.loss, rows, shown)
        if fast is not None:
            return follow_diagonal(fast, strengths(objective.penalty), state)
        other = None if shown is None or shown is rows else labelled(shown)
        return follow_rows(objective.loss, objective.penalty, labelled(rows), state, other)
