from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from batchlearn.errors import DataError
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.table import Table, read


def digest(source: object) -> str:
    table = source if isinstance(source, Table) else read(source)
    return digest_of(table.scan([column.name for column in table.columns]))


def digest_of(batches: Iterable[pa.RecordBatch]) -> str:
    fingerprint = Fingerprint()
    for batch in batches:
        fingerprint.update(batch)
    return fingerprint.hexdigest()


@pytest.fixture
def rows() -> pa.Table:
    rng = np.random.default_rng(1)
    n = 500
    missing = rng.random((4, n)) < 0.1
    return pa.table(
        {
            "count": pa.array(rng.integers(0, 100, n)),
            "price": pa.array(rng.normal(size=n), mask=missing[0]),
            "town": pa.array(rng.choice(["Ulm", "Köln", "a"], n), mask=missing[1]),
            "open": pa.array(rng.random(n) < 0.5, mask=missing[2]),
            "day": pa.array(np.datetime64("2020-01-01T00:00:00", "us") + rng.integers(0, 10**12, n), mask=missing[3]),
        }
    )


def test_every_format_gives_the_same_digest(rows: pa.Table, tmp_path: Path) -> None:
    expected = digest(rows)
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=77)
    pacsv.write_csv(rows, tmp_path / "rows.csv")
    narrow = rows.set_column(0, "count", rows["count"].cast(pa.int8()))
    coded = narrow.set_column(2, "town", rows["town"].dictionary_encode())
    assert digest(tmp_path / "rows.parquet") == expected
    assert digest(tmp_path / "rows.csv") == expected
    assert digest(coded) == expected
    assert digest(rows.to_pandas()) == expected
    assert digest(pl.DataFrame(rows)) == expected
    assert digest(pd.DataFrame(rows.to_pandas()).astype({"town": "category", "count": "float64"})) == expected


@pytest.mark.parametrize("size", [1, 7, 500])
def test_chunks_do_not_matter(rows: pa.Table, size: int) -> None:
    chunked = pa.Table.from_batches(rows.to_batches(max_chunksize=size))
    assert digest(chunked) == digest(rows)


def test_the_order_of_columns_does_not_matter(rows: pa.Table) -> None:
    assert digest(rows.select(rows.column_names[::-1])) == digest(rows)


def test_one_unit_in_the_last_place_changes_it(rows: pa.Table) -> None:
    values = rows["price"].to_pandas().to_numpy().copy()
    index = int(np.flatnonzero(~np.isnan(values))[3])
    values[index] = np.nextafter(values[index], np.inf)
    assert digest(rows.set_column(1, "price", pa.array(values, from_pandas=True))) != digest(rows)


@pytest.mark.parametrize(
    "order",
    [
        [1, 0, *range(2, 500)],
        list(range(499)),
        list(range(1, 500)),
        [*range(500), 499],
        [0, *range(500)],
    ],
    ids=["swapped", "last dropped", "first dropped", "last doubled", "first doubled"],
)
def test_rows_swapped_dropped_or_doubled_change_it(rows: pa.Table, order: list[int]) -> None:
    assert digest(rows.take(order)) != digest(rows)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": ["ab", "c"]}, {"a": ["a", "bc"]}),
        ({"a": [None, 0.0]}, {"a": [0.0, None]}),
        ({"a": [None, ""]}, {"a": ["", None]}),
        ({"a": [1.0]}, {"b": [1.0]}),
        ({"a": [1.0]}, {"a": [True]}),
        ({"a": [0.0, 0.0]}, {"a": [0.0]}),
    ],
)
def test_what_differs_has_different_digests(first: dict[str, list[object]], second: dict[str, list[object]]) -> None:
    assert digest(pa.table(first)) != digest(pa.table(second))


def test_nan_is_null_and_zero_has_no_sign() -> None:
    first = pa.table({"a": pa.array([np.nan, -0.0])})
    second = pa.table({"a": pa.array([None, 0.0])})
    assert digest(first) == digest(second)


def test_a_column_of_another_kind_is_refused() -> None:
    fingerprint = Fingerprint()
    fingerprint.update(pa.record_batch({"a": pa.array([1.0])}))
    with pytest.raises(DataError) as caught:
        fingerprint.update(pa.record_batch({"a": pa.array([True])}))
    assert caught.value.code == "fingerprint-columns"


def test_the_digest_is_stable() -> None:
    rows = pa.table({"a": [1.0, None], "b": ["x", "y"]})
    assert digest(rows) == "23484ecfbfd22a3a5a3d5163ff8077accf432b3f9f161c872f49d32c32254215"


def test_it_is_fast_enough_for_flights(shared_data: Path) -> None:
    table = read(shared_data / "flights2008_jan.parquet")
    names = [column.name for column in table.columns][:15]
    batches = list(table.scan(names))
    start = time.process_time()
    digest_of(batches)
    # 0.2 s on an idle core; the margin is for a busy machine.
    assert time.process_time() - start < 2.0
