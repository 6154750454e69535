"""CSV and TSV files (RFC 4180): what their columns are, and their rows, with nothing guessed row by row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from batchlearn.errors import DataError, quoted
from batchlearn.tables.characters import CheckedCharacters
from batchlearn.tables.columns import EXACT_INTEGER, inexact_integer, refuse_equal_names
from batchlearn.tables.files import Files, Stamp

_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_DELIMITERS = (",", ";", "\t", "|")
_CONVERSION = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to ([^:]+): (.*)", re.DOTALL)
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)(?:: (.*))?", re.DOTALL)
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_DECIMAL_COMMA = r"^\s*[+-]?\d+,\d+\s*$"
_THOUSANDS = r"^\s*[+-]?\d{1,3}([,.' ]\d{3})+([.,]\d+)?\s*$"
_MOMENT = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?$"
_ZONED = r"\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$"
_MOST = 0.9
"""From this share of its values on, a text column is taken for one of numbers or times that failed to be read."""
_NULL_WORDS = frozenset(["na", "n/a", "nan", "nil", "none", "null", "missing", "unknown", "?", "-", "--", ".", "#n/a"])
_LONG_INTEGER = r"^[+-]?\d{16,}$"


class DelimitedSource:
    """The rows of CSV or TSV files, one file after the other.

    Types follow from the first block of the first file and hold for all rows: a later value that does not fit is
    refused, except that whole numbers may be followed by others. Only `null` texts are missing values.
    """

    def __init__(self, files: Files, null: tuple[str, ...], categories: frozenset[str]) -> None:
        self._stamps = tuple(Stamp.of(path) for path in files.paths)
        self._null = null
        # 1. Headers.
        self._names, self._delimiter = _header(files.paths[0])
        self._headers = {files.paths[0]: self._names}
        refuse_equal_names(self._names, f"file {quoted(files.paths[0])}")
        for path in files.paths[1:]:
            names, delimiter = _header(path)
            self._headers[path] = names
            if sorted(names) != sorted(self._names) or delimiter != self._delimiter:
                different = sorted({*names} ^ {*self._names})
                raise DataError(
                    f"file {quoted(path)} does not have the header of the first file ({quoted(different)} differ); all "
                    "files of one table need the same columns and delimiter: write it again, or leave it out",
                    code="files-differ",
                )
        # 2. Types.
        self._types = {name: pa.string() for name in categories if name in self._names}
        first = self._first_block(files.paths[0])
        for name in first.schema.names:
            if pa.types.is_string(first.schema.field(name).type) and name not in categories:
                _refuse_disguised(name, first.column(name).drop_null(), files.paths[0])
        self._types = {field.name: _lasting(field.type) for field in first.schema}
        self._resolve_missing([field.name for field in first.schema if pa.types.is_null(field.type)])

    @property
    def schema(self) -> pa.Schema:
        """The columns, with the types found in the first block."""
        return pa.schema([(name, self._types[name]) for name in self._names])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError where a row or a value is not as the header and the first block say."""
        types = {name: self._types[name] for name in columns}
        for stamp in self._stamps:
            stamp.check()
            yield from self._file_batches(stamp.path, types)
            stamp.check()

    def _file_batches(self, path: Path, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Read one file; where whole numbers turn out to be followed by others, begin again and skip what was given."""
        given = 0
        unchecked = {name for name, stored in types.items() if pa.types.is_float64(stored)}
        while True:
            to_skip, widened = given, None
            try:
                for batch in self._typed_batches(path, types):
                    rest = batch.slice(min(to_skip, batch.num_rows))
                    to_skip -= batch.num_rows - rest.num_rows
                    self._refuse_long_integers(path, rest, unchecked)
                    given += rest.num_rows
                    if rest.num_rows:
                        yield rest
            except pa.ArrowInvalid as problem:
                widened = self._column_to_widen(problem, path)
            if widened is None:
                return
            types[widened] = pa.float64()
            unchecked.add(widened)

    def _typed_batches(self, path: Path, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Read the columns in `types` as these types; the reader's own exceptions come through."""
        convert = pacsv.ConvertOptions(
            include_columns=list(types), column_types=types, null_values=list(self._null), strings_can_be_null=True
        )
        with CheckedCharacters(path) as characters:
            yield from self._open(characters, convert)

    def _open(self, characters: CheckedCharacters, convert: Any) -> Any:
        return pacsv.open_csv(
            pa.PythonFile(characters, mode="r"),
            # One thread: only then do messages carry the number of the row.
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=self._delimiter,
                newlines_in_values=True,
                # A blank line is a missing value where there is one column, and nothing where there are more.
                ignore_empty_lines=len(self._names) > 1,
            ),
            convert_options=convert,
        )

    def _first_block(self, path: Path) -> pa.RecordBatch:
        convert = pacsv.ConvertOptions(column_types=self._types, null_values=list(self._null), strings_can_be_null=True)
        with CheckedCharacters(path) as characters:
            try:
                block = next(iter(self._open(characters, convert)), None)
            except IndexError:  # what the reader raises for a header without rows
                block = None
            except pa.ArrowInvalid as problem:
                if "Empty CSV" not in str(problem):
                    raise self._refusal(problem, path) from problem
                block = None
        if block is None or not block.num_rows:
            raise DataError(
                f"file {quoted(path)} has a header and 0 rows; at least one row is needed: check how it was written",
                code="no-rows",
            )
        return block

    def _resolve_missing(self, names: list[str]) -> None:
        """Find types for columns that are missing in the whole first block from the first value further on."""
        for stamp in self._stamps:
            types = dict.fromkeys(names, pa.string())
            batches = self._typed_batches(stamp.path, types) if names else iter(())
            try:
                for batch in batches:
                    for name in list(names):
                        values = batch.column(name).drop_null()
                        if len(values):
                            self._types[name] = self._type_of_text(values[0].as_py())
                            names.remove(name)
                    if not names:
                        return
            except pa.ArrowInvalid as problem:
                raise self._refusal(problem, stamp.path) from problem

    def _type_of_text(self, text: str) -> pa.DataType:
        sample = io.StringIO()
        csv.writer(sample).writerows([["value"], [text]])
        table = pacsv.read_csv(io.BytesIO(sample.getvalue().encode()))
        return _lasting(table.schema.field(0).type)

    def _refuse_long_integers(self, path: Path, batch: pa.RecordBatch, unchecked: set[str]) -> None:
        """Refuse integers that float64 would round; a column with such large numbers is read once more, as text."""
        for name in sorted(unchecked):
            bounds = pc.min_max(batch.column(name))
            if max(abs(bounds["min"].as_py() or 0.0), abs(bounds["max"].as_py() or 0.0)) < EXACT_INTEGER:
                continue
            unchecked.remove(name)
            first = 1
            for texts in self._typed_batches(path, {name: pa.string()}):
                column = texts.column(0)
                suspects = pc.indices_nonzero(pc.match_substring_regex(column, _LONG_INTEGER).fill_null(False))
                for index in suspects.to_pylist():
                    value = column[index].as_py()
                    if abs(int(value)) > EXACT_INTEGER:
                        raise inexact_integer(name, value, f"row {first + index:,} of {quoted(path)}")
                first += len(column)

    def _column_to_widen(self, problem: pa.ArrowInvalid, path: Path) -> str:
        """Name the column of whole numbers that met another number; else raise what is wrong."""
        found = _CONVERSION.search(str(problem))
        value = re.search(r"invalid value '(.*)'", found.group(4), re.DOTALL) if found else None
        if found and value and found.group(3) == "int64" and _is_number(value.group(1)):
            return self._headers[path][int(found.group(1))]
        raise self._refusal(problem, path) from problem

    def _refusal(self, problem: pa.ArrowInvalid, path: Path) -> DataError:
        """Say in our words what the reader found wrong."""
        text = str(problem)
        if found := _RAGGED.search(text):
            row, needed, came = (int(number) for number in found.groups()[:3])
            text_of_row = quoted(found.group(4) or "")
            return DataError(
                f"file {quoted(path)}, row {row - 1:,} (line {row:,} if no value has line breaks): it has {came} "
                f"values and the header has {needed}; every row needs one value per column: "
                f"{text_of_row}; quote values that contain the delimiter, such as numbers with a decimal "
                "comma",
                code="csv-ragged-row",
            )
        if found := _CONVERSION.search(text):
            name = self._headers[path][int(found.group(1))]
            value = re.search(r"'(.*)'", found.group(4), re.DOTALL)
            shown = quoted(value.group(1) if value else found.group(4))
            row_words = f"row {int(found.group(2)) - 1:,}" if found.group(2) else "some row"
            return DataError(
                f"file {quoted(path)}, {row_words}: column {quoted(name)} is {shown}, but the rows before hold "
                f"{found.group(3)}; a column needs one type: correct the value, declare it missing with --null "
                f"{shown}, or make the whole column text with categories",
                code="csv-type-change",
            )
        if "straddling" in text:
            return DataError(
                f"file {quoted(path)} has a row longer than {_BLOCK_BYTES >> 20} MiB; most likely a quote was opened "
                "and not closed: correct it",
                code="csv-unclosed-quote",
            )
        return DataError(
            f"file {quoted(path)} cannot be read as delimited text: {quoted(text, 200)}; correct it",
            code="csv-unreadable",
        )


