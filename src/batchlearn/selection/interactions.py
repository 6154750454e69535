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
import math
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
            counts = np.bincount(codes[position], minlength=len(term.names))
            sides.append(_Side(term, counts, codes[position]))
    # 2. Their pairs. One that is shrunk leaves some of its signal behind and would be proposed again; and a column may
    # be called as a pair would be.
    known = {*(term.column for term in encoding.numbers), *(term.column for term in encoding.groups)}
    free = [(a, b) for a, b in combinations(sides, 2) if PairTerm(a.term, b.term).column not in known]
    # 3. The best one after the other. Gains shrink, or nearly always do, as other pairs come in: one whose gain, looked
    # at again, is still the highest is the best, and the others need no second look (Minoux 1978).
    found: list[PairCandidate] = []
    queue = []
    for number, pair in enumerate(free):
        term, _, _, gain = _table(*pair, slope, curvature, stretches)
        queue.append((-gain, term.column, number, 0))
    heapq.heapify(queue)
    while queue and len(found) < count and queue[0][0] < 0.0:
        _, name, number, beside = heapq.heappop(queue)
        term, cell, step, gain = _table(*free[number], slope, curvature, stretches)
        if beside < len(found):
            heapq.heappush(queue, (-gain, name, number, len(found)))
            continue
        found.append(PairCandidate(term, gain))
        slope = slope + curvature * np.pad(step, ((0, 0), (0, 1)))[:, cell]
    return found


class _Side(NamedTuple):
    term: SingleTerm
    counts: NDArray[np.intp]
    codes: NDArray[np.intp]

    def coarse(self, most: int) -> tuple[SingleTerm, NDArray[np.intp]]:
        """Return the term with at most `most` levels, and the rows' codes in it."""
        term = coarsened(self.term, self.counts, most)
        if term is self.term:
            return term, self.codes
        return term, _recode(self.term, term)[self.codes]


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
    a: _Side, b: _Side, slopes: Floats, curvatures: Floats, stretches: NDArray[np.intp]
) -> tuple[PairTerm, NDArray[np.intp], Floats, float]:
    """Return a pair, where each row is in it, the steps of its cells (outputs, cells), and what it is worth.

    From the rows' slopes and curvatures (outputs, n) and stretches (n,). A row's cell, (n,), is of the table of its
    stretch; the number of cells for a row without a level. Steps are each stretch's Newton step from all the others,
    shrunk as if some rows of average curvature spoke against each cell, as many as serve the pair best.
    """
    full = len(a.term.names) * len(b.term.names) <= _CELLS
    first, codes_a = a.coarse(len(a.term.names) if full else _SIDE)
    second, codes_b = b.coarse(len(b.term.names) if full else _SIDE)
    shape = int(stretches.max()) + 1, len(first.names), len(second.names)
    size = math.prod(shape)
    cell = (stretches * shape[1] + codes_a) * shape[2] + codes_b
    cell[(codes_a == shape[1]) | (codes_b == shape[2])] = size
    steps, gain = [], 0.0
    for slope, curvature in zip(slopes, curvatures, strict=True):
        gradient, hessian = (
            np.bincount(cell, weights=values, minlength=size + 1)[:-1].reshape(shape).astype(np.float64, copy=False)
            for values in (slope, curvature)
        )
        gradient, one_row = _interaction(gradient, hessian), float(curvature.mean())
        others, known = gradient.sum(axis=0) - gradient, hessian.sum(axis=0) - hessian
        # Where all classes are told apart there is no curvature left, and nothing that a step could lower.
        damped = [known + rows * one_row for rows in _SHRINKING]
        shrunk = [np.divide(-others, one, out=np.zeros_like(others), where=one > 0.0) for one in damped]
        gains = [-float(np.sum(step * (gradient + 0.5 * hessian * step))) for step in shrunk]
        best = int(np.argmax(gains))
        steps.append(shrunk[best].ravel())
        gain += gains[best]
    # Two columns may say the same: which of their pairs comes first is for their names to say, not for the last digits.
    return PairTerm(first, second), cell, np.stack(steps), float(f"{gain:.9g}")


def _interaction(gradient: Floats, hessian: Floats) -> Floats:
    """Return the gradients (stretches, rows, columns) without what shifts of whole rows and columns would explain.

    How main effects drift is nothing that a pair could know.
    """
    for _ in range(_SWEEPS):
        for axis in (1, 2):
            total, weight = gradient.sum(axis=axis, keepdims=True), hessian.sum(axis=axis, keepdims=True)
            gradient = gradient - hessian * np.divide(total, weight, out=np.zeros_like(total), where=weight > 0.0)
    return gradient
