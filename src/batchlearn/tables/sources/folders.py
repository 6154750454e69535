"""Columns whose values are in the names of folders, as in date=2024-03-01/part.parquet."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from batchlearn.tables.files import Files

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"-?\d{1,15}")
_MICROSECONDS = pa.timestamp("us")


@dataclass(frozen=True)
class FolderColumns:
    """One column for each name, with one value for each file."""

    inside: Mapping[str, pa.Array]
    """From folders below the one that was given: each file has its own value."""
    above: Mapping[str, pa.Array]
    """From the folder that was given and those around it: a part of a table says so what the whole would."""

    @classmethod
    def of(cls, files: Files, texts: Collection[str] = ()) -> FolderColumns:
        """Read the values: whole numbers or ISO dates and times where all of them are, else, and of `texts`, texts."""
        inside: list[dict[str, str | None]] = []
        above: list[dict[str, str | None]] = []
        for path in files.paths:
            folder = path.parent if files.folder is None else files.folder
            below = path.relative_to(folder).parts[:-1]
            inside.append(_values(below))
            above.append(_values(folder.absolute().parts))
        return cls(_columns(inside, texts), _columns(above, texts))

    def beside(self, stored: Collection[str]) -> FolderColumns:
        """Return the columns to add to those stored, which come first where a folder around them has the same name."""
        taken = {name.casefold() for name in (*stored, *self.inside)}
        above = {name: values for name, values in self.above.items() if name.casefold() not in taken}
        return FolderColumns(self.inside, above)

    @property
    def fields(self) -> list[pa.Field]:
        """The columns and their types."""
        return [pa.field(name, values.type) for name, values in self._all.items()]

    def others(self, columns: Sequence[str], stored: Sequence[str]) -> list[str]:
        """Return the columns that are stored in the file: one at least, which tells the number of rows."""
        return [name for name in columns if name not in self._all] or list(stored[:1])

    def added(self, batch: pa.RecordBatch, columns: Sequence[str], file: int) -> pa.RecordBatch:
        """Return the columns asked for, of a batch of one of the files."""
        arrays = [
            pa.repeat(self._all[name][file], batch.num_rows) if name in self._all else batch.column(name)
            for name in columns
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def appended(self, table: pa.Table, file: int) -> pa.Table:
        """Return the rows of one of the files with the columns behind the others."""
        for name, values in self._all.items():
            table = table.append_column(name, pa.repeat(values[file], table.num_rows))
        return table

    @property
    def _all(self) -> dict[str, pa.Array]:
        return {**self.inside, **self.above}


def _values(folders: Sequence[str]) -> dict[str, str | None]:
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs}


def _columns(found: Sequence[Mapping[str, str | None]], texts: Collection[str]) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    for name in found[0]:
        values: list[Any] = [each.get(name) for each in found]
        known = [value for value in values if value is not None]
        if name not in texts and all(map(_WHOLE.fullmatch, known)):
            columns[name] = pa.array([None if value is None else int(value) for value in values])
            continue
        columns[name] = pa.array(values, pa.string())
        try:
            # Arrow reads ISO 8601 alone.
            columns[name] = columns[name] if name in texts else columns[name].cast(_MICROSECONDS)
        except pa.ArrowInvalid:
            continue
    return columns
