"""Reading a table once: its rows as canonical Arrow batches, those that meet the condition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.column_sentences import called
from batchlearn.formatting.numbers import count
from batchlearn.tables.columns import (
    Canonical,
    Column,
    Kind,
    comparable,
    empty,
    frequencies,
    is_text,
    kind_of,
    places,
    stored_arrays,
)
from batchlearn.tables.conditions import Condition
from batchlearn.tables.readings import in_zone, parse, refuse_other_times, without
from batchlearn.tables.text.times import zone_of

if TYPE_CHECKING:
    from batchlearn.tables.table import Table
    from batchlearn.tables.where import Filter


# Rows of a batch that are repeated as often as their weights say come in batches of at most so many.
_REPEATED_AT_ONCE = 65_536
_EXAMPLES = 3


class Scan(Iterator[pa.RecordBatch]):
    """The rows of a table, batch by batch; the two counts are right once it is exhausted.

    A number is float64 (NaN is null), a boolean bool, a category dictionary<int32, string> with a dictionary of its
    own in each batch, a timestamp timestamp[us] in UTC. No batch is empty. A row whose weight is a frequency comes as
    often as that says; one without a frequency above 0 comes once, for the ledger to set it aside.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._readings, self._untyped = table.readings, table.source.readings
        self.rows_read = 0
        """Rows read from the source so far, those that meet the condition as often as they are repeated."""
        self.rows_kept = 0
        """Rows among them that meet the condition: all, if there is none."""
        self.places: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """Where the rows of the last batch stand in the source, counted from 0."""
        self.unreadable: Counter[str] = Counter()
        """Texts so far, by column, that are not what the column's reading takes: they count as missing."""
        self.examples: dict[str, list[str]] = {}
        """Some of these."""
        self._strict, self._name = table.strict, table.name
        self._absent = {column.name: column for column in table.absent}
        wanted = [self._absent.get(name) or table.column(name) for name in columns]
        target = table.roles.target
        self._canonical = [
            Canonical(column, table.name, is_target=column.name == target, outer_spaces=table.outer_spaces)
            for column in wanted
        ]
        self._place = 0
        self._again: Iterator[tuple[NDArray[np.int64], pa.RecordBatch]] = iter(())
        frequency = table.roles.frequency
        self._frequency: Canonical | None = None
        if frequency is not None:
            self._frequency = Canonical(table.column(frequency), table.name, is_target=False)
        self._places = places(table.source.schema)
        self._kinds = {column.name: column.kind for column in table.columns}
        self._condition = compiled(table.condition, table.columns)
        tested = (
            [name for name in self._condition.columns if name not in self._condition.listed] if self._condition else []
        )
        named = [*columns, *tested, *([frequency] if frequency else [])]
        stored = dict.fromkeys(self._places[name].field for name in named if name not in self._absent)
        # Counting rows alone needs some column too.
        self._stored = list(stored) or [next(iter(self._places.values())).field]
        self._batches = table.source.batches(self._stored)

    def __next__(self) -> pa.RecordBatch:
        """Return the next rows, at least one."""
        while (again := next(self._again, None)) is None:
            batch = next(self._batches)
            first, read = self._place + 1, batch.num_rows
            self._place += read
            rows: range | np.ndarray[Any, Any] = range(first, self._place + 1)
            if self._condition is not None:
                batch, kept = self._filtered(batch, self._condition, first - 1)
                rows = first + kept
            self.rows_read += read - batch.num_rows
            if not batch.num_rows:
                continue
            names = [canonical.column.name for canonical in self._canonical]
            there = [name for name in names if name not in self._absent]
            stored = dict(zip(there, stored_arrays(batch, [self._places[name] for name in there]), strict=True))
            arrays = []
            for name, canonical in zip(names, self._canonical, strict=True):
                if name in self._absent:
                    arrays.append(empty(canonical.column.kind, batch.num_rows))
                    continue
                values, unreadable = self._read(name, stored[name])
                if unreadable:
                    self._count(name, unreadable)
                values = self._in_zone(name, stored[name], canonical(values, rows))
                number = canonical.column.kind is Kind.NUMBER
                arrays.append(without(values, self._readings[name]) if number else values)
            found = pa.RecordBatch.from_arrays(arrays, names=names)
            places = np.asarray(rows, dtype=np.int64) - 1
            if self._frequency is None:
                return self._counted(places, found)
            name = self._frequency.column.name
            (times,) = stored_arrays(batch, [self._places[name]])
            self._again = _repeated(found, frequencies(self._frequency, self._read(name, times)[0], rows), places)
        return self._counted(*again)

    def _counted(self, places: NDArray[np.int64], batch: pa.RecordBatch) -> pa.RecordBatch:
        self.places = places
        self.rows_read += len(places)
        self.rows_kept += len(places)
        return batch

    def _count(self, name: str, unreadable: int) -> None:
        """Count values of a column that mean nothing there; DataError where nothing may be passed over."""
        self.unreadable[name] += unreadable
        if self._strict:
            kind = called(self._readings[name].kind)
            raise DataError(
                f"column {quoted(name)} of {self._name} is read as a {kind}, and {unreadable:,} of its values cannot "
                "be; --strict refuses them: correct them, or leave --strict out, and they count as missing",
                code="strict",
            )

    def meets(self, row: pa.RecordBatch) -> bool:
        """Whether a row, as stored, meets the condition."""
        return self._condition is None or self._filtered(row, self._condition, 0)[0].num_rows > 0

    def said_of_unreadable(self, name: str) -> str:
        """Say how many values of a column its reading does not take; nothing if it takes them all."""
        rows, kind = self.unreadable[name], called(self._readings[name].kind)
        examples = ", ".join(quoted(text, 40) for text in self.examples.get(name, ()))
        return f"{count(rows, 'value')} cannot be read as a {kind}, such as {examples}" if rows else ""

    def _read(self, name: str, array: pa.Array) -> tuple[pa.Array, int]:
        """Read texts that mean something else, or have no type; return how many mean nothing that the reading takes."""
        reading = self._readings[name]
        stored = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if not is_text(stored) or (reading.kind is Kind.CATEGORY and name not in self._untyped):
            return array, 0
        values, unreadable = parse(array, reading)
        if reading.kind is Kind.TIMESTAMP and unreadable.any():
            refuse_other_times(array.filter(pa.array(unreadable)), reading, name, quoted(self._name))
        if unreadable.any() and name not in self.examples:
            texts = array.filter(pa.array(unreadable)).slice(0, _EXAMPLES).cast(pa.string())
            self.examples[name] = list(dict.fromkeys(texts.to_pylist()))
        return values, int(np.count_nonzero(unreadable))

    def _in_zone(self, name: str, stored: pa.Array, values: pa.Array) -> pa.Array:
        """Return times that are stored as such in the zone of their reading; what is stored as text was read so."""
        if self._readings[name].kind is not Kind.TIMESTAMP or kind_of(stored.type) is not Kind.TIMESTAMP:
            return values
        return in_zone(values, zone_of(stored.type) is not None, self._readings[name], name, quoted(self._name))

    def _filtered(
        self, batch: pa.RecordBatch, condition: Filter, first: int
    ) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        """Return the rows that meet the condition and their positions in the batch, which starts at a place."""
        names = [name for name in condition.columns if name not in condition.listed]
        stored = dict(zip(names, stored_arrays(batch, [self._places[name] for name in names]), strict=True))
        places = np.arange(batch.num_rows)
        tested = [
            pa.array(condition.listed[name].among(first + places))
            if name in condition.listed
            else self._in_zone(name, stored[name], comparable(self._read(name, stored[name])[0], self._kinds[name]))
            for name in condition.columns
        ]
        positions = pa.array(places)
        arrays = [*tested, positions, *batch.columns]
        # The condition refers to its columns by position, so these names only have to differ.
        numbered = pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])
        try:
            kept = numbered.filter(condition.expression)
        except pa.ArrowInvalid as problem:
            # All types are known to compare: what is left are integers that float64 does not hold.
            raise DataError(
                f"the condition compares an integer beyond 2^53 with floating-point numbers, which would round it "
                f"({problem}); use numbers within 2^53 there, or store that column as integers",
                code="integer-too-large",
            ) from problem
        columns = kept.columns[len(tested) + 1 :]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names), kept.column(len(tested)).to_numpy()


def _repeated(
    batch: pa.RecordBatch, times: np.ndarray[Any, Any], places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield the rows of a batch, each so many times, some at once, with their places: a batch may have no column."""
    ends = np.cumsum(times)
    for start in range(0, int(ends[-1]), _REPEATED_AT_ONCE):
        entries = np.arange(start, min(start + _REPEATED_AT_ONCE, int(ends[-1])))
        rows = np.searchsorted(ends, entries, side="right")
        yield places[rows], batch.take(pa.array(rows)) if batch.num_columns else batch


@lru_cache(maxsize=16)  # opening a table and each scan ask for the same one
def compiled(condition: Condition | None, columns: tuple[Column, ...]) -> Filter | None:
    """Return a condition as it is applied to these columns; UsageError where it cannot be read."""
    if condition is None:
        return None
    # Imported here because it loads sqlglot, which most tables do not need.
    from batchlearn.tables.where import compile_condition

    return compile_condition(condition, columns)
