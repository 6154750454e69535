"""Where stored rows come from: one protocol, and its sources for Parquet files and for Arrow data in memory.

Each other format has a module here; `opening` chooses among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.errors import DataError, IntegrityError, UsageError, quoted
from batchlearn.tables.columns import is_text, kind_of_field
from batchlearn.tables.files import Files, Stamp, named_problems
from batchlearn.tables.readings import ColumnReading, ColumnRemark
from batchlearn.tables.sources.folders import FolderColumns

BATCH_ROWS = 65_536
_BATCH_CELLS = 4_194_304
"""Wide rows, such as pictures, come in shorter batches: 32 MiB as float64."""
_BUFFER_BYTES = 65_536
NO_READINGS: Mapping[str, ColumnReading] = MappingProxyType({})
# What Arrow and pandas raise at columns that are sparse, complex, of several types, or of integers beyond 64 bits.
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError, ValueError, OverflowError)


class Source(Protocol):
    """Stored rows that can be read again and again, in the same order."""

    @property
    def readings(self) -> Mapping[str, ColumnReading]:
        """What the texts of columns without types mean, by name; columns with a type are not in it."""
        ...

    @property
    def remarks(self) -> tuple[ColumnRemark, ...]:
        """What is worth saying about that."""
        ...

    @property
    def lacking(self) -> Mapping[str, int]:
        """The columns that not all files have, each with how many lack it: there it is missing."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The stored columns and their types."""
        ...

    @property
    def has_rows(self) -> bool:
        """Whether there is one at least."""
        ...

    def like(self, readings: Mapping[str, ColumnReading]) -> Source:
        """Return the same rows with the texts of columns without types read otherwise."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the named stored columns of all rows, in order; the columns of a batch are in the order asked for."""
        ...

    def check(self) -> None:
        """Raise DataError if a file changed since it was first looked at."""
        ...


class ArrowSource:
    """Rows in memory."""

    readings: Mapping[str, ColumnReading] = NO_READINGS
    remarks: tuple[ColumnRemark, ...] = ()

    def __init__(self, table: pa.Table) -> None:
        self.lacking: Mapping[str, int] = {}
        self._table = table

    @property
    def has_rows(self) -> bool:
        """Whether there is one at least."""
        return bool(self._table.num_rows)

    def like(self, readings: Mapping[str, ColumnReading]) -> ArrowSource:
        """Return the same rows: their values have types."""
        del readings
        return self

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Cut the table into batches, without copying."""
        yield from self._table.select(list(columns)).to_batches(max_chunksize=batch_rows(self.schema, columns))

    def check(self) -> None:
        """Rows in memory stay as they are."""


class StoredColumns:
    """The columns of the files of one table: those of the first, then those that later files add."""

    def __init__(self) -> None:
        self.schema = pa.schema([])
        """With the types of the first file that has values of a column."""
        self.names: list[list[str]] = []
        """Those that each file has."""

    def add(self, path: Path, schema: pa.Schema) -> None:
        """Take in the columns of the next file; DataError where it stores one as another kind."""
        _refuse_other_types(path, schema, self.schema)
        for place, field in enumerate(self.schema):
            if pa.types.is_null(field.type) and schema.names.count(field.name) == 1:
                self.schema = self.schema.set(place, schema.field(field.name))
        known = self.schema.names
        for field in schema:
            if not self.names or field.name not in known:
                self.schema = self.schema.append(field)
        self.names.append(schema.names)

    @property
    def lacking(self) -> dict[str, int]:
        """The columns that not all files have, each with how many lack it."""
        counts = {name: sum(name not in names for names in self.names) for name in self.schema.names}
        return {name: files for name, files in counts.items() if files}

    def there(self, columns: Sequence[str], file: int) -> list[str]:
        """Return which of the columns a file has; where it has none, another, which tells the number of rows."""
        return [name for name in columns if name in self.names[file]] or self.names[file][:1]

    def texts(self, file: int) -> list[str]:
        """Return the columns of text that a file has."""
        return [field.name for field in self.schema if is_text(field.type) and field.name in self.names[file]]

    def completed(self, batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        """Return columns of a batch, missing where its file lacks them or has no value of them, and so no type."""
        arrays = [
            pa.nulls(batch.num_rows, self.schema.field(name).type)
            if name not in batch.schema.names or pa.types.is_null(batch.column(name).type)
            else batch.column(name)
            for name in columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))


class TypedFiles:
    """What sources of files have in common whose values have types: nothing of them is found in the texts."""

    readings: Mapping[str, ColumnReading] = NO_READINGS
    remarks: tuple[ColumnRemark, ...] = ()
    _folders: FolderColumns

    def __init__(self, files: Files) -> None:
        self._given = files
        self._stamps = tuple(Stamp.of(path) for path in files.paths)
        self._columns = StoredColumns()

    @property
    def lacking(self) -> Mapping[str, int]:
        """The columns that not all files have, each with how many lack it."""
        return self._columns.lacking

    @property
    def schema(self) -> pa.Schema:
        """The columns of all files; then what names of folders carry."""
        return pa.schema([*self._columns.schema, *self._folders.fields])

    def like(self, readings: Mapping[str, ColumnReading]) -> Self:
        """Return the same rows: their values have types."""
        del readings
        return self

    def check(self) -> None:
        """Raise DataError if a file changed since it was first looked at."""
        for stamp in self._stamps:
            stamp.check()


class ParquetSource(TypedFiles):
    """The rows of Parquet files, one file after the other, each checked against its page checksums if it has any."""

    def __init__(self, files: Files, folders: FolderColumns) -> None:
        super().__init__(files)
        self.rows = 0
        for path in files.paths:
            with _named_damage(path), _opened(path) as file:
                schema = file.schema_arrow
                self.rows += file.metadata.num_rows
            self._columns.add(path, schema)
        self._folders = folders.beside(self._columns.schema.names)

    @property
    def has_rows(self) -> bool:
        """Whether there is one at least."""
        return self.rows > 0

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError if a file changed since it was first looked at."""
        schema = self._columns.schema
        stored, size = self._folders.others(columns, schema.names), batch_rows(schema, columns)
        for number, stamp in enumerate(self._stamps):
            stamp.check()
            with _named_damage(stamp.path), _opened(stamp.path, self._columns.texts(number)) as file:
                for batch in file.iter_batches(size, columns=self._columns.there(stored, number)):
                    yield self._folders.added(self._columns.completed(batch, stored), columns, number)
            stamp.check()


