"""From table to rows: chunk boundaries follow from row numbers alone, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data import build
from batchlearn.data.build import build_rows, profile_parts
from batchlearn.data.encoding import Encoding
from batchlearn.data.encoding_fit import EncodingRules, fit_encoding
from batchlearn.data.ledger import Ledger, read_ledger
from batchlearn.data.profile import merge
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.split import with_lots
from batchlearn.tables.table import Table, read

Answer = TypeVar("Answer")
ROLES: dict[str, Any] = {"target": "y", "weight": "w", "offset": "o"}


def finished(steps: Generator[int, None, Answer]) -> tuple[Answer, int]:
    """Run to the end; return the answer and the rows that were reported."""
    rows = 0
    while True:
        try:
            rows += next(steps)
        except StopIteration as end:
            return end.value, rows


def made(n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "y": pa.array(np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)), from_pandas=True),
            "w": rng.integers(0, 3, n).astype(float),
            "o": rng.normal(size=n),
            "x": pa.array(np.where(rng.random(n) < 0.2, np.nan, rng.normal(1e3, 1.0, n)), from_pandas=True),
            "c": [None if k == 0 else "abcdefg"[k] for k in rng.integers(0, 7, n)],
        }
    )


def in_batches(table: pa.Table, cuts: list[int]) -> Table:
    """Return the same rows, stored in batches that end at the cuts; each has dictionaries of its own."""
    bounds = [0, *cuts, table.num_rows]
    parts = [table.slice(a, b - a) for a, b in pairwise(bounds)]
    return read(pa.concat_tables(parts), **ROLES)


def built(table: Table) -> tuple[Ledger, Encoding, MemoryRows]:
    ledger = with_lots(table, read_ledger(table))
    (profiles,), _ = finished(profile_parts(table, ledger, [ledger.used]))
    encoding = fit_encoding(table.features, profiles, EncodingRules(), None)
    rows, _ = finished(build_rows(table, ledger, encoding, ledger.used, 1))
    return ledger, encoding, rows


@pytest.mark.parametrize("length", [1, 7, 100, 10_000])
def test_batches_of_the_source_do_not_move_a_chunk(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(build, "chunk_rows", lambda _columns: length)
    table = made(300, seed=1)
    _, first, whole = built(in_batches(table, []))
    assert {len(chunk) for chunk in whole.chunks[:-1]} <= {length}
    for cuts in ([150], [1, 2, 3, 299], list(range(0, 300, 11))):
        _, encoding, rows = built(in_batches(table, cuts))
        assert encoding == first
        assert rows.fingerprint == whole.fingerprint
        assert len(rows.chunks) == len(whole.chunks)
        for chunk, other in zip(rows.chunks, whole.chunks, strict=True):
            for name in ("dense", "codes", "label", "weight", "offset"):
                assert np.array_equal(getattr(chunk, name), getattr(other, name))


def test_rows_hold_what_the_ledger_says_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "chunk_rows", lambda _columns: 32)
    ledger, encoding, rows = built(in_batches(made(300, seed=2), [100, 101]))
    assert ledger.weight is not None
    assert ledger.offset is not None
    assert len(rows) == ledger.counts.used < 300
    for name, values in (("label", ledger.label), ("weight", ledger.weight), ("offset", ledger.offset)):
        assert np.array_equal(np.concatenate([getattr(chunk, name) for chunk in rows.chunks]), values[ledger.used])
    assert rows.layout == encoding.layout
    assert rows.total_weight == ledger.weight[ledger.used].sum()


def test_parts_are_profiled_in_one_pass_and_merge_to_the_whole() -> None:
    table = in_batches(made(300, seed=3), [77])
    ledger = with_lots(table, read_ledger(table))
    early = ledger.used & (np.arange(300) < 200)
    parts, reported = finished(profile_parts(table, ledger, [early, ledger.used & ~early]))
    (whole,), _ = finished(profile_parts(table, ledger, [ledger.used]))
    assert reported == 300
    merged = merge(*parts)
    assert merged["c"] == whole["c"]
    for name in ("rows", "missing", "low", "high"):
        assert getattr(merged["x"], name) == getattr(whole["x"], name)
    assert getattr(merged["x"], "mean") == pytest.approx(getattr(whole["x"], "mean"), rel=1e-14)  # noqa: B009 - a union


def test_rows_outside_the_part_are_not_seen() -> None:
    table = made(200, seed=4)
    part = np.arange(200) < 120
    other = pa.concat_tables([table.slice(0, 120), made(80, seed=5)])
    found = []
    for source in (table, other):
        whole = in_batches(source, [])
        # Weights are over their mean in all rows: that alone, which changes nothing, is known of those outside.
        ledger = with_lots(whole, read_ledger(whole, weight_constant=1.0))
        (profiles,), _ = finished(profile_parts(whole, ledger, [ledger.used & part]))
        encoding = fit_encoding(whole.features, profiles, EncodingRules(), None)
        rows, _ = finished(build_rows(whole, ledger, encoding, ledger.used & part, 1))
        found.append((encoding, rows.fingerprint, rows.chunks[0].dense.tobytes()))
    assert found[0] == found[1]
