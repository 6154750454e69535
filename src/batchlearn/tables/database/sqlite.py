"""SQLite databases, in which nothing can be done but to read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from batchlearn.errors import DataError, ResourceError, UsageError, quoted
from batchlearn.tables.files import named_problems

_SECONDS_TO_WAIT = 30.0
_FETCHED = 50_000
_NO_COLUMN = re.compile(r"^no such column: (.+?)(?: - should this|$)")
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)


class SqliteConnection:
    """An open SQLite database that answers one query; each value has a type of its own, whatever was declared."""

    bounds = (":first", ":last")

    def __init__(self, connection: sqlite3.Connection, database: Path, query: str) -> None:
        self._connection = connection
        self._database = database
        self._query = query
        self.rows = f"({query.strip().rstrip(';')}\n)"  # on a line of its own, behind what may be a comment

    def described(self) -> list[tuple[str, pa.DataType | None]]:
        """Return the names of the columns of the query."""
        with named_refusals(self._database, self._query):
            description = self._connection.execute(f"SELECT * FROM {self.rows} LIMIT 0").description
        return [(str(column[0]), None) for column in description]

    def batches(self, text: str, values: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows that a text about the query gives, some at a time."""
        with named_refusals(self._database, self._query):
            cursor = self._connection.execute(text, dict(zip(("first", "last"), values, strict=False)))
            while batch := cursor.fetchmany(_FETCHED):
                yield batch


@contextmanager
def open_sqlite(database: Path, query: str) -> Iterator[SqliteConnection]:
    """Open a SQLite database as it is at this moment, for one query."""
    with opened(database) as connection:
        yield SqliteConnection(connection, database, query)


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
        if missing := _NO_COLUMN.search(str(problem)):
            raise DataError(
                f"The query {quoted(text)} of {quoted(database)} names a column {quoted(missing[1])}, which is not "
                "there: put it back, or leave it out of the query.",
                code="column-missing",
            ) from problem
        raise UsageError(
            f"The query {quoted(text)} of {quoted(database)} was not answered: {problem}. It needs to be "
            "one SELECT of a SQLite database.",
            code="query-failed",
        ) from problem
