"""What every implementation of `Rows` must do, however its rows are cut and whoever reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from batchlearn.data.rows import Chunk, Rows, level_codes
from batchlearn.data.rows.kept import ChunkCollector, FileChunks
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats, Layout, linear_predictor
from batchlearn.tables.table.budget import budget_of

COUNT = 60
LAYOUT = Layout(True, 2, (3, 300), 2)
SHIFT, SCALE = np.array([0.5, -1.0]), np.array([2.0, 0.25])


def written() -> StoredChunk:
    """Draw all rows, in one piece; some of them repeat others, some have no weight."""
    rng = np.random.default_rng(7)
    codes = np.stack([rng.integers(0, 4, COUNT), rng.integers(0, 301, COUNT)]).astype(LAYOUT.code_type)
    sparse = csr_array(rng.normal(size=(COUNT, 2)) * (rng.random((COUNT, 2)) < 0.4))
    weight = rng.integers(0, 3, COUNT).astype(np.float64)
    label, offset = rng.normal(size=(2, COUNT))
    return StoredChunk(rng.normal(size=(2, COUNT)), codes, label, weight, offset, sparse)


def in_memory(*cuts: int, threads: int = 1) -> Rows:
    whole = written()
    chunks = tuple(whole.part(slice(a, b)) for a, b in pairwise([0, *cuts, COUNT]))
    return MemoryRows(LAYOUT, chunks, SHIFT, SCALE, threads=threads, fingerprint="of all")


def in_a_file(*cuts: int, threads: int = 1) -> Rows:
    memory = in_memory(*cuts, threads=threads)
    assert isinstance(memory, MemoryRows)
    collector = ChunkCollector(budget_of(0))
    for chunk in memory.chunks:
        collector.add(chunk)
    chunks = collector.finish()
    assert isinstance(chunks, FileChunks)
    return replace(memory, chunks=chunks)


MAKERS: dict[str, Callable[[], Rows]] = {
    "one chunk": in_memory,
    "chunks": lambda: in_memory(1, 20, 40),
    "chunks and threads": lambda: in_memory(16, 32, 48, threads=3),
    "a file": lambda: in_a_file(1, 20, 40),
    "a file and threads": lambda: in_a_file(16, 32, 48, threads=3),
}


@pytest.fixture(params=MAKERS.values(), ids=list(MAKERS))
def rows(request: pytest.FixtureRequest) -> Rows:
    made: Rows = request.param()
    return made


def parts_of(chunk: Chunk) -> list[Any]:
    """Return all that a chunk says of its rows, each an array whose first axis is the rows."""
    dense, codes, sparse = chunk.block.dense, chunk.block.codes, chunk.block.sparse
    offset = np.broadcast_to(chunk.offset, chunk.label.shape)
    return [dense.T, codes.T, chunk.label, chunk.weight, offset, None if sparse is None else sparse.toarray()]


def check(found: Chunk, numbers: Any) -> None:
    """Check that a chunk holds the rows of these numbers, in this order."""
    whole = parts_of(in_memory().together())
    for one, every in zip(parts_of(found), whole, strict=True):
        np.testing.assert_array_equal(one, every[np.asarray(numbers)])


class Sums(NamedTuple):
    predictors: Floats
    rows: int


@dataclass(frozen=True)
class SumTotal:
    combine: ClassVar[tuple[Any, ...]] = (np.add, np.add)

    def __call__(self, chunk: Chunk, parameters: Floats) -> Sums:
        return Sums(np.array([predicted(chunk, parameters).sum()]), len(chunk.label))


def predicted(chunk: Chunk, parameters: Floats) -> Floats:
    return linear_predictor(chunk.layout, chunk.block, parameters) + chunk.offset


PARAMETERS = np.random.default_rng(3).normal(size=LAYOUT.size)


def test_rows_are_read_as_they_are_written(rows: Rows) -> None:
    assert len(rows) == COUNT
    assert rows.layout == LAYOUT
    assert rows.fingerprint == "of all"
    check(rows.together(), np.arange(COUNT))
    dense = rows.together().block.dense
    np.testing.assert_array_equal(dense, [np.ones(COUNT), *(written().dense - SHIFT[:, None]) / SCALE[:, None]])


def test_what_each_row_has_is_in_its_place_to_the_last_bit(rows: Rows) -> None:
    found = rows.map_rows(predicted, PARAMETERS)
    assert found.tobytes() == predicted(in_memory().together(), PARAMETERS).tobytes()
    both = rows.map_rows(lambda chunk, _: np.stack([chunk.label, chunk.weight]), PARAMETERS)
    np.testing.assert_array_equal(both, [written().label, written().weight])
    assert level_codes(rows).dtype == np.intp
    np.testing.assert_array_equal(level_codes(rows), written().codes)


def test_totals_are_of_all_rows(rows: Rows) -> None:
    total = rows.total(SumTotal(), PARAMETERS)
    assert total.rows == COUNT
    np.testing.assert_allclose(total.predictors, rows.map_rows(predicted, PARAMETERS).sum(), rtol=1e-12)
    weight = written().weight
    assert weight is not None
    assert rows.total_weight == weight.sum()
    assert rows.squared_weight == weight @ weight
    assert rows.has_offset
    assert rows.stored_entries == written().sparse.nnz
    assert rows.stored_bytes == COUNT * (2 * 8 + 2 * 2 + 3 * 8)


def test_stretches_come_in_the_order_asked_for(rows: Rows) -> None:
    order = np.random.default_rng(1).permutation(COUNT)[:50]
    stretches = list(rows.stretches(order, 20))
    assert [len(stretch) for stretch in stretches] == [20, 20, 10]
    assert [stretch.chunk_count for stretch in stretches] == [1, 1, 1]
    for stretch, numbers in zip(stretches, (order[:20], order[20:40], order[40:]), strict=True):
        check(stretch.together(), numbers)
        assert stretch.fingerprint is None
    assert list(rows.stretches(order[:0], 20)) == []


def test_a_sample_is_of_the_rows_that_count_and_the_seed_decides_it(rows: Rows) -> None:
    weight = written().weight
    assert weight is not None
    counted: NDArray[np.intp] = np.flatnonzero(weight > 0.0)
    np.testing.assert_array_equal(rows.counted(), counted)
    drawn = np.sort(counted[np.random.default_rng([4, 2]).choice(len(counted), 15, replace=False)])
    check(rows.sample([4, 2], 15).together(), drawn)
    assert rows.sample([4, 3], 15).together().label.tobytes() != rows.sample([4, 2], 15).together().label.tobytes()


def test_fewer_rows_are_some_of_the_rows(rows: Rows) -> None:
    assert rows.thin(1) is rows
    lengths = [len(rows.of_chunks(slice(k, k + 1))) for k in range(rows.chunk_count)]
    starts = np.cumsum([0, *lengths])
    thinned = [number for a, b in pairwise(starts) for number in range(a, b, 7)]
    check(rows.thin(7).together(), thinned)
    assert sum(lengths) == COUNT
    second = [number for k in range(0, rows.chunk_count, 2) for number in range(starts[k], starts[k + 1])]
    check(rows.of_chunks(slice(None, None, 2)).together(), second)
    assert rows.additions == max(lengths) + rows.chunk_count


def test_rows_with_less_or_other_of_each_are_the_same_rows(rows: Rows) -> None:
    levels, bare = rows.levels_only(), rows.intercept_only()
    assert levels.layout == Layout(True, 0, LAYOUT.groups)
    assert bare.layout == Layout(True, 0)
    for fewer in (levels, bare):
        read = fewer.together()
        assert read.block.sparse is None
        np.testing.assert_array_equal(read.block.dense, np.ones((1, COUNT)))
        np.testing.assert_array_equal(read.label, written().label)
        np.testing.assert_array_equal(read.weight, written().weight)
        np.testing.assert_array_equal(read.offset, written().offset)
    np.testing.assert_array_equal(levels.together().block.codes, written().codes)
    moved = rows.with_offset(np.arange(COUNT) / 2.0)
    np.testing.assert_array_equal(moved.together().offset, np.arange(COUNT) / 2.0)
    np.testing.assert_array_equal(moved.together().label, written().label)


@pytest.mark.parametrize(
    ("levels", "bytes_each"), [((), 1), ((255,), 1), ((3, 256), 2), ((65_535,), 2), ((65_536,), 4)]
)
def test_codes_take_as_few_bytes_as_hold_no_level_too(levels: tuple[int, ...], bytes_each: int) -> None:
    code_type = Layout(True, 0, levels).code_type
    assert code_type.itemsize == bytes_each
    assert np.array(max(levels, default=0), dtype=code_type) == max(levels, default=0)
