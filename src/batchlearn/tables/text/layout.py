"""The layout of a delimited text file: where its table begins, what its columns are called, and what is passed over."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.text.numbers import PLAIN, WRITTEN
from batchlearn.tables.text.survey import MISSING_WORDS

DELIMITERS = (",", ";", "\t", "|")
WORDS_BELOW = "row of words below the header"
UNIT_SEPARATOR = "\x1f"
"""Stands for a delimiter that is part of a text."""
_SEPARATOR_LINE = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
_RECORDS = 200
_YEARS = range(1800, 2101)
_DATE = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$")
_CLOCK = re.compile(r"^\d{1,2}[:.]\d\d([:.]\d\d)?( ?[AaPp]\.?[Mm]\.?)?$")
_PLAIN = re.compile(PLAIN)
_WRITTEN = re.compile(WRITTEN)
_BLANKS, _QUOTED_OR_BLANKS = re.compile(rb"[ \t]+"), re.compile(rb'"[^"\n]*"|[ \t]+')
_BLANKS_AT_ENDS = re.compile(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)")
_MOST_ROWS_OF_WORDS = 3
_ENOUGH_ROWS = 10
"""Fewer rows do not tell what a column holds."""
_EVEN = 1e-6
"""By how much the steps between numbers that are names, such as wavelengths, may differ."""
_INDEX_NAMES = ("", "Unnamed: 0")


@dataclass(frozen=True)
class TextLayout:
    """How the text of one file is laid out."""

    delimiter: str
    names: tuple[str, ...]
    """One for each value of a row; "" where a column is nothing but the delimiters that end the lines."""
    header: str
    """The line of names as it stands, without its end; "" where no later line can be the same by mistake."""
    start: int
    """Bytes of UTF-8 before the first row."""
    passed_over: Mapping[str, int]
    """Lines before the first row, besides the header, by reason."""
    notes: tuple[tuple[str, Note], ...] = ()
    """What is worth saying of names: column and note."""
    index: str | None = None
    """The first column, where it has no name and so numbers the rows."""
    comments: bool = False
    """Whether lines above the header begin with #, so that such lines further down are no rows."""
    spaced: bool = False
    """Whether a delimiter before a space is part of a text: only so has each row a value for each name."""
    blanks: bool = False
    """Whether runs of spaces and tabs delimit the values, as in files of programs in Fortran; each is one tab here."""


class _TextLine(NamedTuple):
    values: list[str]
    end: int
    """Physical lines up to its end."""


