from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchlearn.errors import BatchlearnError, DataError, UsageError
from batchlearn.tables.table import Kind, Table, read

UTC = datetime.UTC


def scanned(table: Table, *names: str) -> pa.Table:
    return pa.Table.from_batches(table.scan(list(names) or [column.name for column in table.columns]))


def one(array: Any, **options: Any) -> list[object]:
    found: list[object] = scanned(read(pa.table({"a": array}), **options))["a"].to_pylist()
    return found


def refusal(source: object, **options: Any) -> BatchlearnError:
    with pytest.raises(BatchlearnError) as caught:
        scanned(read(source, **options))
    return caught.value


MOMENT = datetime.datetime(2020, 3, 1, 12, 30, 15, 250_000)


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([1, None], pa.uint8()), Kind.NUMBER, [1.0, None]),
        (pa.array([-5], pa.int64()), Kind.NUMBER, [-5.0]),
        (pa.array(np.array([1.5, np.nan], np.float16)), Kind.NUMBER, [1.5, None]),
        (pa.array([0.5, float("nan"), None]), Kind.NUMBER, [0.5, None, None]),
        (pa.array([None, None]), Kind.NUMBER, [None, None]),
        (pa.array([datetime.time(1, 0, 0, 500_000)]), Kind.NUMBER, [3600.5]),
        (pa.array([3600], pa.time32("s")), Kind.NUMBER, [3600.0]),
        (pa.array([1500, None], pa.duration("ms")), Kind.NUMBER, [1.5, None]),
        (pa.array([7, 7, None]).dictionary_encode(), Kind.NUMBER, [7.0, 7.0, None]),
        (pa.array([True, None]), Kind.BOOLEAN, [True, None]),
        (pa.array([True, None]).dictionary_encode(), Kind.BOOLEAN, [True, None]),
        (pa.array(["x", None, ""]), Kind.CATEGORY, ["x", None, ""]),
        (pa.array(["x", None], pa.large_string()), Kind.CATEGORY, ["x", None]),
        (pa.array(["x", None], pa.string_view()), Kind.CATEGORY, ["x", None]),
        (pa.array(["x", None], pa.large_string()).dictionary_encode(), Kind.CATEGORY, ["x", None]),
        (
            pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), pa.array(["x", None])),
            Kind.CATEGORY,
            ["x", None, None],
        ),
        (pa.array([MOMENT.date()]), Kind.TIMESTAMP, [datetime.datetime(2020, 3, 1)]),
        (pa.array([MOMENT.date()], pa.date64()), Kind.TIMESTAMP, [datetime.datetime(2020, 3, 1)]),
        (pa.array([MOMENT], pa.timestamp("ms")), Kind.TIMESTAMP, [MOMENT]),
        (pa.array([MOMENT], pa.timestamp("ns")), Kind.TIMESTAMP, [MOMENT]),
        (
            pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("s", "Asia/Tokyo")),
            Kind.TIMESTAMP,
            [MOMENT.replace(microsecond=0)],
        ),
    ],
)
def test_every_stored_type_becomes_its_kind(array: pa.Array, kind: Kind, expected: list[object]) -> None:
    types = {
        Kind.NUMBER: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.CATEGORY: pa.dictionary(pa.int32(), pa.string()),
        Kind.TIMESTAMP: pa.timestamp("us"),
    }
    table = read(pa.table({"a": array}))
    assert table.column("a").kind is kind
    found = scanned(table)
    assert found.schema.field("a").type == types[kind]
    assert found["a"].to_pylist() == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None, 20]), ["1", None, "20"]),
        (pa.array([1.0, 2.5, float("nan")]), ["1", "2.5", None]),
        (pa.array([2**60]), [str(2**60)]),
        (pa.array([True]), ["true"]),
        (pa.array([7, 8]).dictionary_encode(), ["7", "8"]),
    ],
)
def test_declared_categories_are_texts(array: pa.Array, expected: list[object]) -> None:
    assert one(array, categories=["a"]) == expected


def test_roles_decide_what_is_a_feature() -> None:
    rows = {name: np.arange(3.0) for name in "abcdefgh"}
    table = read(rows, target="a", time="b", group="c", weight="d", offset="e", exposure="f", drop=["g"])
    assert [column.name for column in table.features] == ["b", "c", "h"]
    assert table.roles.drop == ("g",)


def test_d46_a_missing_column_is_named_with_the_nearest() -> None:
    rows = {"distance": np.zeros(2), "carrier": np.zeros(2)}
    for options in ({"target": "distnace"}, {"drop": ["distnace"]}, {"categories": ["distnace"]}):
        with pytest.raises(DataError, match="did you mean 'distance'") as caught:
            read(rows, **options)
        assert caught.value.code == "column-missing"
    with pytest.raises(DataError, match="it has 'distance, carrier'"):
        read(rows).scan(["zzz"])


