"""Rows of a query of a database, read without any right to change it, in one consistent view.

A view counts rows by their times, which tells what came since an earlier one, and reads those of a stretch of time.
SQLite has a module here, and so has PostgreSQL.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.errors import DataError, quoted
from batchlearn.tables.columns import EXACT_INTEGER, inexact_integer, name_advice, refuse_equal_names
from batchlearn.tables.conditions import identifier
from batchlearn.tables.database.postgres import open_postgres
from batchlearn.tables.database.sqlite import open_sqlite

Moment = str | int | float | decimal.Decimal | datetime.date
"""A time as a database has it: text, a number, or a date."""

_MICROSECONDS = pa.timestamp("us")


@dataclass(frozen=True)
class Query:
    """A SELECT, the database that answers it, and the columns that say when: seen, labelled, landed."""

    database: Path | str
    """A file of SQLite, or an address of PostgreSQL."""
    text: str
    time: str
    target: str
    labelled: str | None = None
    landed: str | None = None

    @property
    def times(self) -> tuple[str, ...]:
        """The columns whose texts are read as times."""
        return tuple(dict.fromkeys(name for name in (self.time, self.labelled) if name is not None))

    @property
    def counted_by(self) -> tuple[str, ...]:
        """The columns by whose values rows are counted, that of the time first."""
        return tuple(dict.fromkeys((*self.times, *([self.landed] if self.landed else []))))


class Connection(Protocol):
    """An open database that answers one query, as it is at one moment."""

    rows: str
    """The query as a part of another."""
    bounds: tuple[str, str]
    """What stands in a text for its first and its second value."""

    def described(self) -> list[tuple[str, pa.DataType | None]]:
        """Return the columns of the query with their types; None where each value has its own."""
        ...

    def batches(self, text: str, values: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows that a text about the query gives, some at a time."""
        ...


class Counted(NamedTuple):
    """How many rows have the very same times, and how many of them have a label; column by column."""

    times: tuple[tuple[Any, ...], ...]
    rows: tuple[int, ...]
    labels: tuple[int, ...]


