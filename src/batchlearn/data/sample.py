"""A sample of a table's rows, in memory: what choices by data are made on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger, RowCounts, columns_read, walk
from batchlearn.tables.sources import ArrowSource
from batchlearn.tables.table import Table


def take(table: Table, ledger: Ledger, entries: NDArray[np.intp]) -> Generator[int, None, tuple[Table, Ledger]]:
    """Read some rows into memory, in the order given; yields rows read, returns them as a table with its ledger."""
    names = columns_read(table)
    mask, batches = np.zeros(len(ledger.used), dtype=bool), []
    mask[entries] = True
    for stretch, batch in walk(table, names):
        kept = mask[stretch]
        if kept.any():
            batches.append(batch if kept.all() else batch.filter(pa.array(kept)))
        yield batch.num_rows
    rows = pa.Table.from_batches(batches).unify_dictionaries().take(np.argsort(np.argsort(entries)))
    columns = tuple(table.column(name) for name in names)
    # Rows are here as often as they occur. Canonical times are in UTC, and their type does not say so.
    once = replace(table.roles, weight_kind=None, drop=())
    readings = {
        name: each if each.zone is None else replace(each, zoneless="UTC") for name, each in table.readings.items()
    }
    source = ArrowSource(rows)
    taken = replace(table, source=source, columns=columns, condition=None, roles=once, readings=readings, kept=None)
    cut = replace(
        ledger,
        used=ledger.used[entries],
        label=ledger.label[entries],
        unseen=ledger.unseen[entries],
        weight=None if ledger.weight is None else ledger.weight[entries],
        offset=None if ledger.offset is None else ledger.offset[entries],
        time=None if ledger.time is None else ledger.time[entries],
        group=None if ledger.group is None else ledger.group[entries],
        counts=RowCounts(len(entries), len(entries), 0, {}),
        read_lots=ledger.lots.at(entries),
    )
    return taken, cut
