"""Rows of a query of a SQLite database, read without any right to change it, in one consistent view.

A query is read from where one left off: its rows are marked by a column that grows (when a row was seen, or when its
label was known), and only those beyond the last mark are fetched.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.errors import DataError, ResourceError, UsageError, quoted
from batchlearn.tables.columns import EXACT_INTEGER, inexact_integer, name_advice
from batchlearn.tables.conditions import identifier
from batchlearn.tables.files import named_problems

Mark = str | int | float
_SECONDS_TO_WAIT = 30.0
_FETCHED = 50_000
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_MICROSECONDS = pa.timestamp("us")


@dataclass(frozen=True)
class Query:
    """A SELECT and the SQLite database that answers it; `mark` is a column that grows."""

    database: Path
    text: str
    mark: str
    times: tuple[str, ...]


class QueryView:
    """An open view of a query: what it counts and fetches is of one moment."""

    def __init__(self, connection: sqlite3.Connection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self._rows = f"({query.text.strip().rstrip(';')})"
        described = self._run(f"SELECT * FROM {self._rows} LIMIT 0").description
        self.columns = [str(column[0]) for column in described]
        if query.mark not in self.columns:
            raise DataError(
                f"The query has no column {quoted(query.mark)}; {name_advice(query.mark, self.columns)}",
                code="column-missing",
            )
        self._mark = identifier(query.mark)

    def unmarked(self) -> int:
        """Return how many rows have no mark yet."""
        return int(self._run(f"SELECT count(*) FROM {self._rows} WHERE {self._mark} IS NULL").fetchone()[0])

    def marked_of_last(self, time: str, share: float) -> float:
        """Return which part of the last rows by `time`, a share of all, has a mark; 1 where there is none."""
        name = identifier(time)
        last = f"SELECT {self._mark} AS mark FROM {self._rows} WHERE {name} IS NOT NULL ORDER BY {name} DESC LIMIT ?"
        rows = self._run(f"SELECT count(*) FROM {self._rows} WHERE {name} IS NOT NULL").fetchone()[0]
        looked, marked = self._run(f"SELECT count(*), count(mark) FROM ({last})", (math.ceil(share * rows),)).fetchone()
        return float(marked / looked) if looked else 1.0

    def digest(self, until: Mark) -> str:
        """Return the SHA-256 of the times of the rows with a mark up to `until`, each with how many rows have it.

        It is another one as soon as rows are gone or came, unless as many rows with the very same times came.
        """
        times = ", ".join(identifier(name) for name in dict.fromkeys((self._query.mark, *self._query.times)))
        counted = (
            f"SELECT {times}, count(*) FROM {self._rows} WHERE {self._mark} <= ? GROUP BY {times} ORDER BY {times}"
        )
        cursor, digest = self._run(counted, (until,)), hashlib.sha256()
        with named_refusals(self._query.database, self._query.text):
            while part := cursor.fetchmany(_FETCHED):
                digest.update(repr(part).encode())
        return digest.hexdigest()

    def after(self, mark: Mark | None) -> tuple[pa.Table, Mark | None]:
        """Return the rows beyond a mark (all that have one, for None) in its order, and the last mark."""
        beyond = f"{self._mark} > ?" if mark is not None else f"{self._mark} IS NOT NULL"
        cursor = self._run(
            f"SELECT * FROM {self._rows} WHERE {beyond} ORDER BY {self._mark}", () if mark is None else (mark,)
        )
        parts: list[list[tuple[Any, ...]]] = []
        with named_refusals(self._query.database, self._query.text):
            while part := cursor.fetchmany(_FETCHED):
                parts.append(part)
        rows = [row for part in parts for row in part]
        place = self.columns.index(self._query.mark)
        last = rows[-1][place] if rows else mark
        arrays = [self._array(name, [row[number] for row in rows]) for number, name in enumerate(self.columns)]
        table = pa.table(dict(zip(self.columns, arrays, strict=True)))
        self._check_order(table)
        return table, last

    def _run(self, text: str, values: Sequence[Mark] = ()) -> sqlite3.Cursor:
        with named_refusals(self._query.database, self._query.text):
            return self._connection.execute(text, tuple(values))

    def _array(self, name: str, values: list[Any]) -> pa.Array:
        kinds = {type(value) for value in values if value is not None}
        if name in self._query.times:
            return _times(name, values, kinds)
        if kinds <= {int, float}:
            return _numbers(name, values)
        if kinds == {str}:
            return pa.array(values, pa.string())
        stored = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(
            f"Column {quoted(name)} of the query holds values of several kinds or bytes ({stored}); one kind is "
            "needed. Convert it in the query with CAST, or leave it out.",
            code="query-kinds",
        )

    def _check_order(self, table: pa.Table) -> None:
        """Refuse marks that the database orders in another way than time does: rows would be passed over."""
        marks = table.column(self._query.mark)
        if len(marks) < 2 or self._query.mark not in self._query.times:
            return
        earlier, later = marks.slice(0, len(marks) - 1), marks.slice(1)
        if pc.any(pc.less(later, earlier)).as_py():
            raise DataError(
                f"Column {quoted(self._query.mark)} of the query is not ordered as its times are; write all times in "
                "one form such as 2008-01-31 23:59:00.",
                code="query-order",
            )


@contextmanager
def open_view(query: Query) -> Iterator[QueryView]:
    """Open a view of a query. DataError where there is no such database or the query cannot be answered."""
    with opened(query.database) as connection:
        yield QueryView(connection, query)


@contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite database in which nothing can be done but to read, as it is at this moment."""
    with named_problems(database):
        database.stat()
    connection = None
    try:
        with named_refusals(database, "SELECT"):
            address = f"file:{quote(str(database.absolute()))}?mode=ro"
            connection = sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_WAIT, isolation_level=None)
            connection.execute("BEGIN")
            connection.set_authorizer(_only_reading)
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _only_reading(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    harmless = action in _READING and not (action == sqlite3.SQLITE_FUNCTION and second == "load_extension")
    del first
    return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY


@contextmanager
def named_refusals(database: Path, text: str) -> Iterator[None]:
    """Say in our errors why a database did not answer a query."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as problem:
        locked = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        # Texts that are not UTF-8 and more than one statement have no code of SQLite's.
        own = sqlite3.SQLITE_ERROR if isinstance(problem, sqlite3.ProgrammingError) else sqlite3.SQLITE_CORRUPT
        code = getattr(problem, "sqlite_errorcode", own)
        if code in locked:
            raise ResourceError(
                f"The database {quoted(database)} is locked by another program; try again when it is done.",
                code="database-locked",
            ) from problem
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise DataError(
                f"file {quoted(database)} is no readable SQLite database ({problem}); it may be cut short or damaged: "
                "copy it again",
                code="database-unreadable",
            ) from problem
        raise UsageError(
            f"The query {quoted(text)} of {quoted(database)} was not answered: {problem}. It needs to be "
            "one SELECT of a SQLite database.",
            code="query-failed",
        ) from problem


def _numbers(name: str, values: list[Any]) -> pa.Array:
    if all(value is None for value in values):
        return pa.nulls(len(values))
    for value in values:
        if isinstance(value, int) and abs(value) > EXACT_INTEGER:
            raise inexact_integer(name, str(value), "the query", "CAST it AS TEXT in the query, or leave it out")
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _times(name: str, values: list[Any], kinds: set[type]) -> pa.Array:
    if kinds <= {int, float}:
        return _numbers(name, values) if kinds else pa.nulls(len(values))
    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    for stored in (_MICROSECONDS, pa.timestamp("us", "UTC")):
        try:
            return pc.cast(pc.cast(texts, stored), _MICROSECONDS)
        except pa.ArrowInvalid:
            continue
    raise DataError(
        f"Column {quoted(name)} of the query holds texts that are no times; write them as 2008-01-31 23:59:00.",
        code="query-times",
    )
