from __future__ import annotations

import datetime
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from tests.tables.formats.made import refusal, scanned, small_table

from batchlearn.tables.table import Kind, read


def book(path: Path, sheets: dict[str, Sequence[Sequence[Any]]]) -> Path:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    made.save(path)
    return path


ROWS: list[tuple[Any, ...]] = [("x", "plan", "y")] + [(0.5 * i, "ab"[i % 2], i) for i in range(20)]


def test_cells_keep_what_they_are(tmp_path: Path) -> None:
    day, clock = datetime.date(2024, 2, 29), datetime.time(18, 30)
    rows = [
        ("number", "whole", "day", "moment", "clock", "span", "truth", "zip", "price"),
        (0.1, 3, day, datetime.datetime(2024, 3, 1, 12), clock, datetime.timedelta(hours=30), True, "00501", "$5"),
        (1e-7, 4, day, datetime.datetime(2024, 3, 2, 13, 5), clock, datetime.timedelta(0), False, "10001", "$1,200.50"),
        (None, None, None, None, None, None, None, None, None),
        (2.5, 10**15, day, datetime.datetime(2024, 3, 3), clock, datetime.timedelta(1), True, "00502", "$7"),
    ]
    table = read(book(tmp_path / "rows.xlsx", {"Data": rows}))
    found = scanned(table)
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds["day"] == kinds["moment"] == Kind.TIMESTAMP
    assert kinds["truth"] is Kind.BOOLEAN
    assert kinds["zip"] is Kind.CATEGORY
    assert found["number"] == [0.1, 1e-7, 2.5]
    assert found["whole"] == [3.0, 4.0, 1e15]
    assert found["clock"] == [66600.0] * 3
    assert found["span"] == [108000.0, 0.0, 86400.0]
    assert found["zip"] == ["00501", "10001", "00502"]
    assert found["price"] == [5.0, 1200.5, 7.0]
    assert found["moment"][1] == datetime.datetime(2024, 3, 2, 13, 5)
    assert table.lines_passed_over == {"blank line": 1}


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    rows = [("x", "plan"), (1.5, "a"), (None, "b"), (3.5, None), (4.5, "a")]
    found = scanned(read(book(tmp_path / "rows.xlsx", {"Data": rows})))
    assert found == {"x": [1.5, None, 3.5, 4.5], "plan": ["a", "b", None, "a"]}


def test_titles_above_notes_below_and_columns_without_a_name(tmp_path: Path) -> None:
    rows = [("Orders of 2024",), (), *ROWS, (), ("Source: the shop's own figures",)]
    table = read(book(tmp_path / "rows.xlsx", {"Data": rows}), target="y")
    assert scanned(table)["x"] == [0.5 * i for i in range(20)]
    assert table.lines_passed_over["preamble"] == 1
    assert table.lines_passed_over["footnote"] == 1


def test_what_pandas_writes_is_read(tmp_path: Path) -> None:
    frame = small_table().to_pandas()
    frame.to_excel(tmp_path / "rows.xlsx")
    table = read(tmp_path / "rows.xlsx", target="label")
    assert [column.name for column in table.features] == ["size", "count", "colour", "member", "seen"]
    assert scanned(table)["size"] == small_table()["size"].to_pylist()


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    later = [ROWS[0], *((x + 100, plan, y) for x, plan, y in ROWS[1:])]
    path = book(tmp_path / "rows.xlsx", {"2023": ROWS, "the second": later, "Notes": [("made by hand",)]})
    error = refusal(path)
    assert (error.code, error.exit_code) == ("sheet-not-named", 2)
    assert "--sheet 2023 or --sheet 'the second'" in error.message
    assert scanned(read(path, sheet="the second"))["x"][0] == 100.0
    assert refusal(path, sheet="the secnd").code == "sheet-unknown"
    assert "'the second'" in refusal(path, sheet="the secnd").message
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    assert refusal(tmp_path / "rows.csv", sheet="2023").code == "part-not-known"


def test_a_hidden_sheet_is_not_taken_for_the_table(tmp_path: Path) -> None:
    path = book(tmp_path / "rows.xlsx", {"Data": ROWS, "Old": ROWS})
    made = openpyxl.load_workbook(path)
    made["Old"].sheet_state = "hidden"
    made.save(path)
    assert len(scanned(read(path))["x"]) == 20


def test_a_sheet_whose_cells_are_far_apart_takes_no_memory(tmp_path: Path) -> None:
    path = book(tmp_path / "rows.xlsx", {"Data": ROWS})
    made = openpyxl.load_workbook(path)
    made["Data"]["XFD1048576"] = "far"
    made.save(path)
    error = refusal(path)
    assert (error.code, error.exit_code) == ("excel-too-large", 3)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file-empty"),
        (b"x,y\n1,2\n", "excel-unreadable"),
        (b"PK\x03\x04" + bytes(60), "zip-unreadable"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "excel-unreadable"),
    ],
    ids=["empty", "text", "torn", "old"],
)
def test_what_is_no_excel_file_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "rows.xlsx").write_bytes(content)
    error = refusal(tmp_path / "rows.xlsx")
    assert (error.code, error.exit_code) == (code, 3)


def test_damaged_sheets_and_empty_ones_are_refused(tmp_path: Path) -> None:
    assert refusal(book(tmp_path / "none.xlsx", {"Data": []})).code == "no-rows"
    assert refusal(book(tmp_path / "header.xlsx", {"Data": ROWS[:1]})).code == "no-rows"
    path = book(tmp_path / "rows.xlsx", {"Data": ROWS})
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "damaged.xlsx", "w") as damaged:
        for name in whole.namelist():
            content = whole.read(name)
            damaged.writestr(name, content[: len(content) // 2] if "sheet1" in name else content)
    assert refusal(tmp_path / "damaged.xlsx").code in ("excel-unreadable", "no-rows")
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name) + (b" " * 50_000_000 if "sheet1" in name else b""))
    assert refusal(tmp_path / "bomb.xlsx").code == "zip-bomb"


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "rows.xlsx", {"Data": ROWS})
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    error = refusal(path)
    assert (error.code, error.exit_code) == ("extra-missing", 2)
    assert 'pip install "batchlearn[excel]"' in error.message


def test_several_files_of_a_pattern_are_one_table(tmp_path: Path) -> None:
    for number in range(2):
        frame = pd.DataFrame({"x": [1.0 + number, 2.5], "y": [0, 1]})
        frame.to_excel(tmp_path / f"part-{number}.xlsx", index=False)
    assert scanned(read(tmp_path / "part-*.xlsx"))["x"] == [1.0, 2.5, 2.0, 2.5]