class QueryView:
    """An open view of a query: what it counts and reads is of one moment."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self._connection = connection
        self.query = query
        self._rows = connection.rows
        described = connection.described()
        self.columns = [name for name, _ in described]
        self._types = dict(described)
        self._read_as: dict[str, pa.DataType] = {}
        for needed in (*query.counted_by, query.target):
            if needed not in self.columns:
                raise DataError(
                    f"The query has no column {quoted(needed)}; {name_advice(needed, self.columns)}",
                    code="column-missing",
                )
        refuse_equal_names(self.columns, "the query", self.columns)
        self._time = identifier(query.time)

    def ends(self) -> tuple[Moment, Moment] | None:
        """Return the first and the last time, in the order of the database; None where no row has one."""
        ends = f"SELECT min({self._time}), max({self._time}) FROM {self._rows}"
        first, last = next(self._connection.batches(ends, ()))[0]
        return None if first is None else (first, last)

    def counted(self) -> Iterator[Counted]:
        """Yield how many rows have the same times, in the order of the time, many of the counts at once."""
        times = ", ".join(identifier(name) for name in self.query.counted_by)
        text = (
            f"SELECT {times}, count(*), count({identifier(self.query.target)}) FROM {self._rows} "
            f"GROUP BY {times} ORDER BY {times}"
        )
        for batch in self._connection.batches(text, ()):
            *times_of_all, rows, labels = zip(*batch, strict=True)
            yield Counted(tuple(times_of_all), rows, labels)

    def between(self, first: Moment, last: Moment) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows from one time to another, both included, in the order that the database gives times."""
        from_first, to_last = self._connection.bounds
        within = f"{self._time} >= {from_first} AND {self._time} <= {to_last}"
        text = f"SELECT * FROM {self._rows} WHERE {within} ORDER BY {self._time}"
        yield from self._connection.batches(text, (first, last))

    def untimed(self) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows without a time."""
        yield from self._connection.batches(f"SELECT * FROM {self._rows} WHERE {self._time} IS NULL", ())

    def instants(self, values: Sequence[Any]) -> pa.Array:
        """Return values of the time as microseconds since 1970, or as numbers where it holds numbers."""
        array = self._array(self.query.time, values)
        if pa.types.is_null(array.type):
            return array.cast(pa.float64())
        if pa.types.is_temporal(array.type):
            return pc.cast(pc.cast(array, pa.timestamp("us", getattr(array.type, "tz", None))), pa.int64())
        numbers = pc.cast(array, pa.float64(), safe=False)
        if not pc.all(pc.is_finite(numbers), min_count=0).as_py():
            raise DataError(
                f"Column {quoted(self.query.time)} of the query holds a number that is not finite; a time needs to be.",
                code="query-times",
            )
        return numbers

    def table(self, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
        """Return rows as a table, with the types of the query or, where it has none, those of the values."""
        columns = zip(*rows, strict=True) if rows else [() for _ in self.columns]
        arrays = [self._array(name, values) for name, values in zip(self.columns, columns, strict=True)]
        return pa.Table.from_arrays(arrays, names=self.columns)

    def _array(self, name: str, values: Sequence[Any]) -> pa.Array:
        declared = self._types[name]
        kinds = {type(value) for value in values if value is not None}
        if name in self.query.times and kinds <= {str} and (declared is None or pa.types.is_string(declared)):
            return self._times(name, values) if kinds else pa.nulls(len(values))
        if declared is not None and not (pa.types.is_float64(declared) and decimal.Decimal in kinds):
            return pa.array(values, declared)
        if kinds <= {int, float, decimal.Decimal}:
            return _numbers(name, values)
        if kinds == {str}:
            return pa.array(values, pa.string())
        stored = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise several_kinds(name, f"values of several kinds or bytes ({stored})")

    def _times(self, name: str, values: Sequence[Any]) -> pa.Array:
        """Read texts as times: all those of a column with a zone, or all without."""
        texts = pa.array(values, pa.string())
        known = [self._read_as[name]] if name in self._read_as else [_MICROSECONDS, pa.timestamp("us", "UTC")]
        for stored in known:
            try:
                times = pc.cast(pc.cast(texts, stored), _MICROSECONDS)
            except pa.ArrowInvalid:
                continue
            self._read_as[name] = stored
            return times
        raise DataError(
            f"Column {quoted(name)} of the query holds texts that are no times, or times of which some have a zone and "
            "some have none; write all as 2008-01-31 23:59:00.",
            code="query-times",
        )


@contextmanager
def open_view(query: Query) -> Iterator[QueryView]:
    """Open a view of a query. DataError where there is no such database or the query cannot be answered."""
    opened: AbstractContextManager[Connection]
    if isinstance(query.database, Path):
        opened = open_sqlite(query.database, query.text)
    else:
        opened = open_postgres(query.database, query.text)
    with opened as connection:
        yield QueryView(connection, query)


def several_kinds(name: str, what: str) -> DataError:
    """Make the error for a column of which no one type can be made."""
    return DataError(
        f"Column {quoted(name)} of the query holds {what}; one kind is needed. Convert it in the query with CAST, or "
        "leave it out.",
        code="query-kinds",
    )


def _numbers(name: str, values: Sequence[Any]) -> pa.Array:
    if all(value is None for value in values):
        return pa.nulls(len(values))
    for value in values:
        whole = isinstance(value, int) or (isinstance(value, decimal.Decimal) and value == value.to_integral_value())
        if whole and math.isfinite(value) and abs(value) > EXACT_INTEGER:
            raise inexact_integer(name, str(value), "the query", "CAST it AS TEXT in the query, or leave it out")
    return pa.array([None if value is None else float(value) for value in values], pa.float64())
