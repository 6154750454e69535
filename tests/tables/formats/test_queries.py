from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.tables.formats.made import refusal, scanned

from batchlearn.tables.table import Kind, read


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, price, seen TEXT, zip TEXT, picture BLOB)")
        rows = [(i, f"${i}.50" if i % 3 else None, f"{i + 1:02d}/02/2024", f"0{i:04d}", b"x") for i in range(25)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute('CREATE TABLE "the people" (name TEXT)')
        connection.execute("INSERT INTO \"the people\" VALUES ('Ann')")
    connection.close()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT i AS id, i * 0.5 AS price, '0' || i AS zip, "
            "DATE '2024-01-01' + i::INT AS day, [i] AS tags FROM range(50) r(i)"
        )
        connection.execute("CREATE TABLE people AS SELECT 1 AS x")
    return path


def test_texts_of_sqlite_are_looked_at_and_numbers_stay(shop: Path) -> None:
    table = read(shop, query="SELECT * FROM orders WHERE id < 20")
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds == {
        "id": Kind.NUMBER,
        "price": Kind.NUMBER,
        "seen": Kind.TIMESTAMP,
        "zip": Kind.CATEGORY,
    }
    assert [remark.column for remark in table.remarks if not remark.used] == ["picture"]
    found = scanned(table)
    assert found["price"][:4] == [None, 1.5, 2.5, None]
    assert found["zip"][3] == "00003"
    assert str(found["seen"][-1]) == "2024-02-20 00:00:00"


def test_types_of_duckdb_stay(store: Path) -> None:
    table = read(store, query="FROM orders ORDER BY id DESC")
    kinds = {column.name: column.kind for column in table.columns}
    # DuckDB declares its types, so that texts of digits are texts.
    assert kinds == {"id": Kind.NUMBER, "price": Kind.NUMBER, "zip": Kind.CATEGORY, "day": Kind.TIMESTAMP}
    assert scanned(table)["price"][0] == 24.5
    assert [remark.column for remark in table.remarks] == ["tags"]


def test_of_several_tables_the_query_says_which(shop: Path, store: Path) -> None:
    error = refusal(shop)
    assert (error.code, error.exit_code) == ("query-not-given", 2)
    assert """--query 'SELECT * FROM "orders"' or --query 'SELECT * FROM "the people"'""" in error.message
    assert scanned(read(shop, query='SELECT * FROM "the people"')) == {"name": ["Ann"]}
    assert """--query 'SELECT * FROM "orders"'""" in refusal(store).message


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM orders",
        "DROP TABLE orders",
        "SELECT 1; DROP TABLE orders",
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA journal_mode = DELETE",
        "SELECT load_extension('x')",
        "SELECT nothing FROM orders",
        "SELECT",
        ") SELECT 1",
        "COPY orders TO 'out.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "INSTALL httpfs",
        "SET threads = 2",
    ],
)
def test_only_one_select_is_answered_and_nothing_else_is_read(
    shop: Path, store: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.chdir(shop.parent)
    for path in (shop, store):
        before = path.read_bytes()
        error = refusal(path, query=query)
        assert (error.code, error.exit_code) == ("query-failed", 2), error
        assert path.read_bytes() == before
    assert {each.name for each in shop.parent.iterdir()} == {"shop.sqlite", "store.duckdb"}


def test_no_rows_no_table_and_no_database(shop: Path, store: Path, tmp_path: Path) -> None:
    for path in (shop, store):
        assert refusal(path, query="SELECT * FROM orders WHERE id > 99").code == "no-rows"
    connection = sqlite3.connect(tmp_path / "none.sqlite")
    connection.execute("VACUUM")
    connection.close()
    (tmp_path / "torn.sqlite").write_bytes(shop.read_bytes()[:5000])
    (tmp_path / "torn.duckdb").write_bytes(store.read_bytes()[:9000])
    (tmp_path / "magic.sqlite").write_bytes(b"SQLite format 3\0" + bytes(100))
    (tmp_path / "magic.duckdb").write_bytes(bytes(8) + b"DUCK" + bytes(5000))
    (tmp_path / "none.duckdb").write_bytes(b"")
    (tmp_path / "text.sqlite").write_bytes(b"a,b\n1,2\n")
    for name in ("torn.sqlite", "torn.duckdb", "magic.sqlite", "magic.duckdb"):
        error = refusal(tmp_path / name, query="SELECT * FROM orders")
        assert (error.code, error.exit_code) == ("database-unreadable", 3), error
    assert refusal(tmp_path / "none.duckdb").code == "file-empty"
    assert refusal(tmp_path / "text.sqlite").code == "format-unknown"
    (tmp_path / "folder.duckdb").mkdir()
    assert refusal(tmp_path / "folder.duckdb").code == "folder-without-tables"


def test_one_flipped_byte_of_a_duckdb_table_is_found(store: Path) -> None:
    whole = bytearray(store.read_bytes())
    place = next(place for place in range(len(whole) - 1, 0, -1) if whole[place])
    whole[place] ^= 1
    store.write_bytes(whole)
    assert refusal(store, query="SELECT * FROM orders").exit_code == 3


def test_a_query_needs_a_database(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    error = refusal(tmp_path / "rows.csv", query="SELECT * FROM rows")
    assert (error.code, error.exit_code) == ("part-not-known", 2)


def test_a_database_that_another_program_holds_is_said_to_be(store: Path) -> None:
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        error = refusal(store, query="SELECT * FROM orders")
        assert (error.code, error.exit_code) == ("database-locked", 5)
    finally:
        holder.communicate("")


def test_without_the_library_the_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    error = refusal(store, query="SELECT * FROM orders")
    assert (error.code, error.exit_code) == ("extra-missing", 2)
    assert 'pip install "batchlearn[duckdb]"' in error.message


def test_mixed_and_large_values_of_sqlite_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rows (id, mixed, y)")
        connection.executemany(
            "INSERT INTO rows VALUES (?, ?, ?)", [(2**53 + 1, 1.5, 1), (0.5, "NA", 2), (3, 2, 3), (4, 7.25, 4)] * 5
        )
    connection.close()
    table = read(path, target="y")
    assert scanned(table)["mixed"][:4] == [1.5, None, 2.0, 7.25]
    assert "id" not in [column.name for column in table.features]
    assert scanned(read(path, categories=["id"]))["id"][0] == str(2**53 + 1)
