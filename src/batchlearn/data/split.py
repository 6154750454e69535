"""Which rows an evaluation keeps apart: the latest by time, or random ones where there is no time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger


class Split(NamedTuple):
    """The earlier part, the later part (none where nothing is held out), and how they were told apart."""

    early: NDArray[np.bool_]
    late: NDArray[np.bool_] | None
    how: str


def hold_out(ledger: Ledger, share: float, seed: int) -> Split:
    """Split the used rows: about `share` of them are later than every other one.

    Rows with the same time stay together, so the held-out share is the nearest that whole times give.
    """
    used = ledger.used
    rows = int(used.sum())
    if share == 0.0 or round(share * rows) == 0 or round(share * rows) == rows:
        return Split(used, None, "no rows were held out")
    if ledger.time is not None:
        times, counts = np.unique(ledger.time[used], return_counts=True)
        if len(times) > 1:
            later = rows - np.cumsum(counts)[:-1]
            cut = times[int(np.argmin(np.abs(later - share * rows)))]
            late = used & (ledger.time > cut)
            return Split(used & ~late, late, "the latest rows by time")
    late = np.zeros_like(used)
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(used))[: round(share * rows)]
    late[chosen] = True
    how = "random rows" if ledger.time is None else "random rows, because all rows have the same time"
    return Split(used & ~late, late, how)


def stretches(ledger: Ledger, part: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.intp]:
    """Return the stretch of time, 0 to `count` - 1, of each row of the part, each of about as many rows.

    Rows with the same time stay together, so that there may be fewer. Without a time, or where all rows have the same,
    the stretches are random ones.
    """
    rows = int(part.sum())
    if ledger.time is not None:
        times = ledger.time[part]
        first = np.unique(np.sort(times)[np.arange(1, count) * rows // count])
        found = np.searchsorted(first, times, side="right")
        if found.min() < found.max():
            return np.asarray(found, dtype=np.intp)
    return np.asarray(np.random.default_rng(seed).permutation(rows) * count // rows, dtype=np.intp)
