"""Arrays that are kept for later readings: in memory while there is room, then in a file that has no name.

What has no name is gone with its process, however that ends. `Segments` are written once and read by their number;
each has a checksum, which the first reading of it compares: a disk may give back other bytes than it was given.
`within` has the large arrays that NumPy works on lie there too.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from batchlearn.errors import IntegrityError, ResourceError, quoted
from batchlearn.kernels import native
from batchlearn.tables.table.budget import UNLIMITED, MemoryBudget, in_force

# Of a budget: an array that counts as large, and all of these that may be in memory together.
_LARGE, ARRAYS_SHARE = 1 / 64, 1 / 4
# Bytes: arrays are worked on where they lie in the file.
_ALIGNED = 64
_ELSEWHERE = "give more --memory, or another folder in BATCHLEARN_CACHE"


class Segment(NamedTuple):
    """Where some arrays of one length lie in the file, in bytes."""

    start: int
    size: int
    checksum: int


class Segments:
    """Groups of arrays, each written once and read by its number, any number of times and by several threads."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self._memory: list[pa.RecordBatch] = []
        self._segments: list[Segment] = []
        self._checked = bytearray()
        self._file: int | None = None
        self._end = 0
        self._mapped: mmap.mmap | None = None
        self.memory_bytes = 0
        """Bytes of the arrays in memory: none once there is a file."""

    @property
    def on_disk(self) -> bool:
        """Whether the arrays are in a file."""
        return self._file is not None

    def add(self, arrays: Sequence[pa.Array]) -> int:
        """Keep arrays of one length; return their number. ResourceError where there is no room on the disk."""
        batch = pa.RecordBatch.from_arrays(list(arrays), names=[str(place) for place in range(len(arrays))])
        if self._file is None and self.memory_bytes + batch.nbytes > self.budget.memory:
            self.spill()
        if self._file is not None:
            self._write(batch)
            return len(self._segments) - 1
        self.memory_bytes += batch.nbytes
        self._memory.append(batch)
        return len(self._memory) - 1

    def get(self, number: int) -> list[pa.Array]:
        """Return the arrays of a number; IntegrityError where they are not as they were written."""
        if self._file is None:
            return list(self._memory[number].columns)
        start, size, checksum = self._segments[number]
        if not self._checked[number]:
            if os.fstat(self._file).st_size < start + size or zlib.crc32(self._bytes(start, size)) != checksum:
                raise IntegrityError(
                    f"{size:,} bytes that were kept in {quoted(self.budget.folder)} came back changed: check that "
                    f"disk, or {_ELSEWHERE}",
                    code="kept-rows-damaged",
                )
            self._checked[number] = 1
        with pa.ipc.open_stream(pa.py_buffer(self._bytes(start, size))) as stream:
            return list(stream.read_next_batch().columns)

    def _bytes(self, start: int, size: int) -> memoryview:
        """Return some bytes of the file, which the system begins to read, without a copy of them."""
        assert self._file is not None
        if self._mapped is None or len(self._mapped) < start + size:
            self._mapped = mmap.mmap(self._file, 0, prot=mmap.PROT_READ)
        page = start % mmap.PAGESIZE
        self._mapped.madvise(mmap.MADV_WILLNEED, start - page, size + page)
        return memoryview(self._mapped)[start : start + size]

    def spill(self) -> None:
        """Move all arrays into a file, and those that come later. ResourceError where it cannot be written."""
        if self._file is not None:
            return
        self._file = _nameless(self.budget.folder)
        waiting, self._memory, self.memory_bytes = self._memory, [], 0
        for earlier in waiting:
            self._write(earlier)

    def _write(self, batch: pa.RecordBatch) -> None:
        assert self._file is not None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        data = memoryview(sink.getvalue())
        _write(self._file, data, self._end, self.budget.folder)
        self._segments.append(Segment(self._end, len(data), zlib.crc32(data)))
        self._checked.append(0)
        self._end += len(data) + -len(data) % _ALIGNED

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


@contextmanager
def within(budget: MemoryBudget) -> Iterator[None]:
    """Have what is done meanwhile keep to a budget: what is in force for tables and rows, and NumPy's large arrays.

    Once these take a quarter of the budget together, further ones are mapped from files in its folder, which the system
    writes and reads as it needs the memory. Only compiled kernels can do that; without them arrays stay in memory.
    ResourceError where there is no room for them on the disk. Where a disk fails to give back what lies there, or in
    `Segments`, the process ends with that sentence: it is a signal, of which no exception can be made.
    """
    module, token = native.compiled(), in_force.set(budget)
    try:
        if module is None or budget.memory >= UNLIMITED.memory:
            yield
            return
        words = (
            f"error: rows that were put into {quoted(budget.folder)} cannot be read again: the disk failed, and this "
            f"process with it; nothing half-written was left. Check that disk, or {_ELSEWHERE}.\n"
        )
        module.end_at_bus_error(words, ResourceError.exit_code)
        memory = module.array_memory(str(budget.folder), int(_LARGE * budget.memory), int(ARRAYS_SHARE * budget.memory))
        before = module.use_array_memory(memory)
        try:
            yield
        except MemoryError as problem:
            number = module.array_memory_error(memory)
            if number:
                raise _not_written(OSError(number, os.strerror(number)), budget.folder) from problem
            raise
        finally:
            module.use_array_memory(before)
    finally:
        in_force.reset(token)


def _nameless(folder: Path) -> int:
    """Open a new file without a name in a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.dup(file.fileno())
    except OSError as problem:
        raise ResourceError(
            f"the folder {quoted(folder)} for rows that do not fit into memory cannot be written: {problem.strerror}; "
            f"{_ELSEWHERE}",
            code="cache-not-writable",
        ) from problem


def _write(file: int, data: memoryview, start: int, folder: Path) -> None:
    """Write all bytes to a place of a file."""
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(file, data[written:], start + written)
    except OSError as problem:
        raise _not_written(problem, folder) from problem


def _not_written(problem: OSError, folder: Path) -> ResourceError:
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return ResourceError(
        f"rows that do not fit into memory cannot be written to {quoted(folder)}: {problem.strerror}, and nothing of "
        f"them is left there; {'make room, or ' if full else ''}{_ELSEWHERE}",
        code="disk-full" if full else "cache-not-writable",
    )