def _opened(path: Path, text: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file to be read with little memory: buffering whole row groups takes four times as much."""
    return pq.ParquetFile(
        path, read_dictionary=list(text), pre_buffer=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
    )


def _refuse_other_types(path: Path, schema: pa.Schema, first: pa.Schema) -> None:
    for name in sorted({*schema.names} & {*first.names}):
        if schema.names.count(name) > 1:
            continue  # refused, with its name, where the columns are listed
        stored, other = schema.field(name).type, first.field(name).type
        if pa.types.is_null(stored) or pa.types.is_null(other):
            continue  # no value is of another type
        kinds = [kind_of_field(of.field(name)) for of in (schema, first)]
        if kinds[0] is not kinds[1]:
            raise _differing(path, f"stores {quoted(name)} as {stored}, the first file as {other}")
        values = (of.value_type if pa.types.is_dictionary(of) else of for of in (stored, other))
        zoned, other_zoned = (getattr(of, "tz", None) is not None for of in values)
        if zoned != other_zoned:
            raise DataError(
                f"file {quoted(path)}: the times in {quoted(name)} {'have' if zoned else 'lack'} a time zone, unlike "
                "those in the first file; such times cannot be ordered: write them all in UTC",
                code="time-zones-mixed",
            )


def arrow_table(source: object) -> pa.Table:
    """Bring data frames, Arrow streams (read to their end) and NumPy arrays to an Arrow table."""
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise DataError(
                f"the array has {source.ndim} dimensions; a table needs two, rows and columns: use reshape",
                code="array-not-two-dimensional",
            )
        return _from_arrays({f"x{i}": source[:, i] for i in range(source.shape[1])})
    if isinstance(source, Mapping):
        return _from_arrays(source)
    collect = getattr(source, "collect", None)
    if not hasattr(source, "__arrow_c_stream__") and callable(collect):
        source = collect()
    if not hasattr(source, "__arrow_c_stream__"):
        raise UsageError(
            f"a table cannot be made from {quoted(type(source).__name__)}; give a path, a data frame, Arrow data, a "
            "NumPy array of two dimensions or a dict of arrays",
            code="source-not-readable",
        )
    try:
        return pa.RecordBatchReader.from_stream(source).read_all()
    except _UNREADABLE as problem:
        raise DataError(
            f"the data frame cannot be read as a table: {problem}; each column needs one type that Arrow has, dense "
            "and real, and a name of its own: convert, rename or leave out the column first",
            code="frame-not-readable",
        ) from problem


def _from_arrays(arrays: Mapping[Any, Any]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, values in arrays.items():
        try:
            columns[str(name)] = pa.array(values, from_pandas=True)
        except _UNREADABLE as problem:
            raise DataError(
                f"column {quoted(name)} is not an array that a table can hold: {problem}; give one dimension and one "
                "type",
                code="array-not-readable",
            ) from problem
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"column {quoted(shortest)} has {lengths[shortest]:,} values and {quoted(longest)} has "
            f"{lengths[longest]:,}; all columns of a table need the same number",
            code="lengths-differ",
        )
    return pa.table(columns)


def batch_rows(schema: pa.Schema, columns: Sequence[str]) -> int:
    """Return how many rows of some columns are read at once."""
    types = [field.type for field in schema if field.name in columns]
    cells = sum(stored.list_size if pa.types.is_fixed_size_list(stored) else 1 for stored in types)
    return max(1024, min(BATCH_ROWS, _BATCH_CELLS // max(cells, 1)))


def _differing(path: Path, what: str) -> DataError:
    return DataError(
        f"file {quoted(path)} {what}; all files of one table need the same columns: write it again, or leave it out of "
        "the pattern",
        code="files-differ",
    )


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Say in our errors what is wrong with a Parquet file."""
    try:
        yield
    except OSError as problem:
        if problem.errno is not None:
            with named_problems(path):
                raise
        if "CRC" in str(problem):
            raise IntegrityError(
                f"file {quoted(path)} is damaged: a page does not match its checksum; write it again or restore it",
                code="parquet-checksum",
            ) from problem
        raise _unreadable(path, problem) from problem
    except pa.ArrowInvalid as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: Exception) -> DataError:
    return DataError(
        f"file {quoted(path)} is no readable Parquet file: {quoted(problem, 200)}; it may be cut short: copy it again",
        code="parquet-unreadable",
    )
