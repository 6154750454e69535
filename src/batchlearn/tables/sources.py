"""Where stored rows come from: one protocol, and its sources for Parquet files and for Arrow data in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batchlearn.errors import DataError, IntegrityError, UsageError, quoted
from batchlearn.tables.columns import is_text, kind_of
from batchlearn.tables.files import Files, Stamp, named_problems

BATCH_ROWS = 65_536
_BATCH_CELLS = 4_194_304
"""Wide rows, such as pictures, come in shorter batches: 32 MiB as float64."""
_BUFFER_BYTES = 65_536
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class Source(Protocol):
    """Stored rows that can be read again and again, in the same order.

    `untyped` says that all values are texts, of which readings say what they mean.
    """

    untyped: ClassVar[bool]

    @property
    def schema(self) -> pa.Schema:
        """The stored columns and their types."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the named stored columns of all rows, in order; the columns of a batch are in the order asked for."""
        ...


class ArrowSource:
    """Rows in memory."""

    untyped: ClassVar[bool] = False

    def __init__(self, table: pa.Table) -> None:
        if not table.num_rows:
            raise DataError("the table has 0 rows; at least one is needed", code="no-rows")
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Cut the table into batches, without copying."""
        yield from self._table.select(list(columns)).to_batches(max_chunksize=_batch_rows(self.schema, columns))


class ParquetSource:
    """The rows of Parquet files, one file after the other, each checked against its page checksums if it has any.

    Names of folders below the one given carry values, as in year=2008/part.parquet: one column for each name.
    """

    untyped: ClassVar[bool] = False

    def __init__(self, files: Files) -> None:
        self._stamps = tuple(Stamp.of(path) for path in files.paths)
        self._folder_columns = _folder_columns(files)
        rows = 0
        for number, path in enumerate(files.paths):
            with _named_damage(path), _opened(path) as file:
                schema = file.schema_arrow
                rows += file.metadata.num_rows
            if number == 0:
                self._stored = schema
            _refuse_other_columns(path, schema, self._stored)
            # Columns in which no file so far has a value get the type that this one stores them as.
            for place, field in enumerate(self._stored):
                if pa.types.is_null(field.type) and schema.names.count(field.name) == 1:
                    self._stored = self._stored.set(place, schema.field(field.name))
        if not rows:
            raise DataError(f"{quoted(files.name)} has 0 rows; at least one is needed", code="no-rows")
        self.rows = rows

    @property
    def schema(self) -> pa.Schema:
        """The columns of the first file, with types of the first that has values; then what names of folders carry."""
        folders = [pa.field(name, values.type) for name, values in self._folder_columns.items()]
        return pa.schema([*self._stored, *folders])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError if a file changed since it was first looked at."""
        text = [field.name for field in self._stored if is_text(field.type)]
        stored = [name for name in columns if name not in self._folder_columns]
        size = _batch_rows(self._stored, columns)
        for number, stamp in enumerate(self._stamps):
            stamp.check()
            with _named_damage(stamp.path), _opened(stamp.path, text) as file:
                # Where only values of folders are wanted, some column still has to tell the number of rows.
                for batch in file.iter_batches(size, columns=stored or self._stored.names[:1]):
                    yield self._with_folder_values(batch, columns, number)
            stamp.check()

    def _with_folder_values(self, batch: pa.RecordBatch, columns: Sequence[str], file: int) -> pa.RecordBatch:
        arrays = []
        for name in columns:
            if name in self._folder_columns:
                arrays.append(pa.repeat(self._folder_columns[name][file], batch.num_rows))
            elif pa.types.is_null(batch.column(name).type):
                # The file has no value of it, and so no type: it gets the one of the other files.
                arrays.append(pa.nulls(batch.num_rows, self._stored.field(name).type))
            else:
                arrays.append(batch.column(name))
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _opened(path: Path, text: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file to be read with little memory: buffering whole row groups takes four times as much."""
    return pq.ParquetFile(
        path, read_dictionary=list(text), pre_buffer=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True
    )


def _folder_columns(files: Files) -> dict[str, pa.Array]:
    """Read values from names of folders: name -> one value for each file; whole numbers where all of them are."""
    if files.folder is None:
        return {}
    named: list[dict[str, str | None]] = []
    for path in files.paths:
        pairs = (folder.partition("=") for folder in path.relative_to(files.folder).parts[:-1] if "=" in folder)
        named.append({unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs})
    columns: dict[str, pa.Array] = {}
    for name in named[0]:
        values = [found.get(name) for found in named]
        whole = all(value is None or re.fullmatch(r"-?\d{1,15}", value) for value in values)
        columns[name] = pa.array([None if value is None else int(value) for value in values] if whole else values)
    return columns


def _refuse_other_columns(path: Path, schema: pa.Schema, first: pa.Schema) -> None:
    for name in sorted({*schema.names, *first.names}):
        if name not in schema.names or name not in first.names:
            side = "lacks" if name not in schema.names else "has, unlike the first file,"
            raise _differing(path, f"{side} the column {quoted(name)}")
        if schema.names.count(name) > 1:
            continue  # refused, with its name, where the columns are listed
        stored, other = schema.field(name).type, first.field(name).type
        if pa.types.is_null(stored) or pa.types.is_null(other):
            continue  # no value is of another type
        if kind_of(stored) is not kind_of(other) or (kind_of(stored) is None and stored != other):
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
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as problem:
        raise DataError(
            f"the data frame cannot be read as a table: {problem}; each column needs one type and a name of its own: "
            "convert or rename the column first",
            code="frame-not-readable",
        ) from problem


def _from_arrays(arrays: Mapping[Any, Any]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, values in arrays.items():
        try:
            columns[str(name)] = pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as problem:
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


def _batch_rows(schema: pa.Schema, columns: Sequence[str]) -> int:
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
