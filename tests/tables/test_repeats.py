"""Rows that repeat an earlier one: as many as pandas finds, whatever kinds, batches and missing values they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batchlearn.tables.repeats import RepeatedRows
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


def counted(table: pa.Table, size: int) -> int:
    repeats = RepeatedRows()
    label = table["label"].to_numpy()
    start = 0
    for whole in read(table).scan(["number", "flag", "text", "time"]):
        for first in range(0, whole.num_rows, size):
            part = whole.slice(first, size)
            repeats.update(part, label[start + first : start + first + part.num_rows])
        start += whole.num_rows
    return repeats.count()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 50, 1_000])
def test_repeats_are_those_that_pandas_finds(seed: int, rows: int) -> None:
    table = pa.table(columns(rows, seed))
    # pandas would take a missing flag for another object each time.
    frame = pd.DataFrame({name: [repr(value) for value in table[name].to_pylist()] for name in table.column_names})
    expected = int(frame.duplicated().sum())
    assert [counted(table, size) for size in (1, 7, 10_000)] == [expected] * 3
    assert rows < 1_000 or expected > 300


def test_a_value_in_another_column_is_another_row() -> None:
    table = pa.table({"a": [1.0, 2.0, 1.0], "b": [2.0, 1.0, 2.0]})
    repeats = RepeatedRows()
    for batch in read(table).scan(["a", "b"]):
        repeats.update(batch, np.zeros(3))
    assert repeats.count() == 1


def test_labels_tell_rows_apart() -> None:
    repeats = RepeatedRows()
    for batch in read(pa.table({"a": [1.0, 1.0, 1.0]})).scan(["a"]):
        repeats.update(batch, np.array([0.0, 1.0, 1.0]))
    assert repeats.count() == 1
    assert RepeatedRows().count() == 0
