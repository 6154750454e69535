"""Rows taken by number are the rows, in the order asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Layout


@pytest.mark.parametrize(
    "numbers", [np.random.default_rng(7).permutation(30)[:17], np.arange(5, 22), np.arange(13, 23)]
)
@pytest.mark.parametrize("by_row", [False, True])
def test_rows_of_several_chunks_come_in_the_order_asked_for(numbers: NDArray[np.intp], by_row: bool) -> None:
    rng = np.random.default_rng(0)
    dense, codes = rng.normal(size=(2, 30)).astype(np.float32), rng.integers(0, 4, (1, 30))
    label, weight, offset = rng.normal(size=30), rng.random(30), rng.normal(size=30)
    sparse = csr_array(rng.normal(size=(30, 3)) * (rng.random((30, 3)) < 0.4))
    dense = np.asfortranarray(dense) if by_row else dense
    cuts = [slice(0, 12), slice(12, 24), slice(24, 30)]
    chunks = tuple(
        StoredChunk(dense[:, cut], codes[:, cut], label[cut], weight[cut], offset[cut], sparse[cut]) for cut in cuts
    )
    rows = MemoryRows(Layout(True, 2, (3,), 3), chunks, np.array([1.0, 2.0]), np.array([0.5, 3.0]))
    (taken,) = rows.stretches(numbers, 17)
    (chunk,) = taken.chunks
    np.testing.assert_array_equal(chunk.dense, dense[:, numbers])
    assert chunk.dense.dtype == np.float32
    # As stored and within a chunk nothing is copied; what is copied stays row by row where it was.
    assert np.shares_memory(chunk.dense, dense) == (len(numbers) == 10)
    assert (chunk.dense.strides[0] < chunk.dense.strides[1]) == by_row
    np.testing.assert_array_equal(chunk.codes, codes[:, numbers])
    np.testing.assert_array_equal(chunk.label, label[numbers])
    np.testing.assert_array_equal(chunk.weight, weight[numbers])
    np.testing.assert_array_equal(chunk.offset, offset[numbers])
    np.testing.assert_array_equal(chunk.sparse.toarray(), sparse.toarray()[numbers])
    assert taken.shift is rows.shift
    assert taken.fingerprint is None


def test_a_table_without_weights_stays_without() -> None:
    chunk = StoredChunk(np.ones((1, 4)), np.empty((0, 4), dtype=int), np.arange(4.0))
    rows = MemoryRows(Layout(True, 1), (chunk,), np.zeros(1), np.ones(1))
    ((taken,),) = (stretch.chunks for stretch in rows.stretches(np.array([3, 1]), 2))
    assert (taken.weight, taken.offset, taken.sparse) == (None, None, None)
    np.testing.assert_array_equal(taken.label, [3.0, 1.0])


def test_a_part_shares_the_entries_of_its_sparse_columns() -> None:
    whole = csr_array(np.arange(1.0, 301.0).reshape(100, 3))
    chunk = StoredChunk(np.empty((0, 100)), np.empty((0, 100), dtype=np.uint8), np.zeros(100), sparse=whole)
    for rows in (slice(90, 100), slice(0, 3)):
        part = chunk.part(rows).sparse
        np.testing.assert_array_equal(part.toarray(), whole.toarray()[rows])
        assert np.shares_memory(part.data, whole.data)
        assert np.shares_memory(part.indices, whole.indices)
