"""Rows: encoded chunks in memory, and the one primitive that reads them all.

Everything a batch learner needs from its data is a sum over rows, so there is one way to read the full batch:
`rows.total(statistic, parameters)`. Chunk boundaries follow from row numbers alone and totals are added in the order
of the chunks, so the answer has the same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from batchlearn.kernels.design import Block, Floats, Layout, standardised

Totals = TypeVar("Totals", bound=tuple[Any, ...])
Totals_co = TypeVar("Totals_co", bound=tuple[Any, ...], covariant=True)

_LARGEST_CHUNK = 65_536
_CHUNK_VALUES = 1 << 22
# Rows that repeat each other are read as one where this share is left; an odd number that spreads bits.
_WORTH_MERGING, _MIXING = 0.75, 0x9E3779B97F4A7C15


def chunk_rows(columns: int) -> int:
    """Rows in a chunk: a power of two that keeps one float64 copy of the chunk near 32 MB."""
    fitting = _CHUNK_VALUES // max(columns, 1)
    return int(min(_LARGEST_CHUNK, max(256, 2 ** int(math.log2(max(fitting, 1))))))


class Chunk(NamedTuple):
    """Some consecutive rows as a statistic sees them; every array has one entry a row, in float64."""

    layout: Layout
    block: Block
    label: Floats
    weight: Floats
    offset: Floats | float  # 0.0 where no offset was given


class Statistic(Protocol[Totals_co]):
    """What is computed from one chunk at given parameters, and how two chunks' answers are put together."""

    combine: ClassVar[tuple[Callable[[Any, Any], Any], ...]]  # one ufunc for each field of the totals

    def __call__(self, chunk: Chunk, parameters: Floats) -> Totals_co:
        """Return this chunk's totals."""
        ...


@dataclass(frozen=True)
class StoredChunk:
    """Consecutive rows as they are kept: dense columns in their own type, not yet shifted and scaled."""

    dense: NDArray[Any]  # (columns, m)
    codes: NDArray[np.integer[Any]]  # (groups, m)
    label: Floats
    weight: Floats | None = None
    offset: Floats | None = None
    sparse: Any = None  # CSR (m, columns)

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Rows:
    """All rows of one data set, encoded, in memory.

    Dense columns are read as (value - shift) / scale, computed in float64 while reading: the stored columns stay as
    they came. A difference of two floats and a quotient are each exact to half a unit in the last place, so this
    loses nothing that the rounding bounds of a certificate do not already cover.
    """

    layout: Layout
    chunks: tuple[StoredChunk, ...]
    shift: Floats  # (dense columns,)
    scale: Floats  # (dense columns,)
    sparse_scale: Floats | None = None  # (sparse columns,)
    threads: int = 1
    fingerprint: str | None = None

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    @cached_property
    def total_weight(self) -> float:
        """The sum of the row weights; the number of rows where none were given."""
        return math.fsum(
            float(len(chunk)) if chunk.weight is None else math.fsum(chunk.weight) for chunk in self.chunks
        )

    @property
    def longest_chunk(self) -> int:
        """Rows in the longest chunk: the length of the longest single sum."""
        return max((len(chunk) for chunk in self.chunks), default=0)

    @property
    def has_offset(self) -> bool:
        """Whether the rows carry offsets."""
        return any(chunk.offset is not None for chunk in self.chunks)

    def intercept_only(self) -> Rows:
        """Return the same rows without any feature."""
        chunks = tuple(replace(c, dense=c.dense[:0], codes=c.codes[:0], sparse=None) for c in self.chunks)
        return replace(self, layout=Layout(True, 0), chunks=chunks, shift=self.shift[:0], scale=self.scale[:0])

    def with_labels(self, label: Floats) -> Rows:
        """Return the same rows with other labels, shape (rows,)."""
        parts = np.split(label, np.cumsum([len(chunk) for chunk in self.chunks])[:-1])
        return replace(self, chunks=tuple(replace(c, label=y) for c, y in zip(self.chunks, parts, strict=True)))

    def every(self, step: int) -> Rows:
        """Return every so many-th row of each chunk, without copying; all for a step of one."""
        if step == 1:
            return self
        chunks = tuple(
            StoredChunk(
                c.dense[:, ::step],
                c.codes[:, ::step],
                c.label[::step],
                None if c.weight is None else c.weight[::step],
                None if c.offset is None else c.offset[::step],
                None if c.sparse is None else c.sparse[::step],
            )
            for c in self.chunks
        )
        return replace(self, chunks=chunks, fingerprint=None)

    def take(self, numbers: NDArray[np.intp]) -> Rows:
        """Return the rows of these numbers, in this order, as one chunk of their own."""
        order = np.argsort(numbers, kind="stable")
        sorted_numbers, starts = numbers[order], np.cumsum([0, *(len(chunk) for chunk in self.chunks)])
        cuts = np.searchsorted(sorted_numbers, starts)
        parts = [
            (chunk, order[a:b], sorted_numbers[a:b] - first)
            for chunk, first, a, b in zip(self.chunks, starts[:-1], cuts[:-1], cuts[1:], strict=True)
            if b > a
        ]
        return replace(self, chunks=(_gather(parts, len(numbers)),), fingerprint=None)

    def merged(self) -> Rows:
        """Return rows that repeat each other as one of their added weight; these rows where few do.

        Sums over rows are the same but for rounding, and cost as much less: for the way to an optimum, not for what is
        said about each row.
        """
        if self.layout.sparse or not self.chunks:
            return self
        first = _merged(self.chunks[0])
        if len(first) > _WORTH_MERGING * len(self.chunks[0]):
            return self
        merged, waiting = list[StoredChunk](), [first]
        for chunk in self.chunks[1:]:
            waiting.append(_merged(chunk))
            if sum(map(len, waiting)) >= self.longest_chunk:
                merged.append(_merged(_joined(waiting)))
                waiting = []
        merged.extend([_merged(_joined(waiting))] if waiting else [])
        return replace(self, chunks=tuple(merged), fingerprint=None)

    def read(self, stored: StoredChunk) -> Chunk:
        """Return one chunk in float64, shifted and scaled, with the intercept's column of ones."""
        dense = standardised(self.layout, stored.dense, self.shift, self.scale)
        sparse = stored.sparse
        if sparse is not None and self.sparse_scale is not None:
            sparse = sparse.multiply(1.0 / self.sparse_scale[None, :]).tocsr()
        weight = np.ones(len(stored)) if stored.weight is None else stored.weight
        offset: Floats | float = 0.0 if stored.offset is None else stored.offset
        return Chunk(self.layout, Block(dense, stored.codes, sparse), stored.label, weight, offset)

    def total(self, statistic: Statistic[Totals], parameters: Floats) -> Totals:
        """Read every row once and return the totals of the statistic, added in the order of the chunks."""
        parts = _in_order(lambda stored: statistic(self.read(stored), parameters), self.chunks, self.threads)
        totals = next(parts)
        for part in parts:
            totals = type(totals)(*(add(a, b) for add, a, b in zip(statistic.combine, totals, part, strict=True)))
        return totals


