from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tables.formats.made import refusal, scanned

from batchlearn.tables.table import Kind, read


def lines(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_types_stay_and_texts_are_looked_at(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"x": 1, "price": "$12.30", "zip": "00501", "when": "31/01/2024", "left": True, "plan": "a"},
        {"x": 2.5, "price": "$7.00", "zip": "10001", "when": "01/02/2024", "left": False, "plan": ""},
        {"x": None, "zip": "10002", "when": "02/02/2024", "left": None, "plan": "b", "late": 4},
    ]
    table = read(lines(tmp_path / "rows.jsonl", *rows))
    kinds = {column.name: column.kind for column in table.columns}
    assert (kinds["when"], kinds["zip"], kinds["left"]) == (Kind.TIMESTAMP, Kind.CATEGORY, Kind.BOOLEAN)
    found = scanned(table)
    assert found["x"] == [1.0, 2.5, None]
    assert found["price"] == [12.3, 7.0, None]
    assert found["zip"] == ["00501", "10001", "10002"]
    assert found["plan"] == ["a", None, "b"]
    assert found["late"] == [None, None, 4.0]
    assert {remark.note.code.value for remark in table.remarks} == {"written_numbers", "leading_zeros", "written_times"}


@pytest.mark.parametrize("pretty", [None, 2])
def test_an_array_of_objects_is_a_table_as_its_lines_are(tmp_path: Path, pretty: int | None) -> None:
    rows: list[dict[str, object]] = [
        {"x": 0.1, "id": 9007199254740993, "plan": "a,\n"},
        {"x": None, "id": 1, "late": 4},
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=pretty))
    found = scanned(read(path, categories=["id"]))
    assert found == scanned(read(lines(tmp_path / "rows.jsonl", *rows), categories=["id"]))
    assert found["id"] == ["9007199254740993", "1"]


@pytest.mark.parametrize("text", ['[{"a": 1},', '[{"a": 1, "a": 2}]', "[1, 2]", '[{"a": 1}] x'])
def test_an_array_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    assert refusal(tmp_path / "rows.json").code == "json-unreadable"


def test_times_with_a_zone_are_moments(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.ndjson", {"t": "2024-01-01T12:00:00+02:00"}, {"t": "2024-01-01T12:00:00Z"})
    table = read(path)
    assert [str(time) for time in scanned(table)["t"]] == ["2024-01-01 10:00:00", "2024-01-01 12:00:00"]
    assert table.readings["t"].zone == "UTC"


def test_a_column_of_several_types_is_one_of_texts(tmp_path: Path) -> None:
    rows = [{"x": 0.1 * i if i % 10 else "NA", "mixed": "a" if i % 2 else 7, "y": i} for i in range(100)]
    table = read(lines(tmp_path / "rows.jsonl", *rows), target="y")
    found = scanned(table)
    assert found["x"] == [0.1 * i if i % 10 else None for i in range(100)]
    assert {*found["mixed"]} == {"a", "7"}
    assert table.readings["x"].null == ("NA",)


@pytest.mark.parametrize("beside", [1.5, 3, "a"])
def test_whole_numbers_are_never_rounded_unseen(tmp_path: Path, beside: object) -> None:
    path = lines(tmp_path / "rows.jsonl", {"id": 9007199254740993, "y": 1}, {"id": beside, "y": 2})
    if beside != "a":
        assert refusal(path, target="id").code == "integer-too-large"
    if beside != 3:
        assert scanned(read(path, categories=["id"]))["id"] == ["9007199254740993", str(beside)]
    twenty = lines(tmp_path / "long.jsonl", {"id": 12345678901234567890, "y": 1}, {"id": 12345678901234567891, "y": 2})
    assert [column.name for column in read(twenty, target="y").features] == []
    assert scanned(read(twenty, categories=["id"]))["id"] == ["12345678901234567890", "12345678901234567891"]


def test_lists_and_objects_are_left_out(tmp_path: Path) -> None:
    simple = lines(tmp_path / "rows.jsonl", {"x": 1.0, "tags": ["a"], "who": {"age": 3}}, {"x": 2.0, "tags": []})
    mixed = lines(tmp_path / "mixed.jsonl", {"x": 1.0, "tags": ["a"]}, {"x": "2", "tags": "b"})
    for path, names in ((simple, ["tags", "who"]), (mixed, ["tags"])):
        table = read(path)
        assert [column.name for column in table.features] == ["x"]
        assert [remark.column for remark in table.remarks] == names
        assert scanned(table)["x"] == [1.0, 2.0]


def test_compressed_marked_blank_lines_and_quotes_within(tmp_path: Path) -> None:
    text = '\ufeff{"x": 1.5, "say": "\\"no"}\n\n{"x": 2.5, "say": "ja, \\u00fc"}'
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("rows.jsonl", "rows.jsonl.gz"):
        assert scanned(read(tmp_path / name)) == {"x": [1.5, 2.5], "say": ['"no', "ja, ü"]}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "file-empty"),
        ("\n\n", "file-empty"),
        ('{"x": 1}\n{"x": ', "json-unreadable"),
        ('{"x": 1}\nx,y\n', "json-unreadable"),
        ('{"x": 1}\n7\n', "json-unreadable"),
        ('{"x": 1}\n{"x": 1, "x": 2}\n', "json-unreadable"),
        ('{"x": ' + "[" * 100_000 + "\n", "json-unreadable"),
        ('{"x": 1}\n{"x": "\0"}\n', "csv-nul-byte"),
    ],
    ids=["empty", "blank", "cut", "text", "number", "twice", "deep", "nul"],
)
def test_what_is_no_json_is_refused_with_its_line(tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    error = refusal(tmp_path / "rows.jsonl")
    assert (error.code, error.exit_code) == (code, 3)
    if code == "json-unreadable":
        assert f"line {2 if text.startswith(chr(123) + chr(34) + 'x' + chr(34) + ': 1') else 1}" in error.message


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes('{"stadt": "Köln"}\n'.encode("latin-1"))
    assert refusal(tmp_path / "rows.jsonl").code == "not-utf8"


def test_columns_come_in_the_order_of_the_first_rows_and_parts_are_one_table(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"y": 1, "x": 2})
    lines(tmp_path / "b.jsonl", {"y": 1.5, "z": "q"})
    table = read(tmp_path)
    assert table.source.schema.names == ["y", "x", "z"]
    assert scanned(table) == {"y": [1.0, 1.5], "x": [2.0, None], "z": [None, "q"]}
    lines(tmp_path / "c.jsonl", {"y": "text"})
    assert refusal(tmp_path).code == "files-differ"


def test_a_model_s_readings_are_taken_over(tmp_path: Path) -> None:
    first = read(
        lines(tmp_path / "a.jsonl", {"when": "31/01/2024", "x": "1,5 %"}, {"when": "30/01/2024", "x": "2,25 %"})
    )
    later = read(lines(tmp_path / "b.jsonl", {"when": "01/02/2024", "x": "3,125 %"}), like=first.readings)
    assert str(scanned(later)["when"][0]) == "2024-02-01 00:00:00"
    assert scanned(later)["x"] == [3.125]
    assert later.source.schema.field("x").type == pa.string()
