"""The order of rows that are fetched again: those that were there before keep their places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.tables.columns import Kind, comparable, kind_of
from batchlearn.tables.row_hashes import Hashes, RowHashes, mixed


def in_earlier_order(
    earlier: pa.Table, fresh: pa.Table, target: str, labelled: str | None, landed: str | None
) -> pa.Table:
    """Return fresh rows with those that were there earlier first, in their earlier order, then the others.

    A row is the same where all its values are, as often as it occurs; when it landed is none of them. One that had no
    label is the same where all but its label, and when that was known, are.
    """
    names = [name for name in fresh.column_names if name in earlier.column_names and name != landed]
    before, now = _occurrences(earlier, names), _occurrences(fresh, names)
    _, old, new = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    place = np.full(fresh.num_rows, earlier.num_rows, dtype=np.int64)
    place[new] = old

    # Those that have a label now and had none.
    waiting = np.zeros(earlier.num_rows, dtype=bool)
    for name in (target, *([labelled] if labelled is not None else [])):
        waiting |= np.asarray(pc.is_null(earlier.column(name))) if name in earlier.column_names else True
    left = np.setdiff1d(np.flatnonzero(waiting), old)
    extra = np.setdiff1d(np.arange(fresh.num_rows), new)
    unlabelled = [name for name in names if name not in (target, labelled)]
    before, now = _occurrences(earlier.take(left), unlabelled), _occurrences(fresh.take(extra), unlabelled)
    _, old, new = np.intersect1d(before, now, assume_unique=True, return_indices=True)
    place[extra[new]] = left[old]
    return fresh.take(np.argsort(place, kind="stable"))


def _occurrences(table: pa.Table, names: Sequence[str]) -> Hashes:
    """Return a hash for each row that no other has: of its values, and of how often they came above it."""
    batch = pa.RecordBatch.from_arrays([_hashable(table.column(name)) for name in names], names=list(names))
    hashes = RowHashes().of(batch)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    place = np.arange(len(ordered))
    above = np.empty(len(ordered), dtype=np.uint64)
    above[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return mixed(hashes ^ mixed(above, np.uint64(0)), np.uint64(len(names)))


def _hashable(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as hashes take it: whole numbers as texts, since float64 does not hold all of them."""
    array = column.combine_chunks()
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    kind = kind_of(array.type)
    array = comparable(array, kind or Kind.NUMBER)
    return array.dictionary_encode() if kind is Kind.CATEGORY else array
