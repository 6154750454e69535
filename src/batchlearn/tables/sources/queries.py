"""The answer of one SELECT, of a SQLite or DuckDB file that cannot be changed by it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from batchlearn.errors import DataError, ResourceError, UsageError, quoted
from batchlearn.tables.columns import EXACT_INTEGER
from batchlearn.tables.conditions import identifier
from batchlearn.tables.database.sqlite import named_refusals, opened

_FETCHED = 50_000
_MOST_NAMED = 5
# Nothing but the file itself is read or written, and rows come in one order: threads change that of groups.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
    "threads": "1",
}


def sqlite_rows(path: Path, query: str | None) -> pa.Table:
    """Return the rows of a query, or of the only table. Values have the types that are stored, whatever was declared.

    A column of numbers and texts is one of texts, which are inspected as those of a CSV file.
    """
    with opened(path) as connection:
        names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*'"
        with named_refusals(path, names):
            tables = [name for (name,) in connection.execute(names)] if query is None else []
        text = query or _only_table(path, tables)
        with named_refusals(path, text):
            cursor = connection.execute(f"SELECT * FROM ({text.strip().rstrip(';')})")
            columns = [str(column[0]) for column in cursor.description]
            parts = []
            while rows := cursor.fetchmany(_FETCHED):
                parts.append(list(zip(*rows, strict=True)))
    arrays = [_array([value for part in parts for value in part[place]]) for place in range(len(columns))]
    return pa.Table.from_arrays(arrays, names=columns)


def duckdb_rows(path: Path, query: str | None) -> pa.Table:
    """Return the rows of a query, or of the only table, with their types."""
    try:
        import duckdb
    except ImportError as problem:
        raise UsageError(
            f"file {quoted(path)} is a DuckDB database, and the package duckdb, which reads those, is not there: "
            'pip install "batchlearn[duckdb]"',
            code="extra-missing",
        ) from problem

    text = query or "the tables"
    try:
        with duckdb.connect(str(path), read_only=True, config=_CLOSED) as connection:
            if query is None:
                names = "SELECT table_name FROM information_schema.tables"
                text = _only_table(path, connection.sql(names).to_arrow_table().column(0).to_pylist())
            statements = connection.extract_statements(text)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError(
                    f"The query {quoted(text)} of {quoted(path)} was not answered: it needs to be one SELECT.",
                    code="query-failed",
                )
            table = connection.sql(text).to_arrow_table()
    except duckdb.Error as problem:
        if isinstance(problem, duckdb.IOException) and "lock" in str(problem):
            raise ResourceError(
                f"The database {quoted(path)} is locked by another program; try again when it is done.",
                code="database-locked",
            ) from problem
        # What is damaged comes as an error of no class of its own.
        damage = (duckdb.IOException, duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)
        if isinstance(problem, damage) or type(problem) is duckdb.Error:
            raise DataError(
                f"file {quoted(path)} is no readable DuckDB database ({quoted(problem, 200)}); it may be damaged, or "
                "of another version of DuckDB: copy it again, or write its tables to Parquet",
                code="database-unreadable",
            ) from problem
        raise UsageError(
            f"The query {quoted(text)} of {quoted(path)} was not answered: {quoted(problem, 200)}. It needs to be one "
            "SELECT of a DuckDB database.",
            code="query-failed",
        ) from problem
    return table


def _only_table(path: Path, names: Sequence[str]) -> str:
    """Return the query for all rows of the only table. DataError where there is none, UsageError where several."""
    if not names:
        raise DataError(f"database {quoted(path)} has no table; one with rows is needed", code="no-rows")
    queries = [f"SELECT * FROM {identifier(name)}" for name in names]
    if len(names) > 1:
        choices = " or ".join(f"--query {shlex.quote(query)}" for query in queries[:_MOST_NAMED])
        more = f" or another of {len(names)} tables" if len(names) > _MOST_NAMED else ""
        raise UsageError(
            f"database {quoted(path)} has {len(names)} tables; say which rows are meant: add {choices}{more}",
            code="query-not-given",
        )
    return queries[0]


def _array(values: list[Any]) -> pa.Array:
    """Make a column of what SQLite stored: whole numbers, numbers, texts, or bytes, which have no kind."""
    kinds = {type(value) for value in values if value is not None}
    if bytes in kinds:
        return pa.array([None if value is None else str(value).encode() for value in values], pa.binary())
    inexact = kinds == {int, float} and any(isinstance(value, int) and abs(value) > EXACT_INTEGER for value in values)
    if str in kinds or inexact:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values, pa.int64() if kinds == {int} else pa.float64() if kinds else pa.null())