def _merged(chunk: StoredChunk) -> StoredChunk:
    """Return the chunk with rows of equal values as one, in the order of their first."""
    columns = [*chunk.dense, *chunk.codes, chunk.label]
    columns.extend([] if chunk.offset is None else [chunk.offset])
    mixed = np.zeros(len(chunk), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.float64).view(np.uint64)) * np.uint64(_MIXING)
        mixed ^= mixed >> np.uint64(29)
    _, first, place = np.unique(mixed, return_index=True, return_inverse=True)
    # Two rows may be mixed to one number by chance.
    if not all(np.array_equal(column[first[place]], column) for column in columns):
        return chunk
    weight = np.bincount(place, chunk.weight)
    order = np.argsort(first)
    kept = first[order]
    offset = None if chunk.offset is None else chunk.offset[kept]
    dense, codes = chunk.dense[:, kept], chunk.codes[:, kept]
    return StoredChunk(dense, codes, chunk.label[kept], weight[order].astype(np.float64), offset)


def _joined(chunks: list[StoredChunk]) -> StoredChunk:
    """Return weighted chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    weights = [np.ones(len(chunk)) if chunk.weight is None else chunk.weight for chunk in chunks]
    offsets = [chunk.offset for chunk in chunks if chunk.offset is not None]
    return StoredChunk(
        np.concatenate([chunk.dense for chunk in chunks], axis=1),
        np.concatenate([chunk.codes for chunk in chunks], axis=1),
        np.concatenate([chunk.label for chunk in chunks]),
        np.concatenate(weights),
        np.concatenate(offsets) if offsets else None,
    )


def _gather(parts: list[tuple[StoredChunk, NDArray[np.intp], NDArray[np.intp]]], count: int) -> StoredChunk:
    """Return rows of several chunks as one: each part is a chunk, places in the answer, and rows of the chunk."""
    sample = parts[0][0]
    dense = np.empty((len(sample.dense), count), dtype=sample.dense.dtype)
    codes = np.empty((len(sample.codes), count), dtype=sample.codes.dtype)
    columns = [np.empty(count), None if sample.weight is None else np.empty(count)]
    columns.append(None if sample.offset is None else np.empty(count))
    for chunk, places, local in parts:
        dense[:, places], codes[:, places] = chunk.dense[:, local], chunk.codes[:, local]
        for out, values in zip(columns, (chunk.label, chunk.weight, chunk.offset), strict=True):
            if out is not None and values is not None:
                out[places] = values[local]
    sparse = None
    if sample.sparse is not None:
        stacked = _stack([chunk.sparse[local] for chunk, _, local in parts])
        sparse = stacked[np.argsort(np.concatenate([places for _, places, _ in parts]))]
    label = columns[0]
    return StoredChunk(dense, codes, np.empty(0) if label is None else label, columns[1], columns[2], sparse)


def _stack(parts: list[Any]) -> Any:
    """Return CSR arrays one below the other, as one of their own kind."""
    ends = np.cumsum([0, *(part.nnz for part in parts)])
    pointers = [part.indptr[:-1] + first for part, first in zip(parts, ends[:-1], strict=True)]
    data, indices = np.concatenate([part.data for part in parts]), np.concatenate([part.indices for part in parts])
    shape = (sum(part.shape[0] for part in parts), parts[0].shape[1])
    return type(parts[0])((data, indices, np.concatenate([*pointers, ends[-1:]])), shape=shape)


Item = TypeVar("Item")
Answer = TypeVar("Answer")


def _in_order(work: Callable[[Item], Answer], items: Iterable[Item], threads: int) -> Iterator[Answer]:
    """Yield work(item) in the order of the items, with no more than two answers a thread in memory."""
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        source = iter(items)
        # In a copy of our context: NumPy's error state is part of it, and threads start with their own.
        waiting = [pool.submit(copy_context().run, work, item) for item in islice(source, 2 * threads)]
        while waiting:
            answer = waiting.pop(0).result()
            waiting.extend(pool.submit(copy_context().run, work, item) for item in islice(source, 1))
            yield answer


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS and LAPACK at one thread: our own threads read chunks, and bits must not depend on their number."""
    from threadpoolctl import threadpool_limits  # imported here: serving reads rows too and does not need it

    with threadpool_limits(limits=1):
        yield
