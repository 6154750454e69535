from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchlearn.errors import BatchlearnError, DataError, IntegrityError, ResourceError, UsageError
from batchlearn.formatting.notes import Code
from batchlearn.tables.table import Kind, read


def values(source: object, *names: str) -> dict[str, list[object]]:
    table = read(source)
    wanted = list(names) or [column.name for column in table.columns]
    batches = list(table.scan(wanted))
    return {name: [value for batch in batches for value in batch.column(name).to_pylist()] for name in wanted}


def refusal(source: object) -> BatchlearnError:
    with pytest.raises(BatchlearnError) as caught:
        values(source)
    return caught.value


ROWS = {"a": [1.0, 2.0, 3.0], "b": ["x", None, "y"]}


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(ROWS), path, row_group_size=2)
    return path


def test_everything_with_an_arrow_stream_is_read() -> None:
    table = pa.table(ROWS)
    for source in (
        table,
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        table.to_batches()[0],
        table.to_pandas(),
        pl.DataFrame(table),
        pl.LazyFrame(pl.DataFrame(table)),
        duckdb.sql("select * from (values (1.0, 'x'), (2, null), (3, 'y')) rows(a, b)"),
        {"a": np.array([1, 2, 3]), "b": np.array(["x", None, "y"], dtype=object)},
    ):
        assert values(source) == ROWS


def test_a_matrix_has_numbered_columns() -> None:
    assert values(np.array([[1.0, np.nan], [3.0, 4.0]])) == {"x0": [1.0, 3.0], "x1": [None, 4.0]}


def test_a_stream_can_be_scanned_twice() -> None:
    rows = pa.table(ROWS)
    table = read(pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches()))
    for _ in range(2):
        assert [batch.num_rows for batch in table.scan(["a"])] == [3]


def test_the_unnamed_index_of_a_frame_is_left_out() -> None:
    frame = pd.DataFrame(ROWS, index=["p", "q", "r"])
    assert list(values(frame)) == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (pd.DataFrame({"a": [1, "x"]}), "frame-not-readable"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "frame-not-readable"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0])}), "frame-not-readable"),
        (pd.DataFrame({"a": [1j, 2j]}), "frame-not-readable"),
        (pd.DataFrame({"a": [2**70, 1]}), "frame-not-readable"),
        (np.zeros(3), "array-not-two-dimensional"),
        ({"a": np.zeros(3), "b": np.zeros(2)}, "lengths-differ"),
        ({"a": np.zeros((3, 2))}, "array-not-readable"),
        (np.zeros((0, 2)), "no-rows"),
        (np.array([[1j]]), "array-not-readable"),
        (pa.table([[1], [2]], names=["a", "a"]), "column-name-repeated"),
        (3, "source-not-readable"),
        (None, "source-not-readable"),
    ],
)
def test_what_is_no_table_is_refused(source: object, code: str) -> None:
    assert refusal(source).code == code


def test_parquet_keeps_the_order_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"row": np.arange(200_000), "one": np.ones(200_000)}), path, row_group_size=30_000)
    assert values(path, "row")["row"] == list(range(200_000))
    assert next(read(path).scan(["one", "row"])).schema.names == ["one", "row"]


def test_text_is_read_as_dictionaries_across_row_groups(parquet: Path) -> None:
    assert values(parquet) == ROWS
    batches = list(read(parquet).scan(["b"]))
    assert {str(batch.schema.field("b").type) for batch in batches} == {
        "dictionary<values=string, indices=int32, ordered=0>"
    }


def test_folders_and_patterns_are_read_in_sorted_order(tmp_path: Path) -> None:
    for name in ("10", "2", "1"):
        pq.write_table(pa.table({"a": [float(name)]}), tmp_path / f"part{name}.parquet")
    (tmp_path / "README.md").write_text("no table")
    (tmp_path / "_temporary").mkdir()
    pq.write_table(pa.table({"a": [99.0]}), tmp_path / "_temporary" / "part.parquet")
    assert values(tmp_path)["a"] == [1.0, 10.0, 2.0]
    assert values(str(tmp_path / "part1*.parquet"))["a"] == [1.0, 10.0]
    assert read(tmp_path).name == tmp_path.name
    assert read(tmp_path / "part1.parquet").name == "part1"


def test_names_of_folders_carry_values(tmp_path: Path) -> None:
    for year, kind in (("2008", "a b"), ("2009", "c")):
        folder = tmp_path / f"year={year}" / f"kind={kind.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"x": [1.0, 2.0]}), folder / "part.parquet")
    expected = {"x": [1.0, 2.0, 1.0, 2.0], "year": [2008.0] * 2 + [2009.0] * 2, "kind": ["a b"] * 2 + ["c"] * 2}
    assert values(tmp_path) == expected
    assert values(str(tmp_path / "year=*" / "*" / "*.parquet")) == expected
    assert values(tmp_path, "year") == {"year": expected["year"]}


