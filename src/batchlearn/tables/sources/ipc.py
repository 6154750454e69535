"""Arrow IPC: files (.arrow, .feather) and streams, fully validated before a value is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from batchlearn.errors import DataError, quoted
from batchlearn.tables.files import Files, named_problems
from batchlearn.tables.sources import TypedFiles, batch_rows
from batchlearn.tables.sources.folders import FolderColumns

_MAGIC = b"ARROW1"


class IpcSource(TypedFiles):
    """The rows of Arrow files, one file after the other. Only the columns asked for are read, and those validated."""

    def __init__(self, files: Files, folders: FolderColumns) -> None:
        super().__init__(files)
        self.has_rows = False
        for path in files.paths:
            with _opened(path) as reader:
                schema = reader.schema
                # Names that are not UTF-8 are found out here.
                some = bool(schema.names)
            self._columns.add(path, schema)
            self.has_rows = self.has_rows or (some and any(batch.num_rows for batch in _batches(path, [0])))
        self._folders = folders.beside(self._columns.schema.names)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError if a file changed since it was first looked at."""
        schema = self._columns.schema
        stored, size = self._folders.others(columns, schema.names), batch_rows(schema, columns)
        for number, stamp in enumerate(self._stamps):
            stamp.check()
            names = self._columns.names[number]
            places = [names.index(name) for name in self._columns.there(stored, number)]
            for batch in _batches(stamp.path, places):
                added = self._folders.added(self._columns.completed(batch, stored), columns, number)
                for start in range(0, added.num_rows, size):
                    yield added.slice(start, size)
            stamp.check()


def _batches(path: Path, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Read the columns at some places, in the order in which they are stored."""
    with _opened(path, places) as reader:
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = iter(reader)
        for batch in batches:
            batch.validate(full=True)
            yield batch


@contextmanager
def _opened(
    path: Path, places: Sequence[int] | None = None
) -> Iterator[pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader]:
    """Open a file or stream; our errors say what is wrong with it, also while it is read.

    It is not mapped into memory: a mapped file that another program cuts short ends this one.
    """
    options = pa.ipc.IpcReadOptions(included_fields=sorted(set(places or ())) or None, use_threads=False)
    try:
        with pa.OSFile(str(path), "rb") as file:
            start = file.read(len(_MAGIC))
            file.seek(0)
            opener = pa.ipc.open_file if start == _MAGIC else pa.ipc.open_stream
            with opener(file, options=options) as reader:
                yield reader
    except (OSError, pa.ArrowException, UnicodeDecodeError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            with named_problems(path):
                raise
        raise DataError(
            f"file {quoted(path)} is no readable Arrow file: {quoted(problem, 200)}; it may be cut short or damaged: "
            "copy or write it again",
            code="arrow-unreadable",
        ) from problem
