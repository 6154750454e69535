"""Rows that repeat an earlier one: as many as pandas finds, whatever kinds, batches and missing values they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from batchlearn.tables.row_hashes import RowHashes, bits_of, mixed
from batchlearn.tables.table import read


def columns(rows: int, seed: int) -> dict[str, Any]:
    """Draw few values of each kind, so that rows repeat; some are missing."""
    rng = np.random.default_rng(seed)
    return {
        "number": pa.array(rng.choice([0.0, 1.0, -1.0, np.nan, 2.5], rows), from_pandas=True),
        "flag": pa.array([(True, False, None)[k] for k in rng.integers(0, 3, rows)], type=pa.bool_()),
        "text": pa.array([("", "a", "b", "é", None)[k] for k in rng.integers(0, 5, rows)], type=pa.string()),
        "time": pa.array(rng.integers(0, 3, rows) * 10**6, type=pa.timestamp("us")),
        "label": pa.array(rng.integers(0, 2, rows).astype(float)),
    }


def hashes_of(table: pa.Table, names: list[str], size: int = 10_000) -> NDArray[np.uint64]:
    hashes, found = RowHashes(), []
    for whole in read(table).scan(names):
        found += [hashes.of(whole.slice(first, size)) for first in range(0, whole.num_rows, size)]
    return np.concatenate(found)


def repeats(hashes: NDArray[np.uint64]) -> int:
    return len(hashes) - len(np.unique(hashes))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 50, 1_000])
def test_repeats_are_those_that_pandas_finds(seed: int, rows: int) -> None:
    table = pa.table(columns(rows, seed))
    # pandas would take a missing flag for another object each time.
    frame = pd.DataFrame({name: [repr(value) for value in table[name].to_pylist()] for name in table.column_names})
    expected = int(frame.duplicated().sum())
    found = [hashes_of(table, table.column_names, size) for size in (1, 7, 10_000)]
    assert repeats(found[0]) == expected
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert rows < 1_000 or expected > 300


def test_a_value_in_another_column_is_another_row() -> None:
    table = pa.table({"a": [1.0, 2.0, 1.0], "b": [2.0, 1.0, 2.0]})
    assert repeats(hashes_of(table, ["a", "b"])) == 1


def test_the_order_of_rows_and_columns_is_nothing() -> None:
    table = pa.table(columns(200, 0))
    order = np.random.default_rng(1).permutation(200)
    found = hashes_of(table, ["number", "flag", "text", "time"])
    assert np.array_equal(hashes_of(table, ["time", "text", "number", "flag"]), found)
    assert np.array_equal(hashes_of(table.take(order), ["number", "flag", "text", "time"]), found[order])


def test_the_hash_of_a_column_depends_on_its_name() -> None:
    first = hashes_of(pa.table({"a": [1.0, 2.0]}), ["a"])
    assert not np.any(first == hashes_of(pa.table({"b": [1.0, 2.0]}), ["b"]))


def test_mixed_bits_are_even_and_follow_from_the_salt() -> None:
    numbers = bits_of(np.append(np.arange(4096.0), -0.0))
    assert numbers[-1] == numbers[0]
    found = mixed(numbers[:-1], np.uint64(3))
    ones = np.unpackbits(found.view(np.uint8)).reshape(4096, 64).mean(axis=0)
    assert np.all(np.abs(ones - 0.5) < 5.0 * 0.5 / 64.0)
    assert not np.any(found == mixed(numbers[:-1], np.uint64(4)))
