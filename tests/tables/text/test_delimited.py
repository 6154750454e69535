from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from tests.tables.text.files_of_text import Write, refusal, values

from batchlearn.errors import DataError
from batchlearn.tables.table import Kind, read


def test_types_are_found_and_nulls_are_empty(write: Write) -> None:
    path = write('a,b,c,d,e\n1,x,true,2020-01-01,0.5\n,,,,\n3,"y, ""z""\nnew",FALSE,2020-01-02,1e3\n')
    table = read(path)
    assert [column.kind for column in table.columns] == [
        Kind.NUMBER, Kind.CATEGORY, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.NUMBER,
    ]  # fmt: skip
    found = values(path)
    assert found["a"] == [1.0, None, 3.0]
    assert found["b"] == ["x", None, 'y, "z"\nnew']
    assert found["c"] == [True, None, False]
    assert [str(day) for day in found["d"]] == ["2020-01-01 00:00:00", "None", "2020-01-02 00:00:00"]
    assert found["e"] == [0.5, None, 1000.0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(write: Write, delimiter: str) -> None:
    path = write(delimiter.join(["a", '"b,;|c"', "d"]) + "\n" + delimiter.join("123") + "\n")
    assert values(path) == {"a": [1.0], "b,;|c": [2.0], "d": [3.0]}


def test_d01_empty_file(write: Write) -> None:
    assert refusal(write("")).code == "file-empty"
    assert refusal(write("\n\n")).code == "file-empty"
    assert refusal(write(b"\xef\xbb\xbf")).code == "file-empty"


@pytest.mark.parametrize("text", ["a,b\n", "a,b", "a,b\n\n\n"])
def test_d02_header_only(write: Write, text: str) -> None:
    assert refusal(write(text)).code == "no-rows"


@pytest.mark.parametrize("names", ["Straße,STRASSE", "a,A", "\ufb01n,fin"])
def test_d12_names_equal_after_normalisation(write: Write, names: str) -> None:
    assert refusal(write(f"{names}\n1,2\n")).code == "column-name-repeated"


def test_d13_first_row_longer_than_header(write: Write) -> None:
    error = refusal(write("a,b\n1,2,3\n4,5,6\n"))
    assert error.code == "csv-ragged-row"
    assert "row 1 " in error.message
    assert "3 values" in error.message
    assert "header has 2" in error.message


def test_d14_ragged_long_row(write: Write) -> None:
    error = refusal(write("a,b\n" + "1,2\n" * 700_000 + "1,2,3\n"))
    assert error.code == "csv-ragged-row"
    assert "row 700,001 " in error.message


def test_d15_ragged_short_row(write: Write) -> None:
    error = refusal(write("a,b\n1,2\n1\n"))
    assert error.code == "csv-ragged-row"
    assert "row 2 " in error.message


@pytest.mark.parametrize(
    "rest", ["", "3,4\n" * 10, "3,4\n" * 2_000_000], ids=["at the end", "few rows after", "more than a block after"]
)
def test_d16_unclosed_quote(write: Write, rest: str) -> None:
    error = refusal(write('a,b\n1,"2\n' + rest))
    assert error.code == "csv-unclosed-quote"


def test_d16_an_inch_sign_is_no_open_quote(write: Write) -> None:
    assert values(write('a,b\n1,5" pipe\n2,"x ""y"\n'))["b"] == ['5" pipe', 'x "y']


def test_d17_nul_byte(write: Write) -> None:
    error = refusal(write("a,b\n1,x\n2,y\0z\n"))
    assert error.code == "csv-nul-byte"
    assert "line 3" in error.message


@pytest.mark.parametrize("text", ["a,b\r\n1,2\r\n3,4\r\n", "a,b\r\n1,2\n3,4", "a,b\n1,2\r\n3,4\n"])
def test_d20_line_ends(write: Write, text: str) -> None:
    assert values(write(text)) == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_whole_numbers_followed_by_others_become_floats(write: Write) -> None:
    path = write("a,b\n" + "1,0123456789012\n" * 400_000 + "1.5,7\n2,8.25\n")
    found = values(path)
    assert len(found["a"]) == 400_002
    assert found["a"][-3:] == [1.0, 1.5, 2.0]
    assert found["b"][-3:] == [123456789012.0, 7.0, 8.25]


def test_a_column_missing_in_the_first_block_gets_the_type_of_its_first_value(write: Write) -> None:
    path = write("a,b,c\n" + "12345678,,\n" * 500_000 + "1,x,\n2,y,\n")
    table = read(path)
    assert [column.kind for column in table.columns] == [Kind.NUMBER, Kind.CATEGORY, Kind.NUMBER]
    found = values(path)
    assert found["b"][-2:] == ["x", "y"]
    assert found["c"][-1] is None


def test_d32_large_floats_are_read(write: Write) -> None:
    assert values(write("a,b\n1e30,1\n1234567890123456789.5,2\n"))["a"] == [1e30, 1234567890123456789.5]


def test_d58_gzip_bomb(write: Write) -> None:
    path = write(gzip.compress(b"a,b\n" + b"1,2\n" * 3_000_000), "rows.csv.gz")
    assert refusal(path).code == "gzip-bomb"


def test_gzip_is_read(write: Write) -> None:
    assert values(write(gzip.compress(b"a,b\n1,2\n"), "rows.csv.gz")) == {"a": [1.0], "b": [2.0]}
    packed = gzip.compress(os.urandom(100).hex().join(["a,b\n1,", "\n"]).encode())
    assert refusal(write(packed[:-12], "cut.csv.gz")).code == "gzip-unreadable"


def test_d60_file_changed_while_read(write: Write) -> None:
    path = write("a,b\n1,2\n")
    table = read(path)
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError) as caught:
        list(table.scan(["a"]))
    assert caught.value.code == "file-changed"


def test_d60_file_changed_during_the_scan(write: Write) -> None:
    path = write("a,b\n" + "1,2\n" * 2_500_000)
    scan = read(path).scan(["a"])
    next(scan)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError) as caught:
        list(scan)
    assert caught.value.code == "file-changed"


def test_a_folder_of_files_is_one_table(write: Write, tmp_path: Path) -> None:
    write("a,b\n1,2\n", "1.csv")
    write("b,a\n4,3.5\n", "2.csv")
    assert values(tmp_path) == {"a": [1.0, 3.5], "b": [2.0, 4.0]}
    write("a,c\n1,2\n", "3.csv")
    assert values(tmp_path) == {"a": [1.0, 3.5, 1.0], "b": [2.0, 4.0, None], "c": [None, None, 2.0]}
    table = read(tmp_path)
    assert {remark.column: remark.note.values["files"] for remark in table.remarks} == {"b": 1, "c": 2}
    with pytest.raises(DataError, match="the target column 'b' is not in all files"):
        read(tmp_path, target="b")
    write("a;b\n1;2\n", "4.csv")
    error = refusal(tmp_path)
    assert error.code == "files-differ"
    assert "4.csv" in error.message


def test_one_column_keeps_its_blank_lines(write: Write) -> None:
    assert values(write("a\n1\n\n3\n")) == {"a": [1.0, None, 3.0]}


def test_long_rows_of_many_lines_are_read_whole(write: Write) -> None:
    cell = "\n".join("0 " * 40 for _ in range(40))
    path = write("a,b\n" + f'"{cell}",1\n' * 6_000)
    found = [batch.column(0) for batch in read(path).scan(["a"])]
    assert sum(map(len, found)) == 6_000
    assert {level for column in found for level in column.unique().to_pylist()} == {cell.strip()}
