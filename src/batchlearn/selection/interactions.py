"""Which pairs of columns act together: the most useful few of all, by one pass of totals at an additive optimum.

For each cell of a pair's coarse table the gradient and the curvature of the loss are added up, stretch of time by
stretch. A Newton step on the cells from all other stretches is what the pair would have said of one; by how much that
lowers the loss there is its gain. A pair that merely names an episode (the weather of one week, by month and day) gains
nothing elsewhere, however well it fits its own rows.
(Lou et al. 2013 rank pairs by what they explain of the very rows they are fitted to; where rows are not independent,
that puts episodes first.)
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, PairTerm, SingleTerm
from batchlearn.data.rows import Chunk, Rows, level_codes
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import Loss
from batchlearn.selection.coarsening import coarsened
from batchlearn.statistics.rowwise import predictor

_MOST_TERMS = 40
_SIDE, _CELLS = 12, 260
_SWEEPS = 3
_SHRINKING = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)  # rows


@dataclass(frozen=True)
class PairCandidate:
    """A pair and by how much it would lower the total loss, each stretch judged by the others."""

    term: PairTerm
    gain: float


def best_pairs(
    loss: Loss, rows: Rows, fitted: tuple[Encoding, Floats], stretches: NDArray[np.intp], count: int
) -> list[PairCandidate]:
    """Return at most `count` pairs of groups that are no group yet, the most useful first.

    `fitted` is an encoding and its parameters (d,); `stretches` (rows,) says which stretch of time each row is in, 0
    and up. Each pair's gain is beside those before it: their steps are added to the rows' predictors, so that of two
    that say the same one comes.
    """
    encoding, parameters = fitted

    def residuals(chunk: Chunk, parameters: Floats) -> Floats:
        """Return each row's slopes and expected curvatures, (2, outputs, m): a score test's (Rao 1948)."""
        eta = predictor(chunk, parameters)
        both = loss.slope(eta, chunk.label), loss.expected_curvature(eta)
        return np.stack([np.atleast_2d(chunk.weight * values) for values in both])

    # 1. The groups with the widest effects, no more than can be ranked in a moment.
    (slope, curvature), codes = rows.map_rows(residuals, parameters), level_codes(rows)
    outputs = parameters.reshape(-1, encoding.layout.size)
    spread = [float(np.ptp(outputs[:, part], axis=1).max()) for part in encoding.layout.group_slices]
    sides = []
    for position in sorted(int(k) for k in np.argsort(-np.asarray(spread), kind="stable")[:_MOST_TERMS]):
        term = encoding.groups[position]
        if isinstance(term, BinTerm | LevelTerm | CalendarTerm):
            sides.append(_Side(term, codes[position], stretches * (len(term.names) + 1) + codes[position]))
    coarse = [side.coarse(stretches) for side in sides]
    # 2. Their pairs. One that is shrunk leaves some of its signal behind and would be proposed again; and a column may
    # be called as a pair would be.
    known = {*(term.column for term in encoding.numbers), *(term.column for term in encoding.groups)}
    free = []
    for i, j in combinations(range(len(sides)), 2):
        if PairTerm(sides[i].term, sides[j].term).column not in known:
            few = len(sides[i].term.names) * len(sides[j].term.names) <= _CELLS
            free.append((sides[i], sides[j]) if few else (coarse[i], coarse[j]))
    # 3. The best one after the other. Gains shrink, or nearly always do, as other pairs come in: one whose gain, looked
    # at again, is still the highest is the best, and the others need no second look (Minoux 1978).
    found: list[PairCandidate] = []
    queue, periods = [], int(stretches.max()) + 1
    for number, (a, b) in enumerate(free):
        queue.append((-_table(a, b, slope, curvature, periods)[2], PairTerm(a.term, b.term).column, number, 0))
    heapq.heapify(queue)
    while queue and len(found) < count and queue[0][0] < 0.0:
        _, name, number, beside = heapq.heappop(queue)
        a, b = free[number]
        cell, step, gain = _table(a, b, slope, curvature, periods)
        if beside < len(found):
            heapq.heappush(queue, (-gain, name, number, len(found)))
            continue
        found.append(PairCandidate(PairTerm(a.term, b.term), gain))
        slope = slope + curvature * step[:, cell]
    return found


class _Side(NamedTuple):
    term: SingleTerm
    codes: NDArray[np.intp]  # (n,): the number of levels for a row without one
    of_stretch: NDArray[np.intp]  # (n,): the same, one stretch's after the other's

    def coarse(self, stretches: NDArray[np.intp]) -> _Side:
        """Return the term with at most _SIDE levels, and the rows' codes in it."""
        counts = np.bincount(self.codes, minlength=len(self.term.names))
        term = coarsened(self.term, counts, _SIDE)
        if term is self.term:
            return self
        codes = _recode(self.term, term)[self.codes]
        return _Side(term, codes, stretches * (len(term.names) + 1) + codes)


