"""From the files that a path means to the source of their rows."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import Kind
from batchlearn.tables.files import Files, Format, Stamp, format_of
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.sources import ArrowSource, ParquetSource, Source
from batchlearn.tables.sources.archives import unpacked_table
from batchlearn.tables.sources.folders import FolderColumns
from batchlearn.tables.sources.inspected import InspectedSource
from batchlearn.tables.sources.ipc import IpcSource
from batchlearn.tables.sources.json_lines import json_lines
from batchlearn.tables.sources.queries import duckdb_rows, sqlite_rows
from batchlearn.tables.sources.sheets import written_sheet
from batchlearn.tables.text.delimited import DelimitedSource
from batchlearn.tables.text.inspection import TextRules

_DATABASES = (Format.SQLITE, Format.DUCKDB)
_IN_ZIP = (Format.PARQUET, Format.DELIMITED, Format.ARROW, Format.JSON_LINES, Format.EXCEL)


def open_files(
    files: Files, rules: TextRules, roles: Mapping[str, str], like: Mapping[str, ColumnReading] | None = None
) -> Source:
    """Open the files of one table. `rules`, `roles` and `like` are for texts without types.

    What is packed is unpacked into a folder that is gone with the last source on it.
    """
    categories = {name for name, reading in (like or {}).items() if reading.kind is Kind.CATEGORY}
    folders = FolderColumns.of(files, {*rules.categories, *categories})
    if files.format not in (Format.ZIP, Format.EXCEL):
        return _with_rows(_open(files, folders, rules, roles, like), files, like)
    unpacked = _Unpacked()
    source = None
    try:
        source = _with_rows(_open(_in_folder(files, unpacked), folders, rules, roles, like), files, like)
        return source
    finally:
        if source is None:
            unpacked.remove()


class _Unpacked:
    """A folder for what is unpacked; it is gone with the last that holds this."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="batchlearn-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.folder)


def _with_rows(source: Source, files: Files, like: Mapping[str, ColumnReading] | None) -> Source:
    """Return the source. DataError where it has no rows; a model, whose readings `like` are, may score none."""
    if like is None and not source.has_rows:
        raise DataError(f"{quoted(files.name)} has 0 rows; at least one is needed", code="no-rows")
    return source


def _open(
    files: Files,
    folders: FolderColumns,
    rules: TextRules,
    roles: Mapping[str, str],
    like: Mapping[str, ColumnReading] | None,
) -> Source:
    if files.part.query is not None and files.format not in _DATABASES:
        raise UsageError(
            f"{quoted(files.name)} is {files.format} and no database, which alone answers a --query; keep some of its "
            "rows with --where",
            code="part-not-known",
        )
    if files.part.sheet is not None:
        raise UsageError(
            f"{quoted(files.name)} is {files.format} and no Excel file, which alone has a --sheet: leave it out",
            code="part-not-known",
        )
    match files.format:
        case Format.PARQUET:
            return ParquetSource(files, folders)
        case Format.DELIMITED if like is None and files.unpacked is None:
            stamps = tuple(Stamp.of(path) for path in files.paths)
            return _surveyed(files, stamps, rules, tuple(roles.items()))
        case Format.DELIMITED:
            return DelimitedSource(files, rules, roles, folders, like)
        case Format.ARROW:
            return IpcSource(files, folders)
        case Format.JSON_LINES:
            tables = [json_lines(path) for path in files.paths]
        case Format.SQLITE:
            tables = [sqlite_rows(path, files.part.query) for path in files.paths]
        case _:
            tables = [duckdb_rows(path, files.part.query) for path in files.paths]
    tables = [folders.beside(table.column_names).appended(table, number) for number, table in enumerate(tables)]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as problem:
        raise DataError(
            f"the files of {quoted(files.name)} hold values of different types in one column ({problem}); all files of "
            "one table need the same: write one again, or leave it out of the pattern",
            code="files-differ",
        ) from problem
    # DuckDB declares types; of the others a text may be anything.
    return ArrowSource(table) if files.format is Format.DUCKDB else InspectedSource(table, rules, roles, like)


@lru_cache(maxsize=8)  # a command opens a file more than once, and each time would read it whole
def _surveyed(
    files: Files, stamps: tuple[Stamp, ...], rules: TextRules, roles: tuple[tuple[str, str], ...]
) -> DelimitedSource:
    del stamps  # with them a file that was written again is another one
    return DelimitedSource(files, rules, dict(roles), FolderColumns.of(files, rules.categories))


def _in_folder(files: Files, unpacked: _Unpacked) -> Files:
    """Unpack each file: the table of a zip file, the sheet of an Excel file as text."""
    formats: dict[Format, Path] = {}
    sheet, paths = files.part.sheet, []
    for number, path in enumerate(files.paths):
        # The name of the packed file is part of the path that messages show.
        inside = unpacked.folder / str(number) / path.name
        inside.mkdir(parents=True)
        found = unpacked_table(path, inside) if files.format is Format.ZIP else path
        known = format_of(found)
        if known not in _IN_ZIP:
            raise DataError(
                f"{quoted(found.name)} in {quoted(path)} is {known}; in a zip file {', '.join(_IN_ZIP)} are read: "
                "unpack it and give the file",
                code="zip-not-one-table",
            )
        if known is Format.EXCEL:
            found, known, sheet = written_sheet(found, files.part.sheet, inside), Format.DELIMITED, None
        paths.append(found)
        formats[known] = path
    if len(formats) > 1:
        first, second = (quoted(path) for path in formats.values())
        raise DataError(
            f"{first} and {second} hold tables of two formats; one table has one format: give one of them",
            code="formats-mixed",
        )
    part = replace(files.part, sheet=sheet)
    return Files(tuple(paths), next(iter(formats)), None, files.name, part, unpacked)