def test_a_column_has_one_role() -> None:
    for options in ({"target": "a", "weight": "a"}, {"target": "a", "drop": ["a"]}):
        with pytest.raises(UsageError) as caught:
            read({"a": np.zeros(2)}, **options)
        assert caught.value.code == "role-repeated"


@pytest.mark.parametrize("role", ["time", "weight", "offset", "exposure"])
def test_roles_need_their_kind(role: str) -> None:
    error = refusal(pa.table({"a": ["x"]}), **{role: "a"})
    assert error.code == "role-kind"
    assert f"the {role} column 'a' is a category" in error.message


def test_d25_an_integer_beyond_2_to_the_53() -> None:
    rows = pa.table({"a": pa.array([1, None, 2**53, -(2**53) - 1])})
    error = refusal(rows)
    assert error.code == "integer-too-large"
    assert "row 4 " in error.message
    assert f"'{-(2**53) - 1}'" in error.message
    assert "--categories a if they name something, or --drop a" in error.message
    assert one(pa.array([2**53, -(2**53)])) == [2.0**53, -(2.0**53)]


def test_d26_an_unsigned_integer_of_20_digits() -> None:
    assert refusal(pa.table({"a": pa.array([0, 2**64 - 1], pa.uint64())})).code == "integer-too-large"


def test_d27_a_missing_number_is_null() -> None:
    assert scanned(read({"a": np.array([np.nan, 1.0])}))["a"].null_count == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_d28_infinite_numbers(value: float) -> None:
    values = np.zeros(100_000)
    values[70_000] = value
    error = refusal({"a": values})
    assert error.code == "number-infinite"
    assert "row 70,001 of table" in error.message


def test_d29_an_infinite_label() -> None:
    error = refusal({"a": np.zeros(2), "y": np.array([0.0, np.inf])}, target="y")
    assert error.code == "label-infinite"
    assert "the label 'y' is inf in row 2" in error.message


def test_d31_denormal_numbers_are_kept() -> None:
    assert one(pa.array([5e-324, -5e-324])) == [5e-324, -5e-324]


def test_d33_squares_that_overflow() -> None:
    assert refusal({"a": np.array([1e149, -2e150])}).code == "number-overflows"
    assert one(pa.array([1e150, -1e150])) == [1e150, -1e150]


def test_text_that_is_not_utf8_is_refused() -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xe9")]
    )
    assert refusal(pa.table({"a": broken})).code == "not-utf8"


def test_times_that_overflow_are_refused() -> None:
    assert refusal(pa.table({"a": pa.array([2**60], pa.timestamp("s"))})).code == "time-out-of-range"


def test_a_condition_is_applied_before_values_are_refused() -> None:
    rows = {"a": np.array([1.0, np.inf, 3.0, np.inf]), "ok": np.array([True, False, True, True]), "b": np.arange(4)}
    scan = read(rows, where="ok and b < 3").scan(["a"])
    assert pa.Table.from_batches(scan)["a"].to_pylist() == [1.0, 3.0]
    assert (scan.rows_read, scan.rows_kept) == (4, 2)
    error = refusal(rows, where="ok")
    assert "row 4 of table" in error.message


def test_a_scan_counts_rows_and_gives_no_empty_batch() -> None:
    table = read({"a": np.arange(200_000)}, where="a < 10 or a >= 199995")
    scan = table.scan(["a"])
    assert (scan.rows_read, scan.rows_kept) == (0, 0)
    assert [batch.num_rows for batch in scan] == [10, 5]
    assert (scan.rows_read, scan.rows_kept) == (200_000, 15)
    counted = table.scan([])
    assert sum(1 for _ in counted) == 2
    assert counted.rows_kept == 15


def test_a_condition_may_use_dropped_columns_and_positions() -> None:
    pixels = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6], pa.uint8()), 2)
    table = read(pa.table({"p": pixels, "k": [1, 2, 3]}), where="p_0 > 1 and k < 3", drop=["k"])
    assert scanned(table, "p_1").to_pydict() == {"p_1": [4.0]}
    assert [column.name for column in read(pa.table({"p": pixels, "k": [1, 2, 3]}), drop="p").features] == ["k"]


def test_lists_with_gaps_become_columns_with_gaps() -> None:
    rows = pa.table({"p": pa.array([[1, None], None, [5, 6]], pa.list_(pa.int8(), 2))})
    assert scanned(read(rows)).to_pydict() == {"p_0": [1.0, None, 5.0], "p_1": [None, None, 6.0]}
    assert scanned(read(rows.slice(2))).to_pydict() == {"p_0": [5.0], "p_1": [6.0]}


def test_rows_are_not_read_before_the_scan(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [np.inf]}), path)
    scan = read(path).scan(["a"])
    with pytest.raises(DataError, match="row 1 of rows"):
        next(scan)


@pytest.mark.parametrize("name", ["sqlglot", "pandas", "scipy", "sklearn", "pyarrow.dataset"])
def test_importing_the_table_stays_cheap(name: str) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    path = f"import sys; sys.path.insert(0, {str(source)!r})"
    program = f"{path}; import batchlearn.tables.table; print({name!r} in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
