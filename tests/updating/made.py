"""Small problems whose rows come in two parts: old ones that a version was trained on, and new ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Penalty, Quadratic
from batchlearn.objectives.penalties.smoothing import UnitPenalty, differences, product, squares
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.selection.penalty_selection import PenalisedTerm, penalty
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.updating.sufficient_statistics import SufficientStatistics, collect_statistics


@dataclass(frozen=True)
class Made:
    """A layout, true parameters, and a penalty: a ridge in total, or of the groups' own shapes with their centres.

    With shapes the last group holds the cells of the first and the last but one.
    """

    loss: str
    layout: Layout
    truth: Floats
    strength: float  # in total
    weighted: bool
    units: tuple[UnitPenalty, ...] = ()  # one a group, or none

    def rows(self, rng: np.random.Generator, count: int, drift: float = 0.0) -> MemoryRows:
        """Draw rows from the truth, moved by `drift` times a random direction."""
        layout = self.layout
        dense = rng.normal(size=(layout.dense, count))
        codes = drawn_codes(rng, layout, count)
        if self.units:
            codes[-1] = cells(codes[0], codes[-2], layout.groups[0], layout.groups[-2])
        weight = rng.uniform(0.2, 3.0, count) if self.weighted else None
        offset = 0.3 * rng.normal(size=count) if self.weighted else None
        rows = one_chunk(layout, dense, codes, np.zeros(count), weight, offset)
        parameters = self.truth + drift * rng.normal(size=layout.size)
        eta = design(rows) @ parameters + (0.0 if offset is None else offset)
        return labelled(rows, drawn(rng, self.loss, eta))

    @property
    def penalty(self) -> Penalty:
        """The penalty of any number of rows."""
        layout = self.layout
        if not self.units:
            return Penalty(in_total=ridge(layout, self.strength), per_row=ridge(layout, 0.0))
        first = int(layout.intercept)
        columns = [PenalisedTerm(slice(first, first + layout.dense), squares(layout.dense))] if layout.dense else []
        groups = [PenalisedTerm(part, unit) for part, unit in zip(layout.group_slices, self.units, strict=True)]
        terms = [*columns, *groups]
        return penalty(terms, [self.strength] * len(terms), layout.size)

    def objective(self, weight: float) -> Objective:
        """Return the objective of rows of this total weight, by a rule of its own and not by that of `Penalty`."""
        size, first = self.layout.size, int(self.layout.intercept)
        strengths = np.full(size, self.strength / weight)
        strengths[:first] = 0.0
        if not self.units:
            return Objective(LOSSES[self.loss], Quadratic(strengths))
        strengths[first + self.layout.dense :] = 0.0
        blocks = tuple(
            (part, self.strength / weight * unit.matrix + (0.0 if unit.centre is None else unit.centre))
            for part, unit in zip(self.layout.group_slices, self.units, strict=True)
        )
        return Objective(LOSSES[self.loss], Quadratic(strengths, blocks))


def one_chunk(
    layout: Layout,
    dense: Floats,
    codes: NDArray[Any],
    label: Floats,
    weight: Floats | None = None,
    offset: Floats | None = None,
) -> MemoryRows:
    """Return rows in one chunk whose columns are read as they are."""
    chunk = StoredChunk(dense, codes, label, weight, offset)
    return MemoryRows(layout, (chunk,), np.zeros(layout.dense), np.ones(layout.dense))


def labelled(rows: MemoryRows, label: Floats) -> MemoryRows:
    """Return rows of one chunk with other labels."""
    (chunk,) = rows.chunks
    return replace(rows, chunks=(replace(chunk, label=label),))


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


def made_with_pairs(rng: np.random.Generator, loss: str, strength: float = 1.0) -> Made:
    """Draw a problem with bins, some rows without a value, hours, a category, and the cells of the first and last."""
    bins, hours, levels = (int(rng.integers(2, 4)) for _ in range(3))
    first, last = differences(bins, 1), squares(levels)
    units = (first, differences(hours + 1, cyclic=True), last, product(first, last))
    layout = Layout(True, int(rng.integers(0, 2)), tuple(len(unit.matrix) for unit in units))
    return Made(loss, layout, 0.4 * rng.normal(size=layout.size), strength, bool(rng.random() < 0.5), units)


def cells(first: NDArray[Any], second: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Return the cell of each pair of levels, the first varying slowest; none where either has none."""
    return np.where((first == rows) | (second == columns), rows * columns, first * columns + second)


def design(rows: MemoryRows) -> Floats:
    """Write the design out, (rows, coefficients)."""
    layout, parts = rows.layout, []
    for stored in rows.chunks:
        chunk = rows.read(stored)
        columns = [*chunk.block.dense]
        for codes, levels in zip(chunk.block.codes, layout.groups, strict=True):
            columns += [(codes == level).astype(np.float64) for level in range(levels)]
        parts.append(np.column_stack(columns) if columns else np.empty((len(stored), 0)))
    return np.concatenate(parts)


def joined(*parts: MemoryRows) -> MemoryRows:
    """Return the rows of all parts, in order."""
    return replace(parts[0], chunks=tuple(chunk for part in parts for chunk in part.chunks))


def lighter(rows: MemoryRows, factor: float) -> MemoryRows:
    """Return the rows with their weights times a factor."""
    chunks = (replace(c, weight=factor * (np.ones(len(c)) if c.weight is None else c.weight)) for c in rows.chunks)
    return replace(rows, chunks=tuple(chunks))


def fitted(objective: Objective, rows: MemoryRows, fraction: float = 1e-4) -> Floats:
    """Return the certified optimum."""
    return problem_of(objective, rows, fraction)[1]


def problem_of(objective: Objective, rows: MemoryRows, fraction: float = 1e-4) -> tuple[Problem, Floats]:
    """Return the problem and its optimum."""
    size = rows.layout.size
    problem = Problem(objective, rows, PredictionsWithin(fraction), Units.plain(size), [f"c{j}" for j in range(size)])
    return problem, optimise(problem).parameters


def kept_of(problem: Made, rows: MemoryRows) -> SufficientStatistics:
    """Train and keep."""
    objective = problem.objective(rows.total_weight)
    return collect_statistics(objective, rows, optimise(problem_of(objective, rows)[0]))


def some(rows: MemoryRows, which: NDArray[Any]) -> MemoryRows:
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
