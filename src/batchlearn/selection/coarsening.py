"""Pairs: how a term is made coarse enough for the cells of a `PairTerm`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, LevelTerm, SingleTerm


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
