"""Going on online: new rows learned one by one, each once, from a version's parameters and its curvature."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers.online.newton import OnlineNewton, OnlineState, inverted
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.updating.sufficient_statistics import SufficientStatistics

# Rows at once in memory.
_STRETCH = 1 << 14


def learn_one_by_one(
    kept: SufficientStatistics, added: Rows, times: NDArray[np.generic] | None
) -> tuple[Floats, float]:
    """Return the parameters (d,) after rows were learned in the order of their times, and seconds; online Newton.

    The old rows and the penalty count by the Hessian at the version's parameters. For squared loss that is least
    squares of all rows, for others each row meets the curvature of those before it.
    """
    began, size = time.perf_counter(), kept.layout.size
    objective = Objective(LOSSES[kept.loss], ridge(kept.layout, 0.0))
    state = OnlineState(kept.parameters, inverted(kept.reference), np.zeros(size), kept.reference)
    order = np.arange(len(added)) if times is None else np.argsort(times, kind="stable")
    for rows in added.stretches(order, _STRETCH):
        state = OnlineNewton().step(objective, rows, state)
    return state.parameters, time.perf_counter() - began