def layout_of(text: str, place: str, *, header: bool = True) -> TextLayout:
    """Find the layout by the first characters of a file, which `place` names. DataError where it is not certain."""
    lines = list(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise DataError(f"{place} is empty: no header; the first row must name the columns", code="file-empty")
    passed = Counter({"blank line": first})
    separator = _SEPARATOR_LINE.match(lines[first].strip())
    if separator:
        passed["separator line"] += 1
        first += 1
    delimiter = _delimiter(lines[first:], (separator.group(1),) if separator else DELIMITERS)
    blanks = _by_blanks(lines[first : first + _RECORDS], delimiter)
    if blanks:
        delimiter = "\t"
    rest = [tabbed(line.encode()).decode() for line in lines[first:]] if blanks else lines[first:]
    records, spaced = _records(rest, delimiter), False
    width = _width(records)
    chosen = _header_place(records, width) if header else next(i for i, each in enumerate(records) if each.values)
    if header and chosen and _follows_names(records, chosen):
        # Names for fewer values than the rows have: perhaps their texts hold the delimiter, with a space after it.
        short = records[chosen - 1].values
        fused = _records(_fused(rest, delimiter), delimiter)
        chosen -= 1
        if {len(each.values) for each in fused if each.values} == {len(short)}:
            records, spaced, width = fused, True, len(short)
        elif _have_names(records[chosen + 1 :], len(short), lines[first + records[chosen].end], delimiter):
            records[chosen] = records[chosen]._replace(values=["", *short])
        else:
            raise _ragged(place, width, len(short))
    before = records[chosen - 1].end if chosen else 0
    for line in lines[first : first + before]:
        passed["preamble" if line.strip() else "blank line"] += 1
    values = [value.strip() for value in records[chosen].values]
    below = _rows_of_words(records[chosen + 1 :], width) if header else 0
    passed[WORDS_BELOW] += below
    later = records[chosen + header + below :]
    rows = [each.values for each in later if each.values and each.values != records[chosen].values]
    if header and rows and _is_data(values, records):
        shown = ", ".join(value for value in values if value)
        raise DataError(
            f"{place}: its first line looks like data and not like names: {quoted(shown)}; add --no-header, which "
            "names the columns column_1, column_2 and so on, or write the names above the rows",
            code="header-is-data",
        )
    named = first + (records[chosen].end if header else before)
    end = first + records[chosen + below].end if below else named
    start = len("".join(lines[:end]).encode()) + (3 if text.startswith("\ufeff") else 0)
    line = "".join(lines[first + before : named]).rstrip("\r\n") if header else ""
    names, notes, index = _named(values, width, rows) if header else (_numbered(width, rows), (), None)
    if spaced:
        notes = (*notes, *_delimiters_in_texts(names, rows, delimiter))
    repeatable = line if len(names) > 1 and "\n" not in line and "\r" not in line else ""
    found = {reason: count for reason, count in passed.items() if count}
    comments = any(line.startswith("#") for line in lines[first : first + before])
    return TextLayout(delimiter, names, repeatable, start, found, notes, index, comments, spaced, blanks)


def _records(lines: Sequence[str], delimiter: str) -> list[_TextLine]:
    """Split the first lines; a blank one has no values."""
    reader = csv.reader(lines, delimiter=delimiter)
    found: list[_TextLine] = []
    try:
        for values in islice(reader, _RECORDS):
            found.append(_TextLine(values if any(map(str.strip, values)) or len(values) > 1 else [], reader.line_num))
    except csv.Error:
        pass  # a quote that is not closed takes the rest for one value: reading the rows will say so
    if len(found) > 2 and found[-1].end == len(lines) and not lines[-1].endswith(("\n", "\r")):
        found.pop()  # perhaps cut off, in mid-value
    return found


def _width(records: Sequence[_TextLine]) -> int:
    """Return how many values most rows have."""
    rows = (each.values for each in records if each.values)
    widths = Counter(len(values) for values in rows if len(values) > 1 or not values[0].startswith("#"))
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _delimiter(lines: Sequence[str], options: Sequence[str]) -> str:
    """Return the delimiter by which most rows have the same number of values, and more than one."""

    def score(delimiter: str) -> tuple[bool, bool, float, int]:
        records = [each for each in _records(lines, delimiter) if each.values]
        width = _width(records)
        same = sum(len(each.values) == width for each in records)
        first = bool(records) and len(records[0].values) > 1
        return width > 1, first, same / max(len(records), 1), width

    return max(options, key=score)


def _by_blanks(lines: Sequence[str], delimiter: str) -> bool:
    """Whether runs of blanks give each line the same number of values, more than a delimiter does, and half numbers."""
    otherwise = _width(_records(lines, delimiter))
    if delimiter != "\t" and otherwise > 1:
        return False
    records = [each.values for each in _records([tabbed(line.encode()).decode() for line in lines], "\t")]
    records = [values for values in records if values]
    width = len(records[0]) if records else 0
    if {len(values) for values in records} != {width} or width <= otherwise:
        return False
    columns = list(zip(*(records[1:] or records), strict=True))
    numbers = sum(all(_PLAIN.match(value) or value.lower() in MISSING_WORDS for value in column) for column in columns)
    return 2 * numbers >= width


def tabbed(lines: bytes) -> bytes:
    """Write each run of spaces and tabs within a line, outside of quotes, as one tab, and none at its ends."""
    lines = _BLANKS_AT_ENDS.sub(b"", lines)
    if b'"' in lines:
        return _QUOTED_OR_BLANKS.sub(lambda found: found[0] if found[0].startswith(b'"') else b"\t", lines)
    return _BLANKS.sub(b"\t", lines)


def _fused(lines: Sequence[str], delimiter: str) -> list[str]:
    return [line.replace(f"{delimiter} ", f"{UNIT_SEPARATOR} ") for line in lines]


def _header_place(records: Sequence[_TextLine], width: int) -> int:
    """Return the first record that can hold the names: as wide as the rows, with names for half of it or more."""
    filled = max((_filled(each.values) for each in records if len(each.values) == width), default=width)
    for number, (values, _) in enumerate(records):
        if width == 1 and values and not (values[0].startswith("#") and number + 1 < len(records)):
            return number
        if width > 1 and len(values) >= filled and _filled(values) <= width and 2 * sum(map(bool, values)) >= filled:
            return number
    return next((number for number, each in enumerate(records) if each.values), 0)


def _follows_names(records: Sequence[_TextLine], chosen: int) -> bool:
    """Whether the first record as wide as the rows is one of them, and the line before it has the names."""
    before, values = records[chosen - 1].values, records[chosen].values
    plain = [bool(_PLAIN.match(value.strip())) for value in values]
    return len(before) > 1 and all(before) and (any(plain) or _is_data(values, records))


def _have_names(records: Sequence[_TextLine], names: int, line: str, delimiter: str) -> bool:
    """Whether each row begins with a name of its own that the header has no name for, as R writes tables.

    Where commas delimit, a decimal comma makes one value more too: then names have quotes and some number a point.
    """
    rows = [each.values for each in records if each.values]
    own = len({row[0] for row in rows}) == len(rows) > 1 and all(len(row) == names + 1 for row in rows)
    points = any("." in value and _PLAIN.match(value.strip()) for row in rows for value in row[1:])
    return own and (delimiter != "," or (line.startswith('"') and points))


def _filled(values: Sequence[str]) -> int:
    """Return how many values there are without the blank ones at the end."""
    return next((number for number in range(len(values), 0, -1) if values[number - 1].strip()), 0)


def _is_data(values: Sequence[str], records: Sequence[_TextLine]) -> bool:
    """Whether a line of names is one of values: numbers that number nothing, dates out of order, texts of the rows."""
    rows = [each.values for each in records if len(each.values) == len(values) and each.values != list(values)]
    words = [
        (place, value.strip())
        for place, value in enumerate(values)
        if value.strip() and not _PLAIN.match(value.strip()) and not _DATE.match(value.strip())
    ]
    repeats = [sum(row[place].strip() == word for row in rows) for place, word in words]
    again = [count > 1 and count >= 0.02 * len(rows) for count in repeats]
    # A name beside other names may be all that its column holds: lines of weather stations end in "eor".
    if any(again) and (all(again) or len(words) < sum(bool(value.strip()) for value in values)):
        return True
    # A sentence above sentences, beside a number that many rows repeat, is a text and its label.
    wordy = [
        word.count(" ") > 1 and 2 * sum(row[place].count(" ") > 1 for row in rows) > len(rows) for place, word in words
    ]
    number = next((place for place, value in enumerate(values) if _PLAIN.match(value.strip())), None)
    if (
        wordy
        and all(wordy)
        and number is not None
        and 5 * sum(row[number] == values[number] for row in rows) > len(rows)
    ):
        return True
    numbers = [float(value) for value in values if _PLAIN.match(value.strip())]
    steps = [after - before for before, after in pairwise(numbers)]
    counted = all(number.is_integer() and number >= 0 for number in numbers) and set(steps) <= {1.0}
    even = len(steps) > 1 and steps[0] != 0 and max(steps) - min(steps) <= _EVEN * abs(steps[0])
    years = all(number in _YEARS for number in numbers) and all(step > 0 for step in steps)
    if not (counted or even or years):
        return True
    # One number alone as the name of all: 0 is how pandas names a series.
    if len(values) == len(numbers) == 1 and numbers[0] != 0:
        return True
    dates = [value.strip() for value in values if _DATE.match(value.strip())]
    return len(dates) == 1 or len(set(dates)) < len(dates)


def _delimiters_in_texts(
    names: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str
) -> Iterator[tuple[str, Note]]:
    """Return a note on each column among whose first texts is one with a delimiter before a space."""
    for place, name in enumerate(names):
        found = next((row[place] for row in rows if UNIT_SEPARATOR in row[place]), None)
        if found is not None and name:
            example = found.replace(UNIT_SEPARATOR, delimiter)
            yield name, Note(Code.DELIMITER_IN_TEXT, {"column": name, "delimiter": delimiter, "example": example})


def _rows_of_words(records: Sequence[_TextLine], width: int) -> int:
    """Return how many of the first rows explain the names, as units or questions do, up to three.

    They have words in at least two columns of numbers and times, and in none of these a number or time.
    """
    for count in range(_MOST_ROWS_OF_WORDS, 0, -1):
        above, rows = records[:count], [each.values for each in records[count:] if len(each.values) == width]
        if len(rows) < _ENOUGH_ROWS or any(len(each.values) != width for each in above):
            continue
        kinds = [{_is_value(row[place]) for row in rows} - {None} for place in range(width)]
        known = [place for place in range(width) if kinds[place] == {True}]
        words = [[_is_value(each.values[place]) for place in known] for each in above]
        if all(True not in row and row.count(False) >= max(2, len(known) / 2) for row in words):
            return count
    return 0


def _is_value(text: str) -> bool | None:
    """Whether a text is a number or time; None where it stands for nothing."""
    plain = text.strip()
    if not plain or plain.lower() in MISSING_WORDS:
        return None
    return bool(_PLAIN.match(plain) or _WRITTEN.match(plain) or _DATE.match(plain) or _CLOCK.match(plain))


def _numbered(width: int, rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    filled = max((_filled(row) for row in rows if len(row) == width), default=width)
    return tuple(f"column_{number}" if number <= filled else "" for number in range(1, width + 1))


def _named(
    values: Sequence[str], width: int, rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, Note], ...], str | None]:
    """Return a name for each column, notes on those without a name of their own, and the name of the index."""
    filled = max([_filled(values), *(_filled(row) for row in rows if len(row) == width)])
    names: list[str] = []
    notes: list[tuple[str, Note]] = []
    index = None
    for number in range(1, width + 1):
        given = values[number - 1] if number <= len(values) else ""
        name = given or f"column_{number}"
        if number > filled:
            notes.append((name, Note(Code.TRAILING_DELIMITERS, {"number": number})))
            name = ""
        elif number == 1 and given in _INDEX_NAMES and width > 1:
            index = name
            notes.append((name, Note(Code.UNNAMED_INDEX)))
        elif not given:
            notes.append((name, Note(Code.UNNAMED_COLUMN, {"column": name, "number": number})))
        elif given in names:
            times = 2
            while f"{given}.{times}" in (*names, *values):
                times += 1
            name = f"{given}.{times}"
            notes.append((name, Note(Code.REPEATED_NAME, {"column": name, "name": given, "number": number})))
        names.append(name)
    return tuple(names), tuple(notes), index


def _ragged(place: str, came: int, needed: int) -> DataError:
    return DataError(
        f"{place}, row 1 below the header: it has {came} values and the header has {needed}; every row needs one value "
        "per column; quote values that contain the delimiter, such as numbers with a decimal comma",
        code="csv-ragged-row",
    )