def _header(path: Path) -> tuple[list[str], str]:
    """Read the names in the header, and the delimiter that is most frequent in it outside quotes."""
    with CheckedCharacters(path) as characters:
        start = characters.read(_HEADER_BYTES).decode(errors="ignore").removeprefix("\ufeff")
    if not start.strip():
        raise DataError(
            f"file {quoted(path)} is empty: no header; the first row must name the columns", code="file-empty"
        )
    line = next(line for line in io.StringIO(start, newline=None) if line.strip())
    bare = re.sub(r'"[^"]*"', "", line)
    delimiter = max(_DELIMITERS, key=bare.count)
    names = next(row for row in csv.reader(io.StringIO(start, newline=""), delimiter=delimiter) if row)
    if "" in names:
        raise DataError(
            f"file {quoted(path)}: column {names.index('') + 1} of the header has no name; every column needs one: "
            "name it, or write the file without row labels",
            code="csv-header-name",
        )
    return names, delimiter


def _lasting(stored: pa.DataType) -> pa.DataType:
    """Widen a type found in the first block to the one that all such values fit in."""
    if pa.types.is_date(stored) or (pa.types.is_timestamp(stored) and stored.unit == "s"):
        return pa.timestamp("us", tz=getattr(stored, "tz", None))
    return stored


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _refuse_disguised(name: str, texts: pa.StringArray, path: Path) -> None:
    """Refuse a text column whose values are nearly all numbers or times: it would become thousands of categories."""
    matches = {pattern: pc.match_substring_regex(texts, pattern) for pattern in (_NUMBER, _DECIMAL_COMMA, _THOUSANDS)}
    plain, comma, thousands = (pc.sum(match).as_py() or 0 for match in matches.values())
    local = pc.or_(matches[_DECIMAL_COMMA], matches[_THOUSANDS])
    numeric = pc.or_(matches[_NUMBER], local)
    place = f"file {quoted(path)}: column {quoted(name)}"
    if pc.any(local).as_py() and pc.sum(numeric).as_py() >= _MOST * len(texts):
        example = quoted(texts.filter(local)[0].as_py())
        style = "a decimal comma" if comma > thousands else "a separator of thousands"
        raise DataError(
            f"{place} holds numbers such as {example}, with {style}; numbers need a decimal point and no separators: "
            "write the file again, or name the column in categories",
            code="csv-decimal-comma" if comma > thousands else "csv-thousands",
        )
    if 0 < plain < len(texts):
        others = texts.filter(pc.invert(matches[_NUMBER]))
        words = others.unique().to_pylist()[:100]
        if plain >= _MOST * len(texts) or all(word.strip().lower() in _NULL_WORDS for word in words):
            raise DataError(
                f"{place} holds numbers and {len(others):,} other values such as {quoted(words[0])}; a column needs "
                f"one type: declare it missing with --null {quoted(words[0])}, correct it, or name the column in "
                "categories",
                code="csv-mixed-column",
            )
    zoned = pc.sum(pc.match_substring_regex(texts, _ZONED)).as_py() or 0
    if 0 < zoned < len(texts) and (pc.sum(pc.match_substring_regex(texts, _MOMENT)).as_py() or 0) >= _MOST * len(texts):
        raise DataError(
            f"{place} holds times with and without a zone; such times cannot be ordered: write them all in UTC",
            code="time-zones-mixed",
        )