def test_widths_may_differ_between_files(tmp_path: Path) -> None:
    coded = pa.array(["x", "y"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int8()), "b": coded}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": pa.array(["z"]), "a": pa.array([2.5])}), tmp_path / "2.parquet")
    assert values(tmp_path) == {"a": [1.0, 2.0, 2.5], "b": ["x", "y", "z"]}


@pytest.mark.parametrize("empty", ["1.parquet", "3.parquet"])
def test_a_file_without_a_value_of_a_column_says_nothing_of_its_type(tmp_path: Path, empty: str) -> None:
    """Data frames write a column without a value as one of type null."""
    typed: dict[str, list[object]] = {"text": ["x", "y"], "flag": [True, False], "number": [1, 2]}
    times = pa.array([0, 1], pa.timestamp("s", tz="UTC"))
    pq.write_table(pa.table({**typed, "time": times}), tmp_path / "2.parquet")
    pq.write_table(pa.table({name: pa.nulls(2) for name in (*typed, "time")}), tmp_path / empty)
    found, missing = values(tmp_path), [None, None]
    for name, stored in typed.items():
        assert found[name] == (missing + stored if empty == "1.parquet" else stored + missing)
    assert found["time"].count(None) == 2
    assert [column.kind for column in read(tmp_path).columns] == ["category", "boolean", "number", "timestamp"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in: a short path is named in full, wherever the tests keep their files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"a": ["1"], "b": ["x"]}, "stores 'a' as string"),
    ],
)
def test_files_of_other_types_are_refused(here: Path, second: dict[str, list[object]], named: str) -> None:
    pq.write_table(pa.table(ROWS), here / "1.parquet")
    pq.write_table(pa.table(second), here / "2.parquet")
    error = refusal(Path())
    assert error.code == "files-differ"
    assert "2.parquet" in error.message
    assert named in error.message


def test_columns_that_some_files_lack_are_missing_there(here: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": ["x", "y"]}), here / "1.parquet")
    pq.write_table(pa.table({"c": [5], "a": [3.0]}), here / "2.parquet")
    table = read(Path())
    assert values(Path()) == {"a": [1.0, 2.0, 3.0], "b": ["x", "y", None], "c": [None, None, 5.0]}
    assert {remark.column: str(remark.note) for remark in table.remarks} == {
        "b": "'b' is not in 1 of the files: it counts as missing in their rows.",
        "c": "'c' is not in 1 of the files: it counts as missing in their rows.",
    }
    with pytest.raises(DataError, match="the target column 'b' is not in all files"):
        read(Path(), target="b")
    with pytest.raises(DataError, match="--strict refuses that"):
        read(Path(), strict=True)


def test_d51_files_with_and_without_a_time_zone(here: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([0], pa.timestamp("us"))}), here / "1.parquet")
    pq.write_table(pa.table({"t": pa.array([0], pa.timestamp("us", tz="UTC"))}), here / "2.parquet")
    error = refusal(Path())
    assert error.code == "time-zones-mixed"
    assert "2.parquet" in error.message


@pytest.mark.parametrize("kept", [4, 100, -1, -9])
def test_d55_truncated_parquet(parquet: Path, kept: int) -> None:
    parquet.write_bytes(parquet.read_bytes()[:kept])
    error = refusal(parquet)
    assert error.code == "parquet-unreadable"
    assert error.exit_code == 3


def test_d56_a_flipped_bit_under_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"a": np.arange(1000.0)}), path, write_page_checksum=True, compression="none", use_dictionary=False
    )
    damaged = bytearray(path.read_bytes())
    damaged[4000] ^= 1
    path.write_bytes(damaged)
    error = refusal(path)
    assert isinstance(error, IntegrityError)
    assert error.code == "parquet-checksum"


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1, 2]]),
        pa.array([{"x": 1}]),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([b"x"]),
        pa.array([["x", "y"]], pa.list_(pa.string(), 2)),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16))),
    ],
    ids=["list", "struct", "map", "binary", "texts", "extension"],
)
def test_d59_columns_of_unsupported_types_are_left_out_and_said(array: pa.Array) -> None:
    rows = pa.table({"a": [1.0], "odd": array})
    table = read(rows)
    assert [column.name for column in table.features] == ["a"]
    (remark,) = table.remarks
    assert (remark.column, remark.used, remark.note.code, remark.change) == (
        "odd",
        False,
        Code.UNSUPPORTED_TYPE,
        "--drop odd",
    )
    assert read(rows, drop=["odd"]).remarks == ()
    with pytest.raises(DataError, match="column 'odd' of 'table' is stored as") as refused:
        read(rows, target="odd")
    assert refused.value.code == "unsupported-type"
    with pytest.raises(DataError, match="--strict refuses that: correct the column, or add --drop odd"):
        read(rows, strict=True)
    for role in ("target", "time", "group", "weight", "offset", "exposure"):
        given: dict[str, Any] = {role: "odd"}
        with pytest.raises(DataError) as caught:
            read(rows, **given)
        assert caught.value.code == "unsupported-type"
        assert "'odd'" in caught.value.message


