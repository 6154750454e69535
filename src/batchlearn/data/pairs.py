"""Pairs: the interaction of two columns as one group of levels, a cell for each pair of their coarse levels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, GroupTerm, LevelTerm

SingleTerm = BinTerm | LevelTerm | CalendarTerm


@dataclass(frozen=True)
class PairTerm:
    """The cells of two terms, the first varying slowest; a row without a level in either has no cell."""

    first: SingleTerm
    second: SingleTerm
    kind: ClassVar[str] = "pair"

    @property
    def column(self) -> str:
        """Both columns, for messages."""
        return f"{term_key(self.first)} x {term_key(self.second)}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.first.column, self.second.column)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        return tuple(f"{a} & {b}" for a in self.first.names for b in self.second.names)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the cells: neither column says which of the two a level is of."""
        return self.names

    def encode(self, first: pa.Array, second: pa.Array) -> NDArray[np.intp]:
        """Return the codes of the rows from the arrays of both columns."""
        a, b = self.first.encode(first), self.second.encode(second)
        rows, columns = len(self.first.names), len(self.second.names)
        cell = a * columns + b
        cell[(a == rows) | (b == columns)] = rows * columns
        return np.asarray(cell)


def term_key(term: SingleTerm) -> str:
    """Return what a term is called wherever terms are listed: its column, and the part of a time."""
    return f"{term.part}({term.column})" if isinstance(term, CalendarTerm) else term.column


def group_key(group: GroupTerm) -> str:
    """Return what a group is called: its column, the part of a time, or both columns of a pair."""
    return term_key(group) if isinstance(group, BinTerm | LevelTerm | CalendarTerm) else group.column


def coarsened(term: SingleTerm, counts: NDArray[np.intp], most: int) -> SingleTerm:
    """Return the term with at most `most` levels; `counts` (levels,) says how many rows each has.

    Neighbouring bins are merged into ones of about equal counts; the rarest levels of a category are pooled.
    """
    if len(term.names) <= most or isinstance(term, CalendarTerm):
        return term
    if isinstance(term, BinTerm):
        ordered = counts[: term.ordered].astype(np.float64)
        share = np.cumsum(ordered)[:-1] / max(float(ordered.sum()), 1.0)
        target = np.arange(1, most - int(term.missing)) / (most - int(term.missing))
        kept = np.unique(np.searchsorted(share, target).clip(0, len(term.edges) - 1))
        return replace(term, edges=tuple(term.edges[int(k)] for k in kept))
    order = np.argsort(-counts[: len(term.levels)], kind="stable")[: most - 1 - int(term.missing)]
    levels = tuple(term.levels[int(k)] for k in np.sort(order))
    return LevelTerm(term.column, levels, buckets=0, rare=True, missing=term.missing)
