"""PostgreSQL databases, of which nothing is asked but to read. The package psycopg is an extra.

Passwords are libpq's to find (~/.pgpass, PGPASSWORD, a service file): an address with one is refused wherever it would
be written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from batchlearn.errors import BatchlearnError, DataError, ResourceError, UsageError, quoted

if TYPE_CHECKING:
    import psycopg

_ADDRESS = re.compile(r"postgres(?:ql)?://")
_WITHIN_TEXT = re.compile(r"postgres(?:ql)?://[^\s\"']*")
# Whatever stands between a colon and an @, since a password may hold any sign.
_BEFORE_HOST = re.compile(r"[a-z]+://[^@]*:[^@]+@")
_VALUE_NAME = re.compile(r"[?&]([^=&]*)=")
_SECONDS_TO_WAIT = 30.0
_FETCHED = 50_000
# By the numbers that PostgreSQL gives its own types.
_TYPES = {
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23), pa.int64()),
    **dict.fromkeys((700, 701, 1700), pa.float64()),
    **dict.fromkeys((19, 25, 1042, 1043), pa.string()),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}
_NOT_LET_IN = re.compile(r"password|authentication|pg_hba|role \"|permission denied")
_NO_DATABASE = re.compile(r"database \".*\" does not exist")
# What ends an answer: the connection, the server, its limits, a statement that was cancelled.
_INTERRUPTIONS = ("08", "40", "53", "57", "58")


def is_postgres(database: str) -> bool:
    """Say whether a database is given by an address of PostgreSQL."""
    return _ADDRESS.match(database) is not None


def refuse_password(text: str) -> None:
    """Raise UsageError, which does not show it, where an address of PostgreSQL or one within a text has a password."""
    for address in (*_WITHIN_TEXT.findall(text), *([text] if is_postgres(text) else [])):
        names = {unquote(name) for name in _VALUE_NAME.findall(address)}
        if _BEFORE_HOST.match(address) or not names.isdisjoint(("password", "sslpassword")):
            raise UsageError(
                "The address of the database holds a password, which would stay on record; leave it out, and give it "
                "to libpq in ~/.pgpass, a service file or PGPASSWORD. (An @ within a value is written %40.)",
                code="password-in-address",
            )


class PostgresConnection:
    """An open PostgreSQL database that answers one query."""

    bounds = ("$1", "$2")

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], database: str, query: str) -> None:
        self._connection = connection
        self._database = database
        self._query = query
        self.rows = f"({query.strip().rstrip(';')}\n) AS query"

    def described(self) -> list[tuple[str, pa.DataType | None]]:
        """Return the columns of the query with their types. DataError for a type that is of no kind."""
        with _named_refusals(self._database, self._query):
            # Binary, since then the server takes no text of several statements.
            cursor = self._connection.execute(f"SELECT * FROM {self.rows} LIMIT 0", binary=True)
            for column in cursor.description or ():
                if column.type_code not in _TYPES:
                    named = self._connection.execute("SELECT format_type($1, NULL)", (column.type_code,)).fetchone()
                    raise DataError(
                        f"Column {quoted(column.name)} of the query is of type {quoted((named or ('?',))[0])}, which "
                        "holds no numbers, texts, booleans, dates or times. Convert it in the query with CAST, as in "
                        f'CAST("{column.name}" AS text), or leave it out.',
                        code="query-kinds",
                    )
            return [(column.name, _TYPES[column.type_code]) for column in cursor.description or ()]

    def batches(self, text: str, values: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows that a text about the query gives, some at a time."""
        with (
            _named_refusals(self._database, self._query),
            self._connection.cursor("batchlearn", scrollable=False) as cursor,
        ):
            cursor.execute(text, tuple(values), binary=True)
            while batch := cursor.fetchmany(_FETCHED):
                yield batch


