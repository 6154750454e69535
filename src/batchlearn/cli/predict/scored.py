"""The file of predictions: written under another name as the rows come, and given its own when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from batchlearn.errors import UsageError, quoted

_SUFFIXES = (".parquet", ".csv")
# A spreadsheet takes text that begins with one of these for a formula.
_FORMULA = r"^[=+\-@\t\r\x00]"


class Writer(Protocol):
    """Takes batches of one schema."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the next rows."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_output(path: Path, source: str, force: bool) -> None:
    """Refuse a name that cannot become the file of predictions: UsageError."""
    if path.suffix not in _SUFFIXES:
        raise UsageError(
            f"The output is {quoted(path)}; predictions are Parquet or CSV: end the name in .parquet or .csv.",
            code="output-format",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"There is no folder {quoted(path.parent)} for the predictions; make it first, or write elsewhere.",
            code="output-folder-missing",
        )
    if path.is_dir():
        raise UsageError(f"{quoted(path)} is a folder; name a file for the predictions.", code="output-is-folder")
    if os.path.lexists(path) and not force:
        raise _exists(path)
    if path.exists() and os.path.exists(source) and path.samefile(source):
        raise UsageError(
            f"{quoted(path)} holds the rows to predict; write the predictions to another file.", code="output-is-input"
        )


def _exists(path: Path) -> UsageError:
    return UsageError(
        f"{quoted(path)} exists already and is not overwritten; choose another name, or use --force.",
        code="output-exists",
    )


@contextmanager
def writing(path: Path, schema: pa.Schema, force: bool) -> Iterator[Writer]:
    """Give a writer; at the end the file is there, whole and on the disk, or after an exception not at all."""
    temporary = path.with_name(f".{path.name[:100]}-{secrets.token_hex(8)}.partial")
    try:
        with temporary.open("xb") as file:
            writer = _writer(file, schema, path.suffix)
            try:
                yield writer
            finally:
                # Also after an exception: a writer that outlives its file complains when it is collected.
                writer.close()
            file.flush()
            os.fsync(file.fileno())
        _name(temporary, path, force)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _writer(file: Any, schema: pa.Schema, suffix: str) -> Writer:
    if suffix == ".csv":
        return _FormulaFree(file, schema)
    return _Checksummed(file, schema)


def _name(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        # Unlike a rename, a link never replaces a file that came into being meanwhile.
        os.link(temporary, path)
    except FileExistsError as problem:
        raise _exists(path) from problem
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise _exists(path) from None
        temporary.rename(path)


class _Checksummed:
    """Writes Parquet with a checksum for each page."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the next rows."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Write what is left; a second time nothing, even if the first failed."""
        try:
            self._writer.close()
        finally:
            self._writer.is_open = False


class _FormulaFree:
    """Writes CSV in which no text can be taken for a formula: such text gets a leading apostrophe."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pacsv.CSVWriter(file, schema)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write the next rows."""
        columns = [_without_formulas(column) for column in batch.columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _without_formulas(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type):
        return column
    dangerous = pc.match_substring_regex(column, _FORMULA)
    return pc.if_else(dangerous, pc.binary_join_element_wise("'", column, ""), column)
