"""The rows of one delimited text file, each value as its text; what is no row is passed over and counted."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from batchlearn.errors import DataError, quoted
from batchlearn.tables.files import Stamp
from batchlearn.tables.text.body import Body
from batchlearn.tables.text.characters import CheckedCharacters
from batchlearn.tables.text.layout import UNIT_SEPARATOR, WORDS_BELOW, layout_of, tabbed
from batchlearn.tables.text.numbers import PLAIN

_BLOCK_BYTES = 4 << 20
_HEADER_BYTES = 1 << 20
_END_BYTES = 1 << 16
_FOOTNOTE = re.compile(
    r"^\W*(source|notes?|total|sum|quelle|stand|generated|exported|created|as of|copyright|https?:)|^[*#©†]",
    re.IGNORECASE,
)
_PLAIN = re.compile(PLAIN)
_WORDS = re.compile(r"[^\W\d_]{2,}.*\s")


class TextFile:
    """A delimited file as it was when first looked at."""

    def __init__(self, path: Path, encoding: str | None, *, header: bool) -> None:
        self.path = path
        self._encoding = encoding
        self.stamp = Stamp.of(path)
        self.place = f"file {quoted(path)}"
        with CheckedCharacters(path, encoding) as characters:
            start = characters.read(_HEADER_BYTES).decode(errors="ignore")
        self.layout = layout_of(start, self.place, header=header)
        self._counted: Mapping[str, int] = dict(self.layout.passed_over)
        self.rows: int | None = None
        """How many rows there are before a last one that is none; None where there is no such."""
        self.last = ""
        """What that one is."""
        self.total_first = False
        """Whether the first row is none: it holds the sums of the others."""
        # A column without a name ends each line with its delimiter.
        self._columns = [name or f"\x00{number}" for number, name in enumerate(self.layout.names)]
        self.unnamed = [name for name in self._columns if name.startswith("\x00")]

    @property
    def passed_over(self) -> Mapping[str, int]:
        """Lines that are neither header nor rows, by reason, as of the last reading to the end."""
        last = Counter({self.last: 1} if self.rows is not None else {})
        return Counter(self._counted) + last + Counter({"total row": int(self.total_first)})

    def near_start(self) -> dict[str, str | None] | None:
        """Return the texts of the first row; None where there is none."""
        names = [name for name in self.layout.names if name]
        first = next(self.batches(names), None)
        return None if first is None else {name: first.column(name)[0].as_py() for name in names}

    def near_end(self) -> dict[str, str | None] | None:
        """Return the texts of the last line that has as many values as a row; None where there is none near the end."""
        tail = b""
        with CheckedCharacters(self.path, self._encoding) as characters:
            while chunk := characters.read(_BLOCK_BYTES):
                tail = (tail + chunk)[-_END_BYTES:]
        if self.layout.blanks:
            tail = tabbed(tail)
        # The first line of it may be cut off; quotes that were opened before it make nonsense of a line, not of a row.
        for line in reversed(tail.decode(errors="replace").splitlines()):
            values = next(csv.reader([line], delimiter=self.layout.delimiter), [])
            if len(values) == len(self.layout.names):
                return {name: value or None for name, value in zip(self.layout.names, values, strict=True) if name}
        return None

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read the rows, as texts that are null where there is nothing; DataError where a row lacks a value."""
        self.stamp.check()
        left = self.rows
        ragged: list[Any] = []
        with CheckedCharacters(self.path, self._encoding) as characters:
            body = Body(characters, self.layout)
            rows = 0
            try:
                for batch in self._open(body, columns, ragged):
                    rows += batch.num_rows
                    self._pass_over(ragged, rows, body)
                    kept = batch.slice(1) if self.total_first and rows == batch.num_rows else batch
                    kept = kept if left is None else kept.slice(0, left)
                    left = None if left is None else left - kept.num_rows
                    if kept.num_rows:
                        yield self._whole_texts(kept)
            except pa.ArrowInvalid as problem:
                raise self._refusal(str(problem)) from problem
            self._pass_over(ragged, rows, body, end=True)
        self._counted = {reason: lines for reason, lines in body.passed_over.items() if lines}
        self.stamp.check()

    def _open(self, body: Body, columns: Sequence[str], ragged: list[Any]) -> Iterator[pa.RecordBatch]:
        def take(row: Any) -> str:
            ragged.append(row)
            return "skip"

        try:
            yield from pacsv.open_csv(
                pa.PythonFile(body, mode="r"),
                # One thread: only then do ragged rows carry their number.
                read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False, column_names=self._columns),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.layout.delimiter,
                    newlines_in_values=True,
                    # A blank line is a missing value where there is one column, and nothing where there are more.
                    ignore_empty_lines=len(self._columns) > 1,
                    invalid_row_handler=take,
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as problem:
            if "Empty CSV" not in str(problem):
                raise

    def _pass_over(self, ragged: list[Any], rows: int, body: Body, *, end: bool = False) -> None:
        """Count lines that are comments, or notes after the last row; DataError for rows that lack values.

        `rows` have been read: more than came before the first of the ragged ones if it is among them.
        """
        while ragged and (end or rows > ragged[0].number - 1 - body.rows_passed_over):
            row = ragged[0]
            text = row.text.strip()
            last = end and rows == row.number - 1 - body.rows_passed_over
            if not text:
                reason = "blank line"
            elif text.startswith("#"):
                reason = "comment"
            elif last and not self._has_numbers(text) and (body.notes or _is_footnote(row.text, body.tail)):
                body.notes = True
                reason = "footnote"
            else:
                raise self._ragged(row.number, row.actual_columns, row.text)
            body.passed_over[reason] += 1
            body.rows_passed_over += 1
            del ragged[0]

    def _has_numbers(self, text: str) -> bool:
        """Whether most of several values are numbers: then it is a row, of another table perhaps."""
        values = [value.strip() for value in text.split(self.layout.delimiter)]
        return len(values) > 1 and 2 * sum(bool(_PLAIN.match(value)) for value in values) > len(values)

    def _whole_texts(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Give texts the delimiters back that are part of them."""
        if not self.layout.spaced:
            return batch
        texts = [pc.replace_substring(column, UNIT_SEPARATOR, self.layout.delimiter) for column in batch.columns]
        return pa.RecordBatch.from_arrays(texts, names=batch.schema.names)

    def _ragged(self, row: int, came: int, text: str) -> DataError:
        needed = len(self._columns) - len(self.unnamed)
        row += self.layout.passed_over.get(WORDS_BELOW, 0)
        return DataError(
            f"{self.place}, row {row:,} below the header: it has {came} values and the header has {needed}; every "
            f"row needs one value per column: {quoted(text)}; quote values that contain the delimiter, such as numbers "
            "with a decimal comma",
            code="csv-ragged-row",
        )

    def refuse_unnamed(self, batch: pa.RecordBatch, first: int) -> None:
        """Raise DataError where a row has values beyond the last named column; `first` is the batch's first row."""
        for name in self.unnamed:
            texts = batch.column(name)
            if texts.null_count < len(texts) and (rows := pc.indices_nonzero(pc.is_valid(texts))):
                raise self._ragged(first + rows[0].as_py(), len(self._columns), texts[rows[0].as_py()].as_py())

    def _refusal(self, problem: str) -> DataError:
        if "straddling" in problem:
            return DataError(
                f"{self.place} has a row longer than {_BLOCK_BYTES >> 20} MiB; most likely a quote was opened and not "
                "closed: correct it",
                code="csv-unclosed-quote",
            )
        return DataError(
            f"{self.place} cannot be read as delimited text: {quoted(problem, 200)}; correct it", code="csv-unreadable"
        )


def is_padded_note(last: Mapping[str, str | None]) -> bool:
    """Whether a last row is a note in its first column, padded with delimiters."""
    texts = [text or "" for text in last.values()]
    return len(texts) > 2 and not any(map(str.strip, texts[1:])) and bool(_FOOTNOTE.match(texts[0].strip()))


def _is_footnote(text: str, tail: bytes) -> bool:
    """Whether the first line after the rows is a note: it says so, follows a blank line, or is a whole one of words.

    A row that was cut off is none: it ends without a line end.
    """
    if _FOOTNOTE.match(text.strip().strip('"')):
        return True
    before, found, after = tail.rpartition(text.encode())
    return bool(found) and (
        before.endswith((b"\n\n", b"\n\r\n")) or (after.startswith((b"\r", b"\n")) and bool(_WORDS.match(text)))
    )
