"""Which pairs of columns act together: all pairs ranked by one pass of totals at an additive optimum.

For each cell of a pair's coarse table the gradient and the curvature of the loss are added up; a Newton step on the
cells alone would lower the loss by about half the sum of gradient^2 / curvature, of which half the dispersion a cell is
noise.
(Lou et al. 2013 rank pairs by a similar quantity from residuals; the curvature makes it hold for every loss.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm
from batchlearn.data.pairs import PairTerm, SingleTerm, coarsened
from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.statistics import predictor

_MOST_TERMS = 40
_SIDE, _CELLS = 12, 260


@dataclass(frozen=True)
class Candidate:
    """A pair and how much lower, at most, the total loss could be with it, noise taken off."""

    term: PairTerm
    gain: float


class _Residuals(NamedTuple):
    slope: Floats
    curvature: Floats


@dataclass(frozen=True)
class _ResidualTotal:
    """Each row's slopes and expected curvatures, (outputs, m), one chunk after the other: a score test's (Rao 1948)."""

    loss: Loss
    combine: ClassVar[tuple[Any, ...]] = (lambda a, b: np.concatenate([a, b], axis=1),) * 2

    def __call__(self, chunk: Chunk, parameters: Floats) -> _Residuals:
        eta = predictor(chunk, parameters)
        slope = np.atleast_2d(chunk.weight * self.loss.slope(eta, chunk.label))
        return _Residuals(slope, np.atleast_2d(chunk.weight * self.loss.expected_curvature(eta)))


def rank_pairs(loss: Loss, rows: Rows, encoding: Encoding, parameters: Floats, dispersion: float) -> list[Candidate]:
    """Return all pairs of the encoding's groups that are no group yet, the most promising first."""
    slope, curvature = rows.total(_ResidualTotal(loss), parameters)
    codes = np.concatenate([chunk.codes for chunk in rows.chunks], axis=1)
    sides = []
    for position in _promising(encoding, parameters):
        term = encoding.groups[position]
        if isinstance(term, BinTerm | LevelTerm | CalendarTerm):
            counts = np.bincount(codes[position], minlength=len(term.names))
            sides.append(_Side(term, counts, codes[position]))
    known = {*(term.column for term in encoding.numbers), *(term.column for term in encoding.groups)}
    found = []
    for a, b in combinations(sides, 2):
        # A pair that is shrunk leaves some of its signal behind and would be proposed again; and a column may be
        # called as a pair would be.
        if PairTerm(a.term, b.term).column in known:
            continue
        found.append(_candidate(a, b, slope, curvature, dispersion))
    return sorted((c for c in found if c.gain > 0.0), key=lambda c: (-c.gain, c.term.column))


def _promising(encoding: Encoding, parameters: Floats) -> list[int]:
    """Return the groups with the widest effects, no more than can be ranked in a moment."""
    outputs = parameters.reshape(-1, encoding.layout.size)
    spread = [float(np.ptp(outputs[:, part], axis=1).max()) for part in encoding.layout.group_slices]
    return sorted(int(k) for k in np.argsort(-np.asarray(spread), kind="stable")[:_MOST_TERMS])


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


def _candidate(a: _Side, b: _Side, slope: Floats, curvature: Floats, dispersion: float) -> Candidate:
    full = len(a.term.names) * len(b.term.names) <= _CELLS
    first, codes_a = a.coarse(len(a.term.names) if full else _SIDE)
    second, codes_b = b.coarse(len(b.term.names) if full else _SIDE)
    pair = PairTerm(first, second)
    rows, columns = len(first.names), len(second.names)
    known = (codes_a < rows) & (codes_b < columns)
    cell = (codes_a * columns + codes_b)[known]
    gain = 0.0
    for slopes, curvatures in zip(slope, curvature, strict=True):
        gradient = np.bincount(cell, weights=slopes[known], minlength=rows * columns)
        hessian = np.bincount(cell, weights=curvatures[known], minlength=rows * columns)
        # A cell that the data hardly know is shrunk as if one row of average curvature spoke against it.
        prior = float(curvatures.mean())
        gains = gradient**2 / (hessian + prior) - dispersion * hessian / (hessian + prior)
        gain += 0.5 * float(gains.sum())
    return Candidate(pair, gain)
