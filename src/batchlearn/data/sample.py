"""A sample of a table's rows, in memory: what choices by data are made on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger, RowCounts, walk
from batchlearn.tables.sources import ArrowSource
from batchlearn.tables.table import Table


def choose_rows(part: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask of at most `most` of a part's rows, chosen at random."""
    entries = np.flatnonzero(part)
    if len(entries) <= most:
        return part
    chosen = np.zeros_like(part)
    chosen[np.random.default_rng(seed).choice(entries, most, replace=False)] = True
    return chosen


def take(table: Table, ledger: Ledger, mask: NDArray[np.bool_]) -> Generator[int, None, tuple[Table, Ledger]]:
    """Read the rows of a mask into memory, in order; yields rows read, returns them as a table with its ledger."""
    roles = table.roles
    needed = [roles.target, roles.weight, roles.offset, roles.exposure, roles.time, roles.group]
    names = list(dict.fromkeys([*(column.name for column in table.features), *(name for name in needed if name)]))
    batches = []
    for entries, batch in walk(table, names):
        kept = mask[entries]
        if kept.any():
            batches.append(batch if kept.all() else batch.filter(pa.array(kept)))
        yield batch.num_rows
    rows = pa.Table.from_batches(batches)
    columns = tuple(table.column(name) for name in names)
    taken = replace(table, source=ArrowSource(rows), columns=columns, condition=None, roles=replace(roles, drop=()))
    return taken, _cut(ledger, mask)


def _cut(ledger: Ledger, mask: NDArray[np.bool_]) -> Ledger:
    rows = int(mask.sum())
    return replace(
        ledger,
        used=ledger.used[mask],
        label=ledger.label[mask],
        unseen=ledger.unseen[mask],
        weight=None if ledger.weight is None else ledger.weight[mask],
        offset=None if ledger.offset is None else ledger.offset[mask],
        time=None if ledger.time is None else ledger.time[mask],
        group=None if ledger.group is None else ledger.group[mask],
        counts=RowCounts(rows, rows, 0, {}),
    )
