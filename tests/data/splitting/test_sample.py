"""A sample of a table's rows: those of the mask, in order, with all that the ledger knows about them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.sample import take
from batchlearn.data.split import drawn, with_lots
from batchlearn.tables.table import Table, read


def drained(work: Generator[int, None, Any]) -> tuple[Any, int]:
    read_rows = 0
    while True:
        try:
            read_rows += next(work)
        except StopIteration as end:
            return end.value, read_rows


@pytest.fixture
def table(tmp_path: Any) -> Table:
    rng = np.random.default_rng(3)
    n = 700
    columns = {
        "x": rng.normal(size=n),
        "c": [f"k{k}" for k in rng.integers(0, 5, n)],
        "unused": rng.normal(size=n),
        "when": np.arange(n, dtype=np.float64),
        "w": rng.uniform(0.5, 2.0, n),
        "o": rng.normal(size=n),
        "g": [f"g{k}" for k in rng.integers(0, 3, n)],
        "label": pa.array(np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)), from_pandas=True),
    }
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=130)
    roles: dict[str, Any] = {"target": "label", "time": "when", "weight": "w", "offset": "o", "group": "g"}
    return read(path, where="x < 1.5", drop=["unused"], **roles)


def lotted(table: Table) -> Ledger:
    return with_lots(table, read_ledger(table))


def rows_of(table: Table, ledger: Ledger, mask: Any) -> Any:
    (profiles,), _ = drained(profile_parts(table, ledger, [mask]))
    encoding = fit_encoding(table.features, profiles, EncodingRules(additive=True, bins=8), table.roles.time)
    return drained(build_rows(table, ledger, encoding, mask, 1))[0], encoding


def test_the_rows_taken_are_those_of_the_mask(table: Table) -> None:
    ledger = lotted(table)
    entries = drawn(ledger, ledger.used, 1, 200)
    (taken, cut), read_rows = drained(take(table, ledger, entries))
    assert read_rows == len(ledger.used)
    assert cut.counts.used == cut.counts.read == 200
    assert np.array_equal(cut.label, ledger.label[entries])
    assert np.array_equal(cut.lots.lot, ledger.lots.lot[entries])
    for role in ("weight", "offset", "time", "group"):
        assert np.array_equal(getattr(cut, role), getattr(ledger, role)[entries])
    assert [column.name for column in taken.features] == [column.name for column in table.features]
    mask = np.zeros(len(ledger.used), dtype=bool)
    mask[entries] = True
    whole, encoding = rows_of(table, ledger, mask)
    in_order, same = drained(take(table, ledger, np.sort(entries)))[0]
    part, again = rows_of(in_order, same, np.ones(200, dtype=bool))
    assert encoding == again
    assert whole.fingerprint == part.fingerprint
    mixed, _ = rows_of(taken, cut, np.ones(200, dtype=bool))
    place = np.argsort(np.argsort(entries))
    codes = [np.concatenate([chunk.codes for chunk in rows.chunks], axis=1) for rows in (whole, mixed)]
    assert np.array_equal(codes[0][:, place], codes[1])
    for one, other in zip(whole.chunks, part.chunks, strict=True):
        assert np.array_equal(one.codes, other.codes)
        assert np.array_equal(one.label, other.label)


def test_what_was_taken_can_be_split_again(table: Table) -> None:
    ledger = lotted(table)
    entries = drawn(ledger, ledger.used, 1, 200)
    (taken, cut), _ = drained(take(table, ledger, entries))
    first = np.arange(200) < 50
    rows, _ = rows_of(taken, cut, first)
    assert len(rows) == 50
    assert np.array_equal(np.concatenate([chunk.label for chunk in rows.chunks]), ledger.label[entries][:50])
