"""A table of orders in a database of each kind, and what happens to it between two turns."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.artifacts.store import FolderStore
from batchlearn.retraining.project import SourceSettings, parse_settings
from batchlearn.retraining.sources.snapshots import FetchedPart, fetch

Row = tuple[str | None, str | None, str | None, float, str, int | None]
"""When it was seen, its label was known and it landed; size, colour, and the label."""


class Base(Protocol):
    """A database with a table `orders` that tests change."""

    address: str

    def run(self, statement: str, rows: Sequence[Sequence[Any]] = ()) -> None:
        """Run a statement, once for each row if there are any."""
        ...

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the table so that nobody can read it."""
        ...


class SqliteBase:
    """A file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.sqlite"
        self.address = "shop.sqlite"
        self.run("CREATE TABLE orders (seen text, known text, landed text, size real, colour text, bought int)")

    def run(self, statement: str, rows: Sequence[Sequence[Any]] = ()) -> None:
        """Run it and commit."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            if rows:
                connection.executemany(statement, rows)
            else:
                connection.execute(statement)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Begin to write, and wait."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield


class Shop:
    """A project folder whose source is a query, and its database."""

    def __init__(self, root: Path, base: Base) -> None:
        self.root = root
        self.base = base
        self.store = FolderStore(root)

    def settings(self, query: str = "SELECT * FROM orders", *lines: str) -> SourceSettings:
        """Return the settings of the source; more lines come last."""
        given = (f"database = '{self.base.address}'", f'query = """{query}"""', 'target = "bought"', 'time = "seen"')
        return parse_settings("\n".join(("[source]", *given, *lines))).source

    def add(self, *rows: Row) -> None:
        """Let rows land."""
        self.base.run("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", rows)

    def fetch(self, *lines: str, query: str = "SELECT * FROM orders") -> Fetched:
        """Fetch the query up to date, with its labels known late."""
        settings = self.settings(query, 'labelled = "known"', *lines)
        parts, said = fetch(self.store, settings, self.root)
        return Fetched({part.name: part for part in parts}, said)


class Fetched:
    """What a fetch gave."""

    def __init__(self, parts: dict[str, FetchedPart], said: dict[str, Any]) -> None:
        self.parts = parts
        self.said = said

    def files(self) -> dict[str, str]:
        """Return the file of each part."""
        return {name: part.path.name for name, part in self.parts.items()}

    def column(self, part: str, name: str) -> list[Any]:
        """Return the values of a column in a part."""
        return list(self.table(part).column(name).to_pylist())

    def table(self, part: str) -> pa.Table:
        """Read a part."""
        return pq.read_table(self.parts[part].path)


def order(number: int, day: int, label: int | None = 1) -> Row:
    """Return an order that was seen on a day of January at an hour, its label known two days later if there is one."""
    hour = f"{number % 24:02d}:00:00"
    known = f"2026-01-{day + 2:02d} {hour}" if label is not None else None
    return (f"2026-01-{day:02d} {hour}", known, f"2026-01-{day + 1:02d} 00:00:00", float(number), "red", label)
