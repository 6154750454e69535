"""Chunks that are in memory while they fit, then in a file: a pass reads the next ones while this one is summed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa

from batchlearn.data.rows.stored import StoredChunk
from batchlearn.data.rows.threads import in_order
from batchlearn.kernels.design import Floats
from batchlearn.tables.table.budget import MemoryBudget
from batchlearn.tables.table.kept import narrowest
from batchlearn.tables.table.segments import Segments

View = Callable[[int, StoredChunk], StoredChunk]
# Threads that read chunks while earlier ones are summed.
_READERS = 2
# Dense columns are kept in narrower types where these take at most this share of the bytes.
_WORTH_WIDENING = 0.25


class _SparseInFile(NamedTuple):
    """The sparse part of a chunk in the file."""

    kind: type
    shape: tuple[int, int]
    entries: int  # number of the segment of values and columns
    pointers: int


class _ChunkInFile(NamedTuple):
    """A chunk in the file, by the numbers of its segments."""

    rows: int
    blocks: tuple[int | None, int | None]  # dense columns and codes, each as they are in memory: read without a copy
    dense: tuple[int, np.dtype[Any]]
    narrow: int  # dense columns that are no block, label, weight and offset, as far as it has them
    weighted: bool
    shifted: bool
    sparse: _SparseInFile | None


class FileChunks(Sequence[StoredChunk]):
    """Chunks in a file, each read when it is asked for, to the bit as it was added.

    `view` makes of a chunk at a position, once it is read, another of as many rows.
    """

    def __init__(
        self, segments: Segments, written: Sequence[_ChunkInFile], view: View = lambda _, chunk: chunk
    ) -> None:
        self._segments, self._written, self._view = segments, written, view

    @property
    def budget(self) -> MemoryBudget:
        """What they were allowed to take, had they stayed in memory."""
        return self._segments.budget

    @property
    def lengths(self) -> list[int]:
        """The rows of each chunk: to know them none is read."""
        return [chunk.rows for chunk in self._written]

    def seen(self, view: View) -> FileChunks:
        """Return the chunks as a further view makes them."""
        return FileChunks(self._segments, self._written, lambda k, chunk: view(k, self._view(k, chunk)))

    def __len__(self) -> int:
        return len(self._written)

    def __iter__(self) -> Iterator[StoredChunk]:
        return in_order(self.__getitem__, range(len(self)), _READERS)

    @overload
    def __getitem__(self, which: int) -> StoredChunk: ...
    @overload
    def __getitem__(self, which: slice) -> FileChunks: ...
    def __getitem__(self, which: int | slice) -> StoredChunk | FileChunks:
        if isinstance(which, slice):
            numbers = range(len(self))[which]
            return FileChunks(self._segments, self._written[which], lambda k, chunk: self._view(numbers[k], chunk))
        return self._view(which, self._read(self._written[which]))

    def _read(self, written: _ChunkInFile) -> StoredChunk:
        columns = iter(self._segments.get(written.narrow))

        def widened() -> Floats:
            return np.asarray(next(columns).to_numpy(), dtype=np.float64)

        dense, codes = (
            None if number is None else self._segments.get(number)[0].to_numpy().reshape(-1, written.rows)
            for number in written.blocks
        )
        if dense is None:
            count, kind = written.dense
            dense = np.empty((count, written.rows), dtype=kind)
            for out in dense:
                out[:] = next(columns).to_numpy()
        codes = np.empty((0, written.rows), dtype=np.uint8) if codes is None else codes
        label = widened()
        weight = widened() if written.weighted else None
        offset = widened() if written.shifted else None
        sparse = None
        if written.sparse is not None:
            values, places = (array.to_numpy() for array in self._segments.get(written.sparse.entries))
            (pointers,) = (array.to_numpy() for array in self._segments.get(written.sparse.pointers))
            sparse = written.sparse.kind((values, places, pointers), shape=written.sparse.shape)
        return StoredChunk(dense, codes, label, weight, offset, sparse)


class ChunkCollector:
    """Takes in chunks: they stay in memory while the budget has room, then all are in a file."""

    def __init__(self, budget: MemoryBudget | None) -> None:
        self._budget = budget
        self._chunks: list[StoredChunk] = []
        self._bytes = 0
        self._segments: Segments | None = None
        self._written: list[_ChunkInFile] = []

    def add(self, chunk: StoredChunk) -> None:
        """Take in the next chunk, which must not share memory with what goes on. ResourceError at a full disk."""
        if self._segments is not None:
            self._write(chunk)
            return
        self._chunks.append(chunk)
        self._bytes += chunk.stored_bytes + (0 if chunk.sparse is None else chunk.sparse.data.nbytes * 2)
        if self._budget is not None and self._bytes > self._budget.memory:
            self._segments = Segments(self._budget)
            self._segments.spill()
            waiting, self._chunks = self._chunks, []
            for earlier in waiting:
                self._write(earlier)

    def finish(self) -> Sequence[StoredChunk]:
        """Return all of them."""
        return tuple(self._chunks) if self._segments is None else FileChunks(self._segments, self._written)

    def _write(self, chunk: StoredChunk) -> None:
        assert self._segments is not None
        given = [chunk.label, *(each for each in (chunk.weight, chunk.offset) if each is not None)]
        dense, *rest = (
            [narrowest(np.ascontiguousarray(each, dtype=np.float64)) for each in some] for some in (chunk.dense, given)
        )
        # What is widened at each reading has to be worth it.
        worth = sum(each.nbytes for each in dense) <= _WORTH_WIDENING * chunk.dense.nbytes
        narrow = [*(dense if worth else ()), *rest[0]]
        blocks = [
            self._segments.add([pa.array(block.ravel())]) if len(block) and not left_out else None
            for block, left_out in ((chunk.dense, worth), (chunk.codes, False))
        ]
        sparse = None
        if chunk.sparse is not None:
            entries = self._segments.add([pa.array(chunk.sparse.data), pa.array(chunk.sparse.indices)])
            pointers = self._segments.add([pa.array(chunk.sparse.indptr)])
            sparse = _SparseInFile(type(chunk.sparse), chunk.sparse.shape, entries, pointers)
        self._written.append(
            _ChunkInFile(
                len(chunk),
                (blocks[0], blocks[1]),
                (len(chunk.dense), chunk.dense.dtype),
                self._segments.add([pa.array(each) for each in narrow]),
                chunk.weight is not None,
                chunk.offset is not None,
                sparse,
            )
        )
