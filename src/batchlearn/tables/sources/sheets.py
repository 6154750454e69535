"""Sheets of Excel files, written out as delimited text: people lay both out in the same ways."""

from __future__ import annotations

import csv
import datetime
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import EXACT_INTEGER, name_advice
from batchlearn.tables.files import Stamp
from batchlearn.tables.sources.archives import opened_archive, unpack

_PLACE = re.compile(rb"""\br=["']([A-Z]{0,3})(\d{1,7})["']""")
_CELL = re.compile(rb"<(?:\w+:)?c[ />]")
_OVERLAP = 64
_ALL_COLUMNS = 16_384
_MOST_CELLS = 50_000_000
_SECOND = datetime.timedelta(seconds=1)


def written_sheet(path: Path, sheet: str | None, folder: Path) -> Path:
    """Write a sheet as delimited text into `folder` and return its path: the one named, or the only one with rows.

    Numbers are written so that they are read as the same float64, dates and times in ISO 8601.
    """
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError as problem:
        raise UsageError(
            f"file {quoted(path)} is an Excel file, and the package python-calamine, which reads those, is not there: "
            'pip install "batchlearn[excel]"',
            code="extra-missing",
        ) from problem

    stamp = Stamp.of(path)
    _check_size(path)
    try:
        with load_workbook(str(path)) as book:
            names = [each.name for each in book.sheets_metadata if str(each.typ).endswith("WorkSheet")]
            hidden = {each.name for each in book.sheets_metadata if not str(each.visible).endswith("Visible")}
            if sheet is not None and sheet not in names:
                raise UsageError(
                    f"file {quoted(path)} has no sheet {quoted(sheet)}; {name_advice(sheet, names)}",
                    code="sheet-unknown",
                )
            chosen = [sheet] if sheet is not None else [name for name in names if name not in hidden]
            found = {name: rows for name in chosen if (rows := book.get_sheet_by_name(name).to_python())}
            # Names without rows are a table of which nothing is scored.
            filled = {name: rows for name, rows in found.items() if len(rows) > 1}
            filled = filled or {name: rows for name, rows in found.items() if len(rows[0]) > 1} or found
    except (CalamineError, OSError) as problem:
        raise DataError(
            f"file {quoted(path)} is no readable Excel file ({quoted(problem, 200)}): save it again as .xlsx",
            code="excel-unreadable",
        ) from problem
    stamp.check()
    if not filled:
        raise DataError(f"file {quoted(path)} has no sheet with a header and rows; both are needed", code="no-rows")
    if len(filled) > 1:
        choices = " or ".join(f"--sheet {shlex.quote(name)}" for name in filled)
        raise UsageError(
            f"file {quoted(path)} has {len(filled)} sheets with rows; add {choices}", code="sheet-not-named"
        )
    target = folder / f"{path.stem}.csv"
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_lines(next(iter(filled.values()))))
    return target


def _check_size(path: Path) -> None:
    """Refuse a damaged archive, or one with a sheet so large that it would fill the memory."""
    with opened_archive(path) as archive:
        for entry in archive.infolist():
            extent = _Extent()
            unpack(archive, entry, path, extent.add)
            extent.add(b" " * _OVERLAP)
            if "/worksheets/" in f"/{entry.filename}" and extent.rows * extent.columns > _MOST_CELLS:
                raise DataError(
                    f"file {quoted(path)} has a sheet of {extent.rows:,} rows and {extent.columns:,} columns, most of "
                    "them empty; a sheet has to fit into memory: copy the table into a new file, or save it as CSV",
                    code="excel-too-large",
                )


class _Extent:
    """How far the cells of a sheet reach, by its XML piece by piece: memory is taken for all within."""

    def __init__(self) -> None:
        self.rows = 0
        self._last_column = self._cells = self._placed = 0
        self._rest = b""

    def add(self, piece: bytes) -> None:
        piece = self._rest + piece
        end = max(len(piece) - _OVERLAP, 0)
        for found in _PLACE.finditer(piece):
            if found.start() < end:
                self.rows = max(self.rows, int(found[2]))
                self._last_column = max(self._last_column, _number(found[1]))
                self._placed += bool(found[1])
        self._cells += sum(found.start() < end for found in _CELL.finditer(piece))
        self._rest = piece[end:]

    @property
    def columns(self) -> int:
        """The last column; all where cells do not say theirs."""
        return self._last_column if self._placed >= self._cells else _ALL_COLUMNS


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def _lines(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Return the rows as texts; titles above the table and notes below it have one cell, as they do in text files."""
    lines = [[_text(value) for value in row] for row in rows]
    wide = [number for number, line in enumerate(lines) if sum(map(bool, line)) > 1]
    if not wide:
        return lines
    return [
        line if wide[0] <= number <= wide[-1] and any(line) else [text for text in line if text]
        for number, line in enumerate(lines)
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < EXACT_INTEGER else repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ") if value.time() != datetime.time() else value.date().isoformat()
    if isinstance(value, datetime.timedelta):
        return repr(value / _SECOND)
    return str(value)
