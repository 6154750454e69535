"""Small problems that the solvers of every regime are tried on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective, ridge


class Posed(NamedTuple):
    objective: Objective
    rows: MemoryRows
    optimum: Floats
    value: float

    def excess(self, parameters: Floats) -> float:
        return self.objective.value(self.rows, parameters) - self.value


def posed(
    loss: str = "logistic", rows: int = 4000, *, weighted: bool = False, scale: Any = 1.0, seed: int = 3
) -> Posed:
    """Draw four numbers, two categories and a label; `scale` multiplies the columns as stored, not as they are read."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(4, rows))
    codes = np.stack([rng.choice(6, rows, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01]), rng.integers(0, 3, rows)])
    truth = rng.normal(size=4) * 0.5, rng.normal(size=6) * 0.6, rng.normal(size=3) * 0.4
    eta = truth[0] @ dense + truth[1][codes[0]] + truth[2][codes[1]] - 0.4
    label = {
        "squared": eta + rng.normal(size=rows),
        "logistic": (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64),
        "poisson": rng.poisson(np.exp(0.5 * eta)).astype(np.float64),
    }[loss]
    weight = rng.integers(0, 3, rows).astype(np.float64) if weighted else None
    factors = np.broadcast_to(np.asarray(scale, dtype=np.float64), (4,))
    return pose(loss, dense * factors[:, None], codes, label, weight, factors)


def pose(loss: str, dense: Floats, codes: Any, label: Floats, weight: Floats | None, factors: Floats) -> Posed:
    layout = Layout(True, len(dense), (6, 2))
    cuts = [slice(first, first + 1500) for first in range(0, len(label), 1500)]
    chunks = tuple(
        StoredChunk(dense[:, cut], codes[:, cut], label[cut], None if weight is None else weight[cut]) for cut in cuts
    )
    rows = MemoryRows(layout, chunks, np.zeros(len(dense)), factors)
    objective = Objective(LOSSES[loss], ridge(layout, 1e-3))
    optimum, value = best(objective, rows)
    return Posed(objective, rows, optimum, value)


def taken(rows: MemoryRows, numbers: Any) -> MemoryRows:
    """Return the rows of these numbers, as one chunk."""
    return next(rows.stretches(np.asarray(numbers), len(numbers)))


def best(objective: Objective, rows: MemoryRows) -> tuple[Floats, float]:
    try:
        state = Newton().start(objective, rows, objective.null_parameters(rows))
    except NotPositiveDefinite as refusal:
        raise AssertionError("the problem has no optimum") from refusal
    for _ in range(30):
        state = Newton().step(objective, rows, state)
    return state.parameters, state.expansion.value
