from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from batchlearn.errors import BatchlearnError, DataError, ResourceError
from batchlearn.tables.database import Query, open_view

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


def query(path: Path, text: str = "SELECT * FROM orders", mark: str = "known") -> Query:
    return Query(path, text, mark, ("seen", "known"))


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_rows_come_in_the_order_of_their_marks_in_types_of_their_own(shop: Path) -> None:
    with open_view(query(shop)) as view:
        rows, last = view.after(None)
        assert view.unmarked() == 1
        assert view.marked_of_last("seen", 1.0) == 0.9
    assert last == "2026-02-09 00:00:00"
    assert rows.column("code").to_pylist() == [float(i) for i in range(9)]
    assert rows.schema.types == [pa.float64(), pa.string(), pa.timestamp("us"), pa.timestamp("us"), pa.float64()]


def test_only_what_is_beyond_the_last_mark_is_fetched(shop: Path) -> None:
    with open_view(query(shop)) as view:
        _, last = view.after(None)
        assert view.after(last)[0].num_rows == 0
    change(shop, "UPDATE orders SET known = '2026-03-01 00:00:00' WHERE code = 77")
    with open_view(query(shop)) as view:
        rows, last = view.after(last)
    assert rows.column("code").to_pylist() == [77.0]
    assert last == "2026-03-01 00:00:00"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT * FROM customers", "query-failed"),
        ("DELETE FROM orders", "query-failed"),
        ("SELECT * FROM orders; DROP TABLE orders", "query-failed"),
        ("SELECT load_extension('x') AS known FROM orders", "query-failed"),
        ("SELECT", "query-failed"),
        ("SELECT a FROM orders", "column-missing"),
        ("SELECT a, x'00' AS blob, known FROM orders", "query-kinds"),
        ("SELECT CASE WHEN a > 1 THEN 'x' ELSE a END AS mixed, known FROM orders", "query-kinds"),
        ("SELECT 9007199254740993 AS large, known FROM orders", "integer-too-large"),
        ("SELECT 'yesterday' AS known FROM orders", "query-times"),
        ("SELECT '2026-01-0' || (code % 3) || 'T00:00:00' AS seen, known FROM orders WHERE code = 0", "query-times"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_and_changes_nothing(text: str, code: str, shop: Path) -> None:
    before = shop.read_bytes()
    with pytest.raises(BatchlearnError) as refusal, open_view(query(shop, text)) as view:
        view.after(None)
    assert refusal.value.code == code
    assert shop.read_bytes() == before


def test_times_that_the_database_orders_in_another_way_are_refused(shop: Path) -> None:
    change(shop, "UPDATE orders SET known = '2026-02-01T12:00:00' WHERE code = 0")
    change(shop, "UPDATE orders SET known = '2026-02-01 18:00:00' WHERE code = 1")
    with open_view(query(shop)) as view, pytest.raises(DataError) as refusal:
        view.after(None)
    assert refusal.value.code == "query-order"


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
    monkeypatch.setattr("batchlearn.tables.database._SECONDS_TO_WAIT", 0.05)
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
        before = view.digest("2027")
        change(shop, "DELETE FROM orders WHERE code < 5")
        assert view.digest("2027") == before
    with open_view(query(shop)) as view:
        assert view.digest("2027") != before
