"""Rows that are kept chunk by chunk, in memory or, where there is no room, in a file.

Chunk boundaries follow from row numbers alone and totals are added in the order of the chunks, so the answer has the
same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Chunk, State, Statistic, Step, Totals, Values
from batchlearn.data.rows.kept import ChunkCollector, FileChunks, View
from batchlearn.data.rows.stored import StoredChunk, gathered, joined
from batchlearn.data.rows.threads import in_order
from batchlearn.kernels.design import Block, Columns, Floats, Layout, SparseColumns

if TYPE_CHECKING:
    from batchlearn.data.rows.journal import Journal

_LARGEST_CHUNK = 65_536
_CHUNK_VALUES = 1 << 22
# Rows that repeat each other are read as one where this share is left.
_WORTH_MERGING, _LOOKED_AT = 0.75, 8192
# Of what rows in a file could have taken in memory, a part of them may take this share.
_PART = 0.25


def chunk_rows(columns: int) -> int:
    """Rows in a chunk: a power of two that keeps one float64 copy of the chunk near 32 MB."""
    fitting = _CHUNK_VALUES // max(columns, 1)
    return int(min(_LARGEST_CHUNK, max(256, 2 ** int(math.log2(max(fitting, 1))))))


@dataclass(frozen=True)
class MemoryRows:
    """All rows of one data set, encoded: `Rows`, where each method says what it does.

    Dense columns are read as (value - shift) / scale, computed in float64 while reading: the stored columns stay as
    they came. A difference of two floats and a quotient are each exact to half a unit in the last place, so this
    loses nothing that the rounding bounds of a certificate do not already cover.
    """

    layout: Layout
    chunks: Sequence[StoredChunk]  # a tuple in memory, or `FileChunks`
    shift: Floats  # (dense columns,)
    scale: Floats  # (dense columns,)
    sparse_scale: Floats | None = None  # (sparse columns,)
    threads: int = 1
    fingerprint: str | None = None
    journal: Journal | None = None  # of what all rows answered, where a training keeps one

    def __len__(self) -> int:
        return sum(self.lengths)

    @cached_property
    def lengths(self) -> Sequence[int]:
        """The rows of each chunk."""
        return self.chunks.lengths if isinstance(self.chunks, FileChunks) else [len(chunk) for chunk in self.chunks]

    @cached_property
    def total_weight(self) -> float:
        """The sum of the row weights, rounded once."""
        return math.fsum(
            float(len(chunk)) if chunk.weight is None else math.fsum(chunk.weight) for chunk in self.chunks
        )

    @cached_property
    def squared_weight(self) -> float:
        """The sum of the squared row weights."""
        return math.fsum(
            float(len(chunk)) if chunk.weight is None else float(chunk.weight @ chunk.weight) for chunk in self.chunks
        )

    @cached_property
    def has_offset(self) -> bool:
        """Whether the rows carry offsets."""
        return any(chunk.offset is not None for chunk in self.chunks)

    @property
    def chunk_count(self) -> int:
        """How many chunks one reading goes through."""
        return len(self.chunks)

    @property
    def longest_chunk(self) -> int:
        """Rows in the longest chunk: the length of the longest single sum."""
        return max(self.lengths, default=0)

    @property
    def additions(self) -> int:
        """The rows of the longest chunk, and the chunks."""
        return self.longest_chunk + len(self.chunks)

    @cached_property
    def stored_entries(self) -> int:
        """EntryKind of the sparse part."""
        return sum(chunk.sparse.nnz for chunk in self.chunks if chunk.sparse is not None)

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of the rows as they are kept, without the sparse part."""
        return sum(chunk.stored_bytes for chunk in self.chunks)

    def stored_column(self, column: int) -> NDArray[Any]:
        """Return a dense column of all rows as it is kept, (rows,): not shifted and scaled."""
        return np.concatenate([chunk.dense[column] for chunk in self.chunks])

    @cached_property
    def _sparse_factor(self) -> Floats | None:
        return None if self.sparse_scale is None else 1.0 / self.sparse_scale

    def read(self, stored: StoredChunk) -> Chunk:
        """Return one chunk whose dense columns are shifted and scaled, after a column of ones for the intercept."""
        dense = Columns(stored.dense, self.shift, self.scale, self.layout.intercept)
        sparse = stored.sparse
        if sparse is not None:
            sparse = SparseColumns(sparse, self._sparse_factor)
        offset: Floats | float = 0.0 if stored.offset is None else stored.offset
        return Chunk(self.layout, Block(dense, stored.codes, sparse), stored.label, stored.weights, offset)

    def total(self, statistic: Statistic[Totals], parameters: Floats) -> Totals:
        """Read every row once and return the totals of the statistic, added in the order of the chunks."""
        if self.journal is not None:
            return self.journal.total(statistic, parameters, self, partial(self._added, statistic, parameters))
        return self._added(statistic, parameters)

    def _added(self, statistic: Statistic[Totals], parameters: Floats) -> Totals:
        parts = in_order(lambda stored: statistic(self.read(stored), parameters), self.chunks, self.threads)
        totals = next(parts)
        make: Any = getattr(totals, "_make", tuple)  # with names or without
        for number, part in enumerate(parts):
            # What one ufunc made is an array of its own: what comes next is added in its place.
            totals = make(
                add(a, b, out=a) if number and isinstance(add, np.ufunc) and isinstance(a, np.ndarray) else add(a, b)
                for add, a, b in zip(statistic.combine, totals, part, strict=True)
            )
        return totals

    def map_rows(self, values: Callable[[Chunk, Floats], Values], parameters: Floats) -> Values:
        """Read every row once and return what is said of each, each chunk's written to its place."""
        parts = in_order(lambda stored: values(self.read(stored), parameters), self.chunks, self.threads)
        first = next(parts)
        if len(self.chunks) == 1:
            return first
        every: Any = np.empty((*first.shape[:-1], len(self)), dtype=first.dtype)
        every[..., : first.shape[-1]] = first
        start = first.shape[-1]
        for part in parts:
            every[..., start : start + part.shape[-1]] = part
            start += part.shape[-1]
        whole: Values = every
        return whole

    def counted(self) -> NDArray[np.intp]:
        """Return the numbers of the rows of a weight above 0, in order."""
        if all(chunk.weight is None for chunk in self.chunks):
            return np.arange(len(self))
        return np.flatnonzero(np.concatenate([chunk.weights > 0.0 for chunk in self.chunks]))

    def sample(self, seed: Sequence[int], count: int) -> MemoryRows:
        """Return so many of the rows that count, drawn without replacement, in their order."""
        numbers = self.counted()
        drawn = np.random.default_rng(seed).choice(len(numbers), count, replace=False)
        return self._some((gathered(self.chunks, np.sort(numbers[drawn]), self.lengths),))

    def stretches(self, order: NDArray[np.intp], length: int) -> Iterator[MemoryRows]:
        """Yield the rows of these numbers in this order, so many at a time, each stretch as one chunk."""
        for start in range(0, len(order), length):
            chunks = (gathered(self.chunks, order[start : start + length], self.lengths),)
            yield replace(self, chunks=chunks, fingerprint=None, journal=None)

    def walk(
        self, order: NDArray[np.intp], length: int, step: Step[State], state: State
    ) -> Iterator[tuple[State, int]]:
        """Yield where steps over stretches of the rows in this order lead, and after how many rows."""
        if self.journal is not None:
            yield from self.journal.walk(order, lambda rest: self.stretches(rest, length), step, state)
            return
        shown = 0
        for stretch in self.stretches(order, length):
            state, shown = step(stretch, state), shown + len(stretch)
            yield state, shown

    def together(self) -> Chunk:
        """Return all rows as one chunk."""
        return self.read(joined(tuple(self.chunks)))

    def thin(self, step: int) -> MemoryRows:
        """Return every so many-th row of each chunk, without copying where there are dense columns alone."""
        if step == 1:
            return self
        views = (chunk.part(slice(None, None, step)) for chunk in self.chunks)
        if not isinstance(self.chunks, FileChunks) and not self.layout.groups:
            return self._some(tuple(views))
        # Read once: what goes through a part of the rows goes through it often. With levels in chunks of as many rows:
        # sums for each two levels cost something a chunk.
        parts, thinned = (view.copied() for view in views), self._collector()
        while some := tuple(islice(parts, step if self.layout.groups else 1)):
            thinned.add(joined(some))
        return self._some(thinned.finish())

    def of_chunks(self, which: slice) -> MemoryRows:
        """Return the rows of some of the chunks."""
        return self._some(self.chunks[which])

    def deduplicate(self) -> MemoryRows:
        """Return rows that repeat each other as one of their added weight; these rows where few do."""
        if self.layout.sparse or not self.chunks:
            return self
        # The share of rows that repeat others rises no faster than their number: often some of them tell.
        whole = self.chunks[0]
        some = whole.part(slice(_LOOKED_AT))
        few = (1.0 - (1.0 - _WORTH_MERGING) * len(some) / max(len(whole), 1)) * len(some)
        # Rows of which one column alone tells most apart repeat each other seldom.
        if any(len(np.unique(column)) > few for column in some.dense[:3]) or len(some.deduplicate()) > few:
            return self
        first = whole.deduplicate()
        if len(first) > _WORTH_MERGING * len(whole):
            return self
        merged, waiting = self._collector(), [first]
        for chunk in self.chunks[1:]:
            waiting.append(chunk.deduplicate())
            if sum(map(len, waiting)) >= self.longest_chunk:
                merged.add(joined(waiting).deduplicate())
                waiting = []
        if waiting:
            merged.add(joined(waiting).deduplicate())
        return self._some(merged.finish())

    def intercept_only(self) -> MemoryRows:
        """Return the same rows without any feature."""
        bare = self.levels_only()
        chunks = bare._each(lambda _, chunk: replace(chunk, codes=chunk.codes[:0]))
        return replace(bare, layout=Layout(True, 0), chunks=chunks)

    def levels_only(self) -> MemoryRows:
        """Return the same rows with no features but their levels."""
        chunks = self._each(lambda _, chunk: replace(chunk, dense=chunk.dense[:0], sparse=None))
        layout = Layout(self.layout.intercept, 0, self.layout.groups)
        shift, scale = self.shift[:0], self.scale[:0]
        return replace(self, layout=layout, chunks=chunks, shift=shift, scale=scale, sparse_scale=None)

    def with_offset(self, offset: Floats) -> MemoryRows:
        """Return the same rows with other offsets, shape (rows,)."""
        own = np.split(offset, np.cumsum(self.lengths)[:-1])
        return replace(self, chunks=self._each(lambda k, chunk: replace(chunk, offset=own[k])))

    def _each(self, view: View) -> Sequence[StoredChunk]:
        """Return all chunks as a view makes them; those in a file when they are read."""
        if isinstance(self.chunks, FileChunks):
            return self.chunks.seen(view)
        return tuple(view(k, chunk) for k, chunk in enumerate(self.chunks))

    def _collector(self) -> ChunkCollector:
        """Return what takes in chunks of a part of the rows: in a file where it is large and these are in one."""
        held = self.chunks.budget if isinstance(self.chunks, FileChunks) else None
        return ChunkCollector(held and held.part(_PART * held.memory))

    def _some(self, chunks: Sequence[StoredChunk]) -> MemoryRows:
        return replace(self, chunks=chunks, fingerprint=None)