def _recode(fine: SingleTerm, coarse: SingleTerm) -> NDArray[np.intp]:
    """Return the coarse code of each fine code, the last one (no level) included."""
    none = len(coarse.names)
    table = np.full(len(fine.names) + 1, none, dtype=np.intp)
    if isinstance(fine, BinTerm) and isinstance(coarse, BinTerm):
        edges = np.asarray([*fine.edges, np.inf])
        table[: fine.ordered] = np.searchsorted(np.asarray(coarse.edges), edges, side="left")
    elif isinstance(fine, LevelTerm) and isinstance(coarse, LevelTerm):
        table[: len(fine.names)] = len(coarse.levels)  # the rare bucket takes levels, hash buckets and rare ones
        for code, level in enumerate(fine.levels):
            table[code] = coarse.code(level)
    if fine.missing and coarse.missing:
        table[len(fine.names) - 1] = none - 1
    return table


def _table(
    a: _Side, b: _Side, slopes: Floats, curvatures: Floats, periods: int
) -> tuple[NDArray[np.intp], Floats, float]:
    """Return where each row is in a pair's tables, the steps of all cells (outputs, cells), and what the pair is worth.

    From the rows' slopes and curvatures (outputs, n), in so many stretches of time. A row's cell, (n,), is of the table
    of its stretch, whose last row and column are of those without a level: their steps are 0. Others are each stretch's
    Newton step from all the others, shrunk as if some rows of average curvature spoke against each cell, as many as
    serve the pair best.
    """
    shape = periods, len(a.term.names) + 1, len(b.term.names) + 1
    cell = a.of_stretch * shape[2] + b.codes
    steps, gain = np.zeros((len(slopes), *shape)), 0.0
    for slope, curvature, step in zip(slopes, curvatures, steps, strict=True):
        gradient, hessian = (
            np.bincount(cell, values, step.size).astype(np.float64, copy=False).reshape(shape)[:, :-1, :-1]
            for values in (slope, curvature)
        )
        gradient = _interaction(gradient, hessian)
        others, known = gradient.sum(axis=0) - gradient, hessian.sum(axis=0) - hessian
        damped = known + np.multiply.outer(_SHRINKING, np.full((1, 1, 1), curvature.mean()))
        # Where all classes are told apart there is no curvature left, and nothing that a step could lower.
        shrunk = -others / np.where(damped > 0.0, damped, np.inf)
        gains = -np.sum(shrunk * (gradient + 0.5 * hessian * shrunk), axis=(1, 2, 3))
        best = int(np.argmax(gains))
        step[:, :-1, :-1] = shrunk[best]
        gain += float(gains[best])
    # Two columns may say the same: which of their pairs comes first is for their names to say, not for the last digits.
    return cell, steps.reshape(len(slopes), -1), float(f"{gain:.9g}")


def _interaction(gradient: Floats, hessian: Floats) -> Floats:
    """Return the gradients (stretches, rows, columns) without what shifts of whole rows and columns would explain.

    How main effects drift is nothing that a pair could know.
    """
    totals = [hessian.sum(axis=axis, keepdims=True) for axis in (1, 2)]
    weights = [np.where(total > 0.0, total, np.inf) for total in totals]
    for _ in range(_SWEEPS):
        for axis, weight in zip((1, 2), weights, strict=True):
            gradient = gradient - hessian * (gradient.sum(axis=axis, keepdims=True) / weight)
    return gradient
