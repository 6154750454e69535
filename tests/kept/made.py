"""Small problems whose rows come in two parts: old ones that a version was trained on, and new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows, StoredChunk
from batchlearn.kept.totals import KeptTotals, keep
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.objective import Objective
from batchlearn.objectives.penalties import Quadratic
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.training.stopping import PredictionsWithin


@dataclass(frozen=True)
class Made:
    """A layout, true parameters, and a penalty that stays the same in total."""

    loss: str
    layout: Layout
    truth: Floats
    strength: float  # in total
    weighted: bool

    def rows(self, rng: np.random.Generator, count: int, drift: float = 0.0) -> Rows:
        """Draw rows from the truth, moved by `drift` times a random direction."""
        layout = self.layout
        dense = rng.normal(size=(layout.dense, count))
        codes = drawn_codes(rng, layout, count)
        weight = rng.uniform(0.2, 3.0, count) if self.weighted else None
        offset = 0.3 * rng.normal(size=count) if self.weighted else None
        rows = one_chunk(layout, dense, codes, np.zeros(count), weight, offset)
        parameters = self.truth + drift * rng.normal(size=layout.size)
        eta = design(rows) @ parameters + (0.0 if offset is None else offset)
        return rows.with_labels(drawn(rng, self.loss, eta))

    def objective(self, weight: float) -> Objective:
        """Return the objective of rows of this total weight."""
        strengths = np.full(self.layout.size, self.strength / weight)
        strengths[: int(self.layout.intercept)] = 0.0
        return Objective(LOSSES[self.loss], Quadratic(strengths))


def one_chunk(
    layout: Layout,
    dense: Floats,
    codes: NDArray[Any],
    label: Floats,
    weight: Floats | None = None,
    offset: Floats | None = None,
) -> Rows:
    """Return rows in one chunk whose columns are read as they are."""
    chunk = StoredChunk(dense, codes, label, weight, offset)
    return Rows(layout, (chunk,), np.zeros(layout.dense), np.ones(layout.dense))


def drawn(rng: np.random.Generator, loss: str, eta: Floats) -> Floats:
    """Draw a label for each linear predictor."""
    if loss == "logistic":
        return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)
    return (
        rng.poisson(np.exp(np.minimum(eta, 3.0))).astype(np.float64)
        if loss == "poisson"
        else eta + rng.normal(size=len(eta))
    )


def made(rng: np.random.Generator, loss: str, strength: float = 1.0) -> Made:
    """Draw a problem: a few columns and up to three groups."""
    groups = tuple(int(k) for k in rng.integers(2, 5, int(rng.integers(0, 4))))
    layout = Layout(True, int(rng.integers(0 if groups else 1, 3)), groups)
    return Made(loss, layout, 0.4 * rng.normal(size=layout.size), strength, bool(rng.random() < 0.5))


def design(rows: Rows) -> Floats:
    """Write the design out, (rows, coefficients)."""
    layout, parts = rows.layout, []
    for stored in rows.chunks:
        chunk = rows.read(stored)
        columns = [*chunk.block.dense]
        for codes, levels in zip(chunk.block.codes, layout.groups, strict=True):
            columns += [(codes == level).astype(np.float64) for level in range(levels)]
        parts.append(np.column_stack(columns) if columns else np.empty((len(stored), 0)))
    return np.concatenate(parts)


def joined(*parts: Rows) -> Rows:
    """Return the rows of all parts, in order."""
    return replace(parts[0], chunks=tuple(chunk for part in parts for chunk in part.chunks))


def lighter(rows: Rows, factor: float) -> Rows:
    """Return the rows with their weights times a factor."""
    chunks = (replace(c, weight=factor * (np.ones(len(c)) if c.weight is None else c.weight)) for c in rows.chunks)
    return replace(rows, chunks=tuple(chunks))


def fitted(objective: Objective, rows: Rows, fraction: float = 1e-4) -> Floats:
    """Return the certified optimum."""
    return problem_of(objective, rows, fraction)[1]


def problem_of(objective: Objective, rows: Rows, fraction: float = 1e-4) -> tuple[Problem, Floats]:
    """Return the problem and its optimum."""
    size = rows.layout.size
    problem = Problem(objective, rows, PredictionsWithin(fraction), Units.plain(size), [f"c{j}" for j in range(size)])
    return problem, optimise(problem).parameters


def kept_of(problem: Made, rows: Rows) -> KeptTotals:
    """Train and keep."""
    objective = problem.objective(rows.total_weight)
    return keep(objective, rows, optimise(problem_of(objective, rows)[0]))


def some(rows: Rows, which: NDArray[Any]) -> Rows:
    """Return some rows of a single chunk, by number or mask."""
    chunk = rows.chunks[0]
    weight = None if chunk.weight is None else chunk.weight[which]
    offset = None if chunk.offset is None else chunk.offset[which]
    part = StoredChunk(chunk.dense[:, which], chunk.codes[:, which], chunk.label[which], weight, offset)
    return replace(rows, chunks=(part,))


def drawn_codes(rng: np.random.Generator, layout: Layout, count: int) -> NDArray[np.int32]:
    """Draw a level of each group, or none, for each row."""
    codes = np.zeros((len(layout.groups), count), dtype=np.int32)
    for out, levels in zip(codes, layout.groups, strict=True):
        out[:] = rng.integers(0, levels + 1, count)
    return codes
