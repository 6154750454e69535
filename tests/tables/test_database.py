from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from batchlearn.errors import BatchlearnError, DataError, ResourceError
from batchlearn.tables.database import Query, QueryView, open_view

COLUMNS = "a real, colour text, seen text, known text, code integer"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE orders ({COLUMNS})")
        rows = [
            (0.5 * i, "rgb"[i % 3], f"2026-01-{1 + i:02d} 10:00:00", f"2026-02-{1 + i:02d} 00:00:00", i)
            for i in range(9)
        ]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("INSERT INTO orders VALUES (7, 'r', '2026-01-20 10:00:00', NULL, 77)")
    connection.close()
    return path


def query(path: Path, text: str = "SELECT * FROM orders") -> Query:
    return Query(path, text, "seen", "code", "known")


def all_rows(view: QueryView) -> pa.Table:
    ends = view.ends()
    assert ends is not None
    return view.table([row for batch in view.between(*ends) for row in batch])


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_rows_come_in_the_order_of_their_time_in_types_of_their_own(shop: Path) -> None:
    with open_view(query(shop)) as view:
        assert view.ends() == ("2026-01-01 10:00:00", "2026-01-20 10:00:00")
        rows = all_rows(view)
        within = [row[0] for batch in view.between("2026-01-03 10:00:00", "2026-01-04 23:00:00") for row in batch]
    assert rows.column("code").to_pylist() == [*range(9), 77]
    assert rows.schema.types == [pa.float64(), pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.float64()]
    assert within == [1.0, 1.5]


def test_a_query_may_end_in_a_comment(shop: Path) -> None:
    with open_view(query(shop, "SELECT * FROM orders WHERE colour <> '?1' -- all of them")) as view:
        assert all_rows(view).num_rows == 10


def test_rows_are_counted_by_their_times(shop: Path) -> None:
    change(shop, "INSERT INTO orders SELECT a, colour, seen, known, NULL FROM orders WHERE code = 77")
    change(shop, "INSERT INTO orders VALUES (1, 'r', NULL, NULL, 5)")
    with open_view(query(shop)) as view:
        (counted,) = view.counted()
        assert [row[4] for batch in view.untimed() for row in batch] == [5]
    rows = list(zip(*counted.times, counted.rows, counted.labels, strict=True))
    assert rows[0] == (None, None, 1, 1)
    assert rows[1] == ("2026-01-01 10:00:00", "2026-02-01 00:00:00", 1, 1)
    assert rows[-1] == ("2026-01-20 10:00:00", None, 2, 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT * FROM customers", "query-failed"),
        ("DELETE FROM orders", "query-failed"),
        ("SELECT * FROM orders; DROP TABLE orders", "query-failed"),
        ("SELECT load_extension('x') AS known FROM orders", "query-failed"),
        ("SELECT height FROM orders", "column-missing"),
        ("SELECT", "query-failed"),
        ("SELECT a FROM orders", "column-missing"),
        ("SELECT a, x'00' AS blob, seen, known, code FROM orders", "query-kinds"),
        ("SELECT CASE WHEN a > 1 THEN 'x' ELSE a END AS mixed, seen, known, code FROM orders", "query-kinds"),
        ("SELECT 9007199254740993 AS large, seen, known, code FROM orders", "integer-too-large"),
        ("SELECT 'yesterday' AS known, seen, code FROM orders", "query-times"),
        (
            "SELECT '2026-01-0' || (code % 3) || 'T00:00:00' AS seen, known, code FROM orders WHERE code = 0",
            "query-times",
        ),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_and_changes_nothing(text: str, code: str, shop: Path) -> None:
    before = shop.read_bytes()
    with pytest.raises(BatchlearnError) as refusal, open_view(query(shop, text)) as view:
        all_rows(view)
    assert refusal.value.code == code
    assert shop.read_bytes() == before


def test_numbers_that_are_no_times_are_refused(shop: Path) -> None:
    text = "SELECT CASE WHEN code = 0 THEN 9e999 ELSE a END AS seen, known, code FROM orders"
    with open_view(query(shop, text)) as view, pytest.raises(DataError) as refusal:
        view.instants(view.ends() or ())
    assert refusal.value.code == "query-times"


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"), open_view(query(tmp_path / "shop.sqlite")):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "code", "exit_code"),
    [
        (b"", "query-failed", 2),  # what SQLite takes for a database without tables
        (b"SQLite format 3\0 and then nothing", "database-unreadable", 3),
        (b"PAR1" * 100, "database-unreadable", 3),
    ],
)
def test_what_is_no_database_is_refused(data: bytes, code: str, exit_code: int, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    path.write_bytes(data)
    with pytest.raises(BatchlearnError) as refusal, open_view(query(path)):
        pass
    assert (refusal.value.code, refusal.value.exit_code) == (code, exit_code)


def test_a_locked_database_is_said_to_be_locked(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlearn.tables.database.sqlite._SECONDS_TO_WAIT", 0.05)
    other = sqlite3.connect(shop, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ResourceError) as refusal, open_view(query(shop)):
            pass
        assert refusal.value.code == "database-locked"
    finally:
        other.close()


def test_a_view_is_of_one_moment(shop: Path) -> None:
    change(shop, "PRAGMA journal_mode=WAL")
    with open_view(query(shop)) as view:
        before = list(view.counted())
        change(shop, "DELETE FROM orders WHERE code < 5")
        assert list(view.counted()) == before
    with open_view(query(shop)) as view:
        assert list(view.counted()) != before
