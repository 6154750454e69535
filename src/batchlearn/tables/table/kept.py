"""The columns of a table as they were first read: later scans are served from here, and nothing is decoded twice.

Numbers are in the narrowest type that holds each of them to the bit, categories are codes of 1, 2 or 4 bytes with one
dictionary for all blocks, times are 64-bit integers. Where blocks end follows from the batches of the source alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.errors import ResourceError
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind
from batchlearn.tables.sources import batch_rows
from batchlearn.tables.table.budget import MemoryBudget, in_force
from batchlearn.tables.table.scan import Scan
from batchlearn.tables.table.segments import ARRAYS_SHARE, Segments

if TYPE_CHECKING:
    from batchlearn.tables.table import Table

# Texts of a column that share one dictionary; blocks with more have one of their own.
_SHARED_LEVELS = 1 << 17
# Of the budget, for the columns.
_SHARE = 0.25
# What a ledger takes a row with what is worked out of it; and one chunk in float64.
_ENTRY_BYTES, LEAST_BYTES = 100, 32 << 20
_NARROW = (np.uint8, np.int8, np.uint16, np.int16, np.float32, np.int32)


class KeptBlock(NamedTuple):
    """Some rows that stand behind each other, and where their columns and places are kept."""

    rows: int
    columns: Sequence[int]  # numbers of segments, in the order of the columns
    first: int  # place of the first row in the source
    steps: int | None  # number of the segment with how far behind it each row stands; None where they follow it


class KeptColumns:
    """What one reading of a table found in some of its columns."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        budget = in_force.get()
        self._of = {each.name: getattr(table, each.name) for each in fields(table) if each.name != "kept"}
        self.kinds = {name: table.column(name).kind for name in columns}
        self._budget = budget
        self.segments = Segments(budget.part(_SHARE * budget.memory))
        self.blocks: list[KeptBlock] = []
        self.rows_read = 0
        self.unreadable: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self._codes: dict[str, dict[str, int]] = {
            name: {} for name, kind in self.kinds.items() if kind is Kind.CATEGORY
        }
        self._latest: dict[str, tuple[pa.Array, Floats]] = {}
        self._dictionaries: dict[str, pa.Array] = {}

    @property
    def left(self) -> MemoryBudget:
        """What encoded rows may take: of what is left beside these columns and the ledger, half for either of two."""
        taken = LEAST_BYTES + self.ledger_bytes + self.segments.memory_bytes
        return self._budget.part((self._budget.memory - taken) / 2)

    @property
    def ledger_bytes(self) -> int:
        """Bytes of memory of a ledger of these rows, with what is worked out of it: arrays that may go to a file."""
        needed = _ENTRY_BYTES * sum(each.rows for each in self.blocks)
        return needed if native.compiled() is None else min(needed, int(ARRAYS_SHARE * self._budget.memory))

    def serves(self, table: Table, columns: Sequence[str]) -> bool:
        """Whether these columns of the table are here, read as the table says."""
        same = all(getattr(table, name) is value for name, value in self._of.items())
        return same and self.kinds.keys() >= {*columns}

    def add(self, batches: Sequence[pa.RecordBatch], places: Sequence[NDArray[np.int64]]) -> None:
        """Keep rows as one block, from canonical batches."""
        table, where = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks(), np.concatenate(places)
        columns = [self.segments.add([self._narrowed(name, table.column(name).chunk(0))]) for name in self.kinds]
        first, steps = int(where[0]), where - where[0]
        follow = np.array_equal(steps, np.arange(len(where)))
        number = None if follow else self.segments.add([pa.array(narrowest(steps.astype(np.float64)))])
        self.blocks.append(KeptBlock(len(where), columns, first, number))

    def finish(self, scan: Scan) -> None:
        """End with what the reading counted."""
        self.rows_read, self.unreadable, self.examples = scan.rows_read, scan.unreadable, scan.examples
        self._dictionaries = {name: pa.array(list(codes), pa.string()) for name, codes in self._codes.items()}
        self._codes, self._latest = {}, {}

    def read(self, block: KeptBlock, columns: Sequence[str]) -> pa.RecordBatch:
        """Return columns of a block in their canonical types."""
        segments = dict(zip(self.kinds, block.columns, strict=True))
        arrays = []
        for name in columns:
            (array,) = self.segments.get(segments[name])
            if self.kinds[name] is Kind.NUMBER:
                array = array.cast(pa.float64())
            elif self.kinds[name] is Kind.CATEGORY and not pa.types.is_dictionary(array.type):
                array = pa.DictionaryArray.from_arrays(array.cast(pa.int32()), self._dictionaries[name])
            arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _narrowed(self, name: str, array: pa.Array) -> pa.Array:
        """Return a canonical column as it is kept."""
        missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        if self.kinds[name] is Kind.NUMBER:
            return pa.array(narrowest(np.asarray(array.fill_null(0.0).to_numpy())), mask=missing)
        if self.kinds[name] is not Kind.CATEGORY:
            return array
        known, last = self._codes[name], self._latest.get(name)
        if last is None or not array.dictionary.equals(last[0]):
            levels = array.dictionary.to_pylist()
            if len(levels) + len(known) > _SHARED_LEVELS:
                array = array.dictionary_decode().dictionary_encode()
                levels = array.dictionary.to_pylist()
            if len(levels) + len(known) > _SHARED_LEVELS and not known.keys() >= {*levels}:
                return array
            shared = np.asarray([known.setdefault(level, len(known)) for level in levels] or [0], dtype=np.float64)
            last = self._latest[name] = array.dictionary, shared
        codes = last[1][array.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        return pa.array(narrowest(codes), mask=missing)


class KeptScan(Scan):
    """A scan that is served from what was kept."""

    def __init__(self, table: Table, columns: Sequence[str], kept: KeptColumns) -> None:
        super().__init__(table, columns)
        table.source.check()
        self._kept, self._names, self._left = kept, list(columns), iter(kept.blocks)

    def __next__(self) -> pa.RecordBatch:
        """Return the next rows, at least one."""
        block = next(self._left, None)
        if block is None:
            self.rows_read = self._kept.rows_read
            for name in self._names:
                if name in self._kept.unreadable:
                    self.unreadable[name] = self._kept.unreadable[name]
                    self.examples[name] = self._kept.examples[name]
            raise StopIteration
        self.rows_kept += block.rows
        (steps,) = [np.arange(block.rows)] if block.steps is None else self._kept.segments.get(block.steps)
        self.places = block.first + np.asarray(steps, dtype=np.int64)
        return self._kept.read(block, self._names)


def keep(table: Table, columns: Sequence[str]) -> Generator[int, None, Table]:
    """Read columns of a table once; yields rows read, returns the table, whose scans of them read no file any more.

    They are in a file where they would take more than a share of the budget in force. The errors are those of a scan,
    and ResourceError where the file cannot be written.
    """
    kept, scan, budget = KeptColumns(table, columns), table.scan(columns), in_force.get()
    batches: list[pa.RecordBatch] = []
    places: list[NDArray[np.int64]] = []
    longest = batch_rows(table.source.schema, columns)
    for batch in scan:
        batches.append(batch)
        places.append(scan.places)
        if sum(map(len, places)) >= longest:
            kept.add(batches, places)
            batches, places = [], []
        yield batch.num_rows
    if batches:
        kept.add(batches, places)
    kept.finish(scan)
    if LEAST_BYTES + kept.ledger_bytes + kept.segments.memory_bytes > budget.memory:
        kept.segments.spill()
    least = LEAST_BYTES + kept.ledger_bytes
    if least > budget.memory:
        raise ResourceError(
            f"{table.name} has {scan.rows_kept:,} rows, and {budget.memory / 1e6:,.0f} MB of memory were given; that "
            f"many need {math.ceil(least / 1e6):,} MB at least, wherever their columns are: give --memory "
            f"{math.ceil(least / 1e6)}MB, or leave out rows (--where)",
            code="memory-too-small",
        )
    return replace(table, kept=kept)


def narrowest(values: Floats) -> NDArray[Any]:
    """Return numbers in the narrowest type that gives each of them back to the bit."""
    bits = values.view(np.uint64)
    with np.errstate(invalid="ignore", over="ignore"):
        for kind in _NARROW:
            # A few of them rule most types out.
            for some in (slice(64), slice(None)):
                narrow = values[some].astype(kind)
                if not np.array_equal(narrow.astype(np.float64).view(np.uint64), bits[some]):
                    break
            else:
                return narrow
    return values
