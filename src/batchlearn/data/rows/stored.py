"""Chunks as they are kept in memory, and all that is done to one: cut, thinned, gathered, joined, merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Floats

# An odd number that spreads bits.
_MIXING = 0x9E3779B97F4A7C15


@lru_cache(maxsize=8)
def _ones(count: int) -> Floats:
    """Return the same ones for each chunk of a length: they stay in the cache."""
    ones = np.ones(count)
    ones.setflags(write=False)
    return ones


@dataclass(frozen=True)
class StoredChunk:
    """Consecutive rows as they are kept: dense columns in their own type, not yet shifted and scaled."""

    dense: NDArray[Any]  # (columns, m)
    codes: NDArray[np.integer[Any]]  # (groups, m), in as many bytes as the largest needs
    label: Floats
    weight: Floats | None = None
    offset: Floats | None = None
    sparse: Any = None  # CSR (m, columns)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def weights(self) -> Floats:
        """The weight of each row, one where none were given."""
        return _ones(len(self)) if self.weight is None else self.weight

    @property
    def stored_bytes(self) -> int:
        """Bytes of the rows, without the sparse part."""
        arrays = (self.dense, self.codes, self.label, self.weight, self.offset)
        return sum(array.nbytes for array in arrays if array is not None)

    def part(self, rows: slice) -> StoredChunk:
        """Return some of the rows, which share the memory of these; entries of the sparse part do for a step of one."""
        return StoredChunk(
            self.dense[:, rows],
            self.codes[:, rows],
            self.label[rows],
            None if self.weight is None else self.weight[rows],
            None if self.offset is None else self.offset[rows],
            None if self.sparse is None else _sparse_part(self.sparse, rows),
        )

    def copied(self) -> StoredChunk:
        """Return the rows in memory of their own."""
        return StoredChunk(
            self.dense.copy(),
            self.codes.copy(),
            self.label.copy(),
            None if self.weight is None else self.weight.copy(),
            None if self.offset is None else self.offset.copy(),
            None if self.sparse is None else self.sparse.copy(),
        )

    def deduplicate(self) -> StoredChunk:
        """Return the chunk with rows of equal values as one, in the order of their first; without a sparse part."""
        columns = [*self.dense, *self.codes, self.label]
        columns.extend([] if self.offset is None else [self.offset])
        mixed = np.zeros(len(self), dtype=np.uint64)
        for column in columns:
            mixed = (mixed ^ column.astype(np.float64).view(np.uint64)) * np.uint64(_MIXING)
            mixed ^= mixed >> np.uint64(29)
        _, first, place = np.unique(mixed, return_index=True, return_inverse=True)
        # Two rows may be mixed to one number by chance.
        if not all(np.array_equal(column[first[place]], column) for column in columns):
            return self
        weight = np.bincount(place, self.weight)
        order = np.argsort(first)
        kept = first[order]
        offset = None if self.offset is None else self.offset[kept]
        dense, codes = self.dense[:, kept], self.codes[:, kept]
        return StoredChunk(dense, codes, self.label[kept], weight[order].astype(np.float64), offset)


def joined(chunks: Sequence[StoredChunk]) -> StoredChunk:
    """Return the rows of chunks, one after the other, as one."""
    if len(chunks) == 1:
        return chunks[0]
    weighted = any(chunk.weight is not None for chunk in chunks)
    offsets = [chunk.offset for chunk in chunks if chunk.offset is not None]
    return StoredChunk(
        np.concatenate([chunk.dense for chunk in chunks], axis=1),
        np.concatenate([chunk.codes for chunk in chunks], axis=1),
        np.concatenate([chunk.label for chunk in chunks]),
        np.concatenate([chunk.weights for chunk in chunks]) if weighted else None,
        np.concatenate(offsets) if offsets else None,
        None if chunks[0].sparse is None else _stacked([chunk.sparse for chunk in chunks]),
    )


def gathered(
    chunks: Sequence[StoredChunk], numbers: NDArray[np.intp], lengths: Sequence[int] | None = None
) -> StoredChunk:
    """Return the rows of these numbers, counted through all chunks, in this order.

    Only chunks with one of them are read, one after the other, where `lengths` has the rows of each.
    """
    starts = np.cumsum([0, *(map(len, chunks) if lengths is None else lengths)])
    if len(numbers) and int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1 and np.all(np.diff(numbers) == 1):
        # As stored: what lies in one chunk is not copied.
        first, last = np.searchsorted(starts, (numbers[0], numbers[-1]), side="right") - 1
        ends = zip(starts[first : last + 1], starts[first + 1 : last + 2], strict=True)
        spans = [slice(max(numbers[0] - a, 0), min(numbers[-1] + 1, b) - a) for a, b in ends]
        return joined([chunks[k].part(span) for k, span in enumerate(spans, start=int(first))])
    order = np.argsort(numbers, kind="stable")
    sorted_numbers = numbers[order]
    cuts = np.searchsorted(sorted_numbers, starts)
    found: StoredChunk | None = None
    sparse: list[tuple[NDArray[np.intp], Any]] = []
    for k, (a, b) in enumerate(pairwise(cuts)):
        if b > a:
            chunk, places, local = chunks[k], order[a:b], sorted_numbers[a:b] - starts[k]
            found = _empty_like(chunk, len(numbers)) if found is None else found
            if _is_by_row(chunk):
                found.dense.T[places] = chunk.dense.T[local]
            else:
                found.dense[:, places] = chunk.dense[:, local]
            found.codes[:, places] = chunk.codes[:, local]
            vectors = (found.label, chunk.label), (found.weight, chunk.weight), (found.offset, chunk.offset)
            for out, values in vectors:
                if out is not None and values is not None:
                    out[places] = values[local]
            if chunk.sparse is not None:
                sparse.append((places, chunk.sparse[local]))
    assert found is not None
    if not sparse:
        return found
    place = np.argsort(np.concatenate([places for places, _ in sparse]))
    return replace(found, sparse=_stacked([part for _, part in sparse])[place])


def _is_by_row(chunk: StoredChunk) -> bool:
    """Whether the dense columns are stored row by row: whole rows are copied then."""
    return bool(chunk.dense.strides[0] < chunk.dense.strides[1])


def _empty_like(chunk: StoredChunk, count: int) -> StoredChunk:
    """Return room for so many rows as those of a chunk, without a sparse part."""
    shape = (count, len(chunk.dense)) if _is_by_row(chunk) else (len(chunk.dense), count)
    dense = np.empty(shape, dtype=chunk.dense.dtype)
    return StoredChunk(
        dense.T if _is_by_row(chunk) else dense,
        np.empty((len(chunk.codes), count), dtype=chunk.codes.dtype),
        np.empty(count),
        None if chunk.weight is None else np.empty(count),
        None if chunk.offset is None else np.empty(count),
    )


def _sparse_part(sparse: Any, rows: slice) -> Any:
    start, stop, step = rows.indices(sparse.shape[0])
    if step != 1:
        return sparse[rows]
    # A slice of the array itself would copy its entries.
    first, last = int(sparse.indptr[start]), int(sparse.indptr[stop])
    part = type(sparse)((stop - start, sparse.shape[1]), dtype=sparse.dtype)
    # Not by the constructor: it copies views of much larger arrays.
    part.data, part.indices = sparse.data[first:last], sparse.indices[first:last]
    part.indptr = sparse.indptr[start : stop + 1] - first
    return part


def _stacked(parts: list[Any]) -> Any:
    """Return CSR arrays one below the other, as one of their own kind."""
    ends = np.cumsum([0, *(part.nnz for part in parts)])
    pointers = [part.indptr[:-1] + first for part, first in zip(parts, ends[:-1], strict=True)]
    data, indices = np.concatenate([part.data for part in parts]), np.concatenate([part.indices for part in parts])
    shape = (sum(part.shape[0] for part in parts), parts[0].shape[1])
    return type(parts[0])((data, indices, np.concatenate([*pointers, ends[-1:]])), shape=shape)
