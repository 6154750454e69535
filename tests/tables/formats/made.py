"""One small table in every format that is read, and what reading it gives."""

from __future__ import annotations

import datetime
import json
import sqlite3
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from batchlearn.errors import BatchlearnError
from batchlearn.tables.table import Table, read


def small_table(rows: int = 120) -> pa.Table:
    """Numbers, whole numbers, categories, booleans and times, with missing values, and a label of them.

    Numbers of few digits: the writer of Excel files keeps sixteen.
    """
    start = datetime.datetime(2024, 2, 28, 22, 30)
    numbers = range(rows)
    return pa.table(
        {
            "size": [None if i % 11 == 3 else 0.125 + 0.375 * i % 5 for i in numbers],
            "count": pa.array([None if i % 13 == 5 else (i * i) % 17 for i in numbers], pa.int64()),
            "colour": [None if i % 7 == 2 else ("red", "grün", "blue, dark")[i % 3] for i in numbers],
            "member": [None if i % 17 == 1 else i % 5 < 2 for i in numbers],
            "seen": pa.array([start + datetime.timedelta(hours=7 * i) for i in numbers], pa.timestamp("us")),
            "label": [0.25 * (i % 4) + (i * i) % 17 / 8 for i in numbers],
        }
    )


def to_arrow_stream(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=17)


def to_feather(table: pa.Table, path: Path) -> None:
    feather.write_feather(table, path, compression="zstd", chunksize=50)


def to_arrow_with_levels(table: pa.Table, path: Path) -> None:
    place = table.schema.get_field_index("colour")
    table = table.set_column(place, "colour", table["colour"].dictionary_encode())
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def to_excel(table: pa.Table, path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(table.column_names)
    for row in table.to_pylist():
        book.active.append(list(row.values()))
    book.create_sheet("Notes").append(["made for a test"])
    book.save(path)


def to_json_lines(table: pa.Table, path: Path) -> None:
    lines = (
        json.dumps({name: value for name, value in row.items() if value is not None}, default=str)
        for row in table.to_pylist()
    )
    path.write_text("\n".join(lines) + "\n")


def to_zipped_csv(table: pa.Table, path: Path) -> None:
    csv = path.with_suffix(".inside.csv")
    pacsv.write_csv(table, csv)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(csv, "folder/rows.csv")
        archive.writestr("LICENCE.txt", "free")
        archive.writestr("__MACOSX/folder/._rows.csv", "x")
    csv.unlink()


def to_zipped_excel(table: pa.Table, path: Path) -> None:
    book = path.with_suffix(".inside.xlsx")
    to_excel(table, book)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(book, "rows.xlsx")
    book.unlink()


def to_sqlite(table: pa.Table, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE rows ({', '.join(table.column_names)})")
        # Booleans are written as words: SQLite has none, and 0 and 1 would be numbers.
        rows = [
            [str(value) if isinstance(value, (bool, datetime.datetime)) else value for value in row.values()]
            for row in table.to_pylist()
        ]
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def to_duckdb(table: pa.Table, path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.register("given", table)
        connection.execute("CREATE TABLE rows AS SELECT * FROM given")


WRITERS: Mapping[str, Callable[[pa.Table, Path], None]] = {
    "rows.parquet": pq.write_table,
    "rows.csv": pacsv.write_csv,
    "rows.feather": to_feather,
    "rows.arrow": to_arrow_stream,
    "levels.arrow": to_arrow_with_levels,
    "rows.xlsx": to_excel,
    "rows.jsonl": to_json_lines,
    "csv.zip": to_zipped_csv,
    "excel.zip": to_zipped_excel,
    "rows.sqlite": to_sqlite,
    "rows.duckdb": to_duckdb,
}
"""Each format by the name of a file, with what writes a table to it."""


def scanned(table: Table) -> dict[str, list[Any]]:
    """Return all values of all columns."""
    found: dict[str, list[Any]] = {column.name: [] for column in table.columns}
    for batch in table.scan(list(found)):
        for name in found:
            found[name] += batch.column(name).to_pylist()
    return found


def refusal(source: object, **given: Any) -> BatchlearnError:
    """Return the error with which a table is refused, at once or when its rows are read."""
    with pytest.raises(BatchlearnError) as caught:
        scanned(read(source, **given))
    return caught.value