@contextmanager
def open_postgres(database: str, query: str) -> Iterator[PostgresConnection]:
    """Open a PostgreSQL database as it is at this moment, for one query, in a transaction that can only read."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as problem:
        raise UsageError(
            "The source is a PostgreSQL database, and the package psycopg, which reads those, is not there: "
            'pip install "batchlearn[postgres]"',
            code="extra-missing",
        ) from problem
    refuse_password(database)
    # A server that is gone without a word is noticed.
    seconds = str(max(1, round(_SECONDS_TO_WAIT)))
    unless_said = {"connect_timeout": seconds, "keepalives_idle": "30", "keepalives_interval": "10"}
    unless_said["application_name"] = "batchlearn"
    try:
        said = conninfo_to_dict(database)
        settings = make_conninfo(database, **{key: value for key, value in unless_said.items() if key not in said})
    except psycopg.ProgrammingError as problem:
        raise UsageError(
            f"{quoted(database)} is no address of a PostgreSQL database; write postgresql://user@host/database.",
            code="database-address",
        ) from problem
    try:
        connection = psycopg.connect(
            settings,
            client_encoding="utf8",
            prepare_threshold=None,
            cursor_factory=psycopg.RawCursor,
        )
    except psycopg.Error as problem:
        raise _not_opened(database, str(problem)) from problem
    try:
        connection.server_cursor_factory = psycopg.RawServerCursor
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with _named_refusals(database, query):
            connection.execute(f"SET LOCAL lock_timeout = {round(_SECONDS_TO_WAIT * 1000)}")
            connection.execute("SET LOCAL TIME ZONE 'UTC'")
            # All rows of a cursor are read.
            connection.execute("SET LOCAL cursor_tuple_fraction = 1.0")
        yield PostgresConnection(connection, database, query)
    finally:
        connection.close()


def _not_opened(database: str, reason: str) -> BatchlearnError:
    """Make the error for a database that could not be opened."""
    said = quoted(reason.strip().splitlines()[-1] if reason.strip() else "no reason was given", 300)
    if _NO_DATABASE.search(reason):
        return DataError(
            f"There is no such database as {quoted(database)} ({said}); correct its name in [source].",
            code="database-missing",
        )
    if _NOT_LET_IN.search(reason):
        return ResourceError(
            f"The server of {quoted(database)} does not let this user in ({said}); give the password in ~/.pgpass, a "
            "service file or PGPASSWORD, or have the user allowed to connect.",
            code="database-login",
        )
    return ResourceError(
        f"The server of {quoted(database)} cannot be reached ({said}); see that it runs and that its address is right, "
        "and try again.",
        code="database-unreachable",
    )


@contextmanager
def _named_refusals(database: str, query: str) -> Iterator[None]:
    """Say in our errors why a database did not answer a query."""
    import psycopg

    try:
        yield
    except psycopg.Error as problem:
        raise _refused(database, query, problem) from problem


def _refused(database: str, query: str, problem: psycopg.Error) -> BatchlearnError:
    """Make the error for a query that was not answered."""
    import psycopg

    state, reason = problem.sqlstate or "", problem.diag.message_primary or str(problem).strip().partition("\n")[0]
    lost = isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError) and not state
    if state == "55P03":
        return ResourceError(
            f"A table of the database {quoted(database)} is locked by another program; try again when it is done.",
            code="database-locked",
        )
    if lost or state.startswith(_INTERRUPTIONS):
        return ResourceError(
            f"The database {quoted(database)} did not answer the query to its end ({quoted(reason, 300)}); what was "
            "fetched is kept: run the command again.",
            code="database-interrupted",
        )
    if state == "42501":
        return ResourceError(
            f"The query {quoted(query)} of {quoted(database)} may not be answered for this user "
            f"({quoted(reason, 300)}); have it allowed with GRANT SELECT.",
            code="database-permission",
        )
    if state == "42703":
        named = re.search(r"[\"«„](.+?)[\"»“]", reason) or re.search(r"column (\S+)", reason)
        return DataError(
            f"The query {quoted(query)} of {quoted(database)} names a column {quoted(named[1] if named else reason)}, "
            "which is not there: put it back, or leave it out of the query.",
            code="column-missing",
        )
    if state == "22021" or (isinstance(problem, psycopg.DataError) and not state):
        times = "a time that is no date of the years 1 to 9999, such as infinity"
        what, code = ("text that is not UTF-8", "not-utf8") if state else (times, "query-times")
        return DataError(
            f"The query {quoted(query)} gives {what} ({quoted(reason, 300)}); convert it in the query, or leave such "
            "rows out.",
            code=code,
        )
    return UsageError(
        f"The query {quoted(query)} of {quoted(database)} was not answered: {quoted(reason, 300)}. It needs to be one "
        "SELECT of a PostgreSQL database.",
        code="query-failed",
    )
