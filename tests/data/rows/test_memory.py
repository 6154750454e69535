"""Rows are read in the order of their chunks, with the same bits for any number of threads."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array
from threadpoolctl import threadpool_info

from batchlearn.data.rows import Chunk
from batchlearn.data.rows.memory import MemoryRows, chunk_rows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LogisticLoss
from batchlearn.statistics.totals import GradientTotal, HessianTotal


class Seen(NamedTuple):
    total: Floats
    first: Floats


@dataclass(frozen=True)
class Collect:
    """The sum of the labels and the rows as read, in order."""

    combine: ClassVar[tuple[Any, ...]] = (np.add, lambda a, b: np.concatenate([a, b], axis=1))

    def __call__(self, chunk: Chunk, parameters: Floats) -> Seen:
        weighted = chunk.weight * chunk.label * parameters[0] + chunk.offset
        return Seen(np.array([weighted.sum()]), np.vstack([chunk.block.dense, chunk.label]))


def some_rows(sizes: tuple[int, ...], seed: int = 0, **parts: bool) -> MemoryRows:
    rng = np.random.default_rng(seed)
    chunks = tuple(
        StoredChunk(
            dense=rng.normal(size=(2, m)).astype(np.float32),
            codes=np.zeros((0, m), dtype=np.int32),
            label=rng.normal(size=m),
            weight=rng.uniform(0.0, 2.0, m) if parts.get("weight") else None,
            offset=rng.normal(size=m) if parts.get("offset") else None,
        )
        for m in sizes
    )
    return MemoryRows(Layout(True, 2), chunks, shift=np.array([0.5, -1.0]), scale=np.array([2.0, 0.25]))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_row_is_read_once_and_in_order(threads: int) -> None:
    rows = some_rows((5, 1, 7, 3, 2, 9, 4))
    found = replace(rows, threads=threads).total(Collect(), np.array([2.0]))
    labels = np.concatenate([chunk.label for chunk in rows.chunks])
    stored = np.concatenate([chunk.dense for chunk in rows.chunks], axis=1).astype(np.float64)
    expected = np.vstack([np.ones(31), (stored[0] - 0.5) / 2.0, (stored[1] + 1.0) / 0.25, labels])
    np.testing.assert_array_equal(found.first, expected)
    assert found.total[0] == pytest.approx(2.0 * labels.sum())
    assert found.total.tobytes() == rows.total(Collect(), np.array([2.0])).total.tobytes()


def test_weights_and_offsets_are_read_where_there_are_any() -> None:
    rows = some_rows((4, 6), weight=True, offset=True)
    sums = [
        np.sum(c.weight * c.label * 3.0 + c.offset)
        for c in rows.chunks
        if c.weight is not None and c.offset is not None
    ]
    assert rows.total(Collect(), np.array([3.0])).total[0] == pytest.approx(sum(sums))
    assert rows.has_offset
    assert not some_rows((4,)).has_offset


def test_the_total_weight_is_exact_and_counts_rows_where_none_are_given() -> None:
    assert some_rows((4, 6)).total_weight == 10.0
    tiny = replace(some_rows((3,)).chunks[0], weight=np.array([1e16, 1.0, -1e16]))
    assert replace(some_rows((3,)), chunks=(tiny,)).total_weight == 1.0
    assert some_rows((4, 6)).longest_chunk == 6
    assert len(some_rows((4, 6))) == 10


class Largest(NamedTuple):
    largest: float


@dataclass(frozen=True)
class Exponential:
    """The exponential of the first parameter, by a worker and not by us."""

    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Largest:
        assert threading.current_thread() is not threading.main_thread()
        return Largest(float(np.exp(parameters[0] + np.zeros(len(chunk.label))).max()))


def test_workers_share_our_error_state_and_pass_errors_on() -> None:
    rows = replace(some_rows((4, 6, 2)), threads=2)
    with np.errstate(over="ignore"):
        assert rows.total(Exponential(), np.array([1e4])).largest == np.inf
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        rows.total(Exponential(), np.array([1e4]))


def test_sparse_columns_are_scaled_while_reading() -> None:
    values = csr_array(np.array([[0.0, 3.0], [2.0, 0.0]]))
    chunk = StoredChunk(np.empty((0, 2)), np.zeros((0, 2), dtype=np.int32), np.zeros(2), sparse=values)
    rows = MemoryRows(Layout(False, 0, (), 2), (chunk,), np.empty(0), np.empty(0), sparse_scale=np.array([4.0, 2.0]))
    np.testing.assert_array_equal(rows.read(chunk).block.sparse.toarray(), [[0.0, 1.5], [0.5, 0.0]])
    np.testing.assert_array_equal(replace(rows, sparse_scale=None).read(chunk).block.sparse.toarray(), values.toarray())


def test_the_intercept_alone_keeps_labels_weights_and_offsets() -> None:
    rows = some_rows((4, 6), weight=True, offset=True)
    bare = rows.intercept_only()
    assert bare.layout == Layout(True, 0)
    assert bare.total_weight == rows.total_weight
    read = bare.read(bare.chunks[1])
    np.testing.assert_array_equal(read.block.dense, np.ones((1, 6)))
    np.testing.assert_array_equal(read.label, rows.chunks[1].label)
    np.testing.assert_array_equal(read.offset, rows.chunks[1].offset)


def test_other_offsets_fall_into_the_same_chunks() -> None:
    rows = some_rows((4, 6)).with_offset(np.arange(10.0))
    np.testing.assert_array_equal(rows.chunks[0].offset, np.arange(4.0))
    np.testing.assert_array_equal(rows.chunks[1].offset, np.arange(4.0, 10.0))


@pytest.mark.parametrize("columns", [0, 1, 10, 64, 1000, 10**5, 10**9])
def test_chunks_are_powers_of_two_of_bounded_size(columns: int) -> None:
    size = chunk_rows(columns)
    assert size & (size - 1) == 0
    assert 256 <= size <= 65_536
    assert size == 256 or size * columns * 8 <= 2**25


def test_blas_is_held_at_one_thread_and_let_go_again() -> None:
    before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    with one_blas_thread():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
    assert [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"] == before


def repeated(copies: int, offset: bool = False, weight: bool = False) -> MemoryRows:
    """Rows of few values, each several times, in chunks of several lengths."""
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 20, 20 * copies)
    values, levels, labels = rng.normal(size=(2, 20)), rng.integers(0, 4, (1, 20)), rng.integers(0, 2, 20)
    offsets, ends = rng.normal(size=20), [*range(0, len(drawn), 64), len(drawn)]
    parts = [drawn[a:b] for a, b in itertools.pairwise(ends)]
    chunks = tuple(
        StoredChunk(
            values[:, part].astype(np.float32),
            levels[:, part].astype(np.uint8),
            labels[part].astype(np.float64),
            rng.uniform(0.0, 2.0, len(part)) if weight else None,
            offsets[part] if offset else None,
        )
        for part in parts
    )
    return MemoryRows(Layout(True, 2, (3,)), chunks, shift=np.array([0.5, -1.0]), scale=np.array([2.0, 0.25]))


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("weight", [False, True])
def test_rows_that_repeat_each_other_are_read_as_one(offset: bool, weight: bool) -> None:
    rows = repeated(20, offset, weight)
    merged = rows.deduplicate()
    assert len(merged) < 0.5 * len(rows)
    assert merged.total_weight == pytest.approx(rows.total_weight, rel=1e-14)
    assert merged.fingerprint is None
    for statistic in (GradientTotal(LogisticLoss()), HessianTotal(LogisticLoss())):
        parameters = np.array([0.2, -1.0, 0.5, 0.3, -0.7, 0.1])
        for whole, few in zip(rows.total(statistic, parameters), merged.total(statistic, parameters), strict=True):
            if np.ndim(whole) != 0:
                np.testing.assert_allclose(few, whole, rtol=1e-12, atol=1e-12)


def test_rows_that_hardly_repeat_are_left_as_they_are() -> None:
    rows = some_rows((50, 20))
    assert rows.deduplicate() is rows


def test_some_rows_tell_that_merging_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 40_000
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 200, (3, count)).astype(np.uint8)
    chunk = StoredChunk(np.empty((0, count)), codes, rng.integers(0, 2, count).astype(np.float64))
    rows, looked_at, own = MemoryRows(Layout(True, 0, (200,) * 3), (chunk,), np.zeros(0), np.ones(0)), [], len

    def noted(self: StoredChunk) -> StoredChunk:
        looked_at.append(own(self))
        return self

    monkeypatch.setattr(StoredChunk, "deduplicate", noted)
    assert rows.deduplicate() is rows
    assert looked_at == [8192]


def test_samples_of_coded_rows_stand_next_to_each_other_in_chunks_as_long() -> None:
    rows = repeated(20)
    thinned = rows.thin(2)
    assert thinned.chunk_count == -(-rows.chunk_count // 2)
    assert all(chunk.codes.flags.c_contiguous for chunk in thinned.chunks)


def test_sums_over_chunks_leave_those_of_each_as_they_are() -> None:
    rows, given = repeated(20), dict[int, Floats]()

    class Counted:
        combine: ClassVar[tuple[Any, ...]] = (np.add,)

        def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[Floats]:  # noqa: ARG002 - the protocol of a statistic
            return (given.setdefault(len(given), np.ones(3)),)

    (total,) = rows.total(Counted(), np.zeros(0))
    assert total.tolist() == [float(rows.chunk_count)] * 3
    assert all(part.tolist() == [1.0] * 3 for part in given.values())


def test_rows_mixed_to_one_number_by_chance_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = repeated(20)
    monkeypatch.setattr("batchlearn.data.rows.stored._MIXING", 0)
    assert rows.deduplicate() is rows