def test_d59_decimals_are_numbers() -> None:
    assert values(pa.table({"a": [Decimal("1.25"), None]})) == {"a": [1.25, None]}


def test_d60_file_changed_while_read(parquet: Path) -> None:
    table = read(parquet)
    pq.write_table(pa.table({"a": [1.0], "b": ["x"]}), parquet)
    with pytest.raises(DataError) as caught:
        list(table.scan(["a"]))
    assert caught.value.code == "file-changed"


def test_d60_file_changed_during_the_scan(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": np.zeros(200_000)}), path)
    scan = read(path).scan(["a"])
    next(scan)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError) as caught:
        list(scan)
    assert caught.value.code == "file-changed"


def test_d60_file_removed(parquet: Path) -> None:
    table = read(parquet)
    parquet.unlink()
    with pytest.raises(DataError) as caught:
        list(table.scan(["a"]))
    assert caught.value.code == "file-missing"


def test_d61_directory_without_tables(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a,b\n1,2\n")
    assert refusal(tmp_path).code == "folder-without-tables"


def test_d61_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    assert refusal(tmp_path / "rows.csv").code == "not-a-file"
    assert refusal(tmp_path).code == "not-a-file"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_d61_device() -> None:
    assert refusal("/dev/zero").code == "not-a-file"


def test_d61_symbolic_link_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.symlink_to(path)
    error = refusal(path)
    assert error.code == "path-loops"
    assert error.exit_code == 3


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/", "https://x.org/a.csv", "s3://bucket/a.parquet", "FILE:/rows.csv", "file:a.csv"],
)
def test_d62_an_address_is_never_fetched(address: str) -> None:
    for source in (address, Path(address)):
        error = refusal(source)
        assert isinstance(error, UsageError)
        assert error.code == "address-not-path"


def test_a_missing_file_is_named_with_the_nearest(here: Path, parquet: Path) -> None:
    assert parquet.parent == here
    error = refusal(Path("row.parquet"))
    assert error.code == "file-missing"
    assert "rows.parquet" in error.message
    # Not one that is like it in its ending alone.
    assert "did you mean" not in refusal(Path("nofile.parquet")).message
    assert refusal(parquet / "below").code == "file-missing"
    assert refusal(parquet.parent / "*.csv").code == "file-missing"
    assert refusal("x" * 5000).code == "file-missing"
    assert refusal("a\0b").code == "path-not-valid"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="this user may read every file")
def test_a_forbidden_file_is_a_matter_of_permissions(parquet: Path) -> None:
    parquet.chmod(0)
    assert isinstance(refusal(parquet), ResourceError)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.xls", b"\x09\x08\x10\0", "format-unknown"),
        ("a.parquet", b"a,b\n1,2\n", "parquet-unreadable"),
        ("a", b"a,b\n1,2\n", "format-unknown"),
        ("a.csv", b"", "file-empty"),
    ],
)
def test_files_of_other_formats_are_refused(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).code == code


@pytest.mark.parametrize("ending", ["data", "dat", "asc", "tab", "psv"])
def test_text_of_an_ending_that_says_little_is_read(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"iris.{ending}").write_text("a,b\n1,2\n")
    assert values(tmp_path / f"iris.{ending}") == {"a": [1.0], "b": [2.0]}


def test_parquet_is_recognised_by_its_first_bytes(parquet: Path) -> None:
    renamed = parquet.rename(parquet.with_name("rows.csv"))
    assert values(renamed) == ROWS


def test_formats_do_not_mix(parquet: Path) -> None:
    (parquet.parent / "rows.csv").write_text("a,b\n1,x\n")
    assert refusal(parquet.parent).code == "formats-mixed"


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.float64())}), tmp_path / "rows.parquet")
    assert refusal(tmp_path / "rows.parquet").code == "no-rows"


def test_pictures_become_columns(shared_data: Path) -> None:
    table = read(shared_data / "mnist_63k.parquet", target="digit", drop=["index", "split"])
    assert len(table.features) == 784
    assert table.features[0].name == "pixels_0"
    assert table.column("pixels_783").kind is Kind.NUMBER
    batch = next(table.scan(["pixels_300", "digit"]))
    stored = pq.ParquetFile(shared_data / "mnist_63k.parquet").read_row_group(0, columns=["pixels"])["pixels"]
    assert batch.column(0)[:50].to_pylist() == [float(row[300]) for row in stored[:50].to_pylist()]


def test_every_shared_set_is_read(shared_data: Path) -> None:
    for path in sorted(shared_data.glob("*.parquet")):
        table = read(path)
        scan = table.scan([column.name for column in table.columns[:20]])
        rows = sum(batch.num_rows for batch in scan)
        assert rows == scan.rows_read == scan.rows_kept == pq.ParquetFile(path).metadata.num_rows
