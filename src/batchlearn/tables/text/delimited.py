"""CSV and TSV files (RFC 4180, and what people make of it): what their columns are, and their rows as texts."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.columns import Kind
from batchlearn.tables.files import Files
from batchlearn.tables.readings import ColumnReading, ColumnRemark
from batchlearn.tables.sources.folders import FolderColumns
from batchlearn.tables.text.inspection import Inspected, TextRules, inspected
from batchlearn.tables.text.rows import TextFile, is_padded_note
from batchlearn.tables.text.survey import ColumnSurvey
from batchlearn.tables.text.total_row import condition_without, holds_sums, label_of_total


class DelimitedSource:
    """The rows of CSV or TSV files, one file after the other, each value as its text.

    How the texts are read is found over all rows when the files are opened, unless `like` says it: then only columns
    that it does not name are looked at, in the first block.
    """

    def __init__(
        self,
        files: Files,
        rules: TextRules,
        roles: Mapping[str, str],
        folders: FolderColumns,
        like: Mapping[str, ColumnReading] | None = None,
    ) -> None:
        self._given = files
        self._rules = rules
        self._roles = roles
        self._files = [TextFile(path, rules.encoding, header=rules.header) for path in files.paths]
        first = self._files[0]
        headers = [[name for name in file.layout.names if name] for file in self._files]
        self._names = tuple(dict.fromkeys(name for names in headers for name in names))
        """Those of the first file, then those that later files add."""
        counts = Counter(name for names in headers for name in names)
        self.lacking: Mapping[str, int] = {
            name: len(headers) - counts[name] for name in self._names if counts[name] < len(headers)
        }
        self._folders = folders.beside(self._names)
        for file in self._files:
            if file.layout.delimiter != first.layout.delimiter or not {*file.layout.names} & {*self._names}:
                raise DataError(
                    f"{file.place} is delimited by {quoted(file.layout.delimiter)} and the first file by "
                    f"{quoted(first.layout.delimiter)}; all files of one table need one delimiter: write it again, or "
                    "leave it out",
                    code="files-differ",
                )
        if like is None:
            found, totals = self._inspected()
        else:
            found = self._looked_at(like)
            totals = self._without_totals({**{name: each.reading for name, each in found.items()}, **like})
        self.readings: Mapping[str, ColumnReading] = {
            name: like[name] if like is not None and name in like else found[name].reading for name in self._names
        }
        """How the texts of each column are read."""
        index = first.layout.index
        unused = (Code.UNNAMED_INDEX, Code.TRAILING_DELIMITERS)
        named = [
            ColumnRemark(name, note.code not in unused, note, None if note.code in unused else flag("--drop", name))
            for name, note in first.layout.notes
        ]
        read = [remark for name, each in found.items() if name != index for remark in each.remarks]
        self.remarks: tuple[ColumnRemark, ...] = (*named, *read, *totals)
        """What is worth saying of how columns are read; nothing of those that `like` names."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, all of them text; then what names of folders carry."""
        return pa.schema([*((name, pa.string()) for name in self._names), *self._folders.fields])

    @property
    def text_encoding(self) -> str | None:
        """The encoding that was given; None is what the first bytes say, else UTF-8."""
        return self._rules.encoding

    @property
    def lines_passed_over(self) -> Mapping[str, int]:
        """Lines that are neither header nor rows, by reason, as of the last reading of each file to its end."""
        total: Counter[str] = Counter()
        for file in self._files:
            total.update(file.passed_over)
        return dict(total)

    @property
    def has_rows(self) -> bool:
        """Whether rows must have been there: without `like` a file without any was refused when it was looked at."""
        return True

    def like(self, readings: Mapping[str, ColumnReading]) -> DelimitedSource:
        """Return the same rows with some columns read otherwise."""
        other = copy.copy(self)
        other.readings = {name: readings.get(name, reading) for name, reading in self.readings.items()}
        return other

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError where a row has more or fewer values than the header has names."""
        stored = self._folders.others(columns, self._names)
        for number, file in enumerate(self._files):
            for batch in self._of_file(file, stored):
                yield self._folders.added(batch, columns, number)

    def check(self) -> None:
        """Raise DataError if a file changed since it was first looked at."""
        for file in self._files:
            file.stamp.check()

    def _of_file(self, file: TextFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read one file, with nothing in the columns that it lacks."""
        there = [name for name in columns if name in file.layout.names or name in file.unnamed]
        # Where it lacks them all, some column still has to tell the number of rows.
        for batch in file.batches(there or [name for name in file.layout.names if name][:1]):
            if there == list(columns):
                yield batch
            else:
                nothing = pa.nulls(batch.num_rows, pa.string())
                arrays = [batch.column(name) if name in there else nothing for name in columns]
                yield pa.RecordBatch.from_arrays(arrays, names=list(columns))

    def _surveys(self, known: Collection[str] = ()) -> dict[str, ColumnSurvey]:
        rules, roles = self._rules, self._roles
        return {
            name: ColumnSurvey(frozenset(rules.null), rules.date_format, is_time=roles.get(name) == "time")
            for name in self._names
            if name not in known
        }

    def _looked_at(self, like: Mapping[str, ColumnReading]) -> dict[str, Inspected]:
        """Look at the first texts of the columns that `like` does not name."""
        surveys = self._surveys(like)
        for file in self._files if surveys else ():
            for batch in self._of_file(file, list(surveys)):
                for name, survey in surveys.items():
                    survey.add(batch.column(name))
                return self._readings(surveys)
        return self._readings(surveys)

    def _inspected(self) -> tuple[dict[str, Inspected], tuple[ColumnRemark, ...]]:
        """Look at the texts of all columns of all rows."""
        surveys, rows = self._surveys(), 0
        for file in self._files:
            of_file = 0
            for batch in self._of_file(file, [*surveys, *file.unnamed]):
                file.refuse_unnamed(batch, of_file + 1)
                for name, survey in surveys.items():
                    survey.add(batch.column(name))
                of_file += batch.num_rows
            rows += of_file
        if not rows:
            raise DataError(
                f"{self._files[0].place} has a header and 0 rows; at least one row is needed: check how it was written",
                code="no-rows",
            )
        found = self._readings(surveys)
        remarks = self._without_totals({name: each.reading for name, each in found.items()}, surveys)
        return self._readings(surveys) if any(file.rows or file.total_first for file in self._files) else found, remarks

    def _without_totals(
        self, readings: Mapping[str, ColumnReading], surveys: Mapping[str, ColumnSurvey] | None = None
    ) -> tuple[ColumnRemark, ...]:
        """Pass over first and last rows that hold the sums of the others; return what is worth saying of some.

        Every row is read only where an end of a file looks like one.
        """
        remarks: list[ColumnRemark] = []
        for number, file in enumerate(self._files):
            names = [name for name in file.layout.names if name]
            for place in ("first", "last"):
                near, blank = (file.near_end(), True) if place == "last" else (file.near_start(), False)
                note = place == "last" and near is not None and is_padded_note(near)
                if near is None or not (note or label_of_total(near, readings, blank=blank) is not None):
                    continue
                row, rows = self._row_at(place, file)
                if row is None or rows <= 2:
                    continue
                texts = {name: row.column(name)[0].as_py() for name in names}
                label, note = label_of_total(texts, readings, blank=blank), note and is_padded_note(texts)
                if note or (label is not None and holds_sums(texts, readings, file.batches(names))):
                    if place == "last":
                        file.rows, file.last = rows - 1, "footnote" if note else "total row"
                    else:
                        file.total_first = True
                    for name, survey in (surveys or {}).items():
                        survey.take_out(texts.get(name))
                elif label is None or (self._roles.get(label) == "target" and readings[label].kind is Kind.CATEGORY):
                    continue  # a class may be called "ALL"
                elif text := texts[label]:
                    said = Note(Code.TOTAL_ROW, {"column": label, "text": text, "place": place})
                    change = flag("--where", condition_without(label, text, readings[label]))
                    whole = self._folders.added(row, self.schema.names, number)
                    remarks.append(ColumnRemark(label, True, said, change, whole))
        return tuple(remarks)

    def _row_at(self, place: str, file: TextFile) -> tuple[pa.RecordBatch | None, int]:
        """Return the first or last row of a file, and how many rows it has."""
        row, rows = None, 0
        for batch in self._of_file(file, self._names):
            if place == "last" or row is None:
                row = batch.slice(batch.num_rows - 1 if place == "last" else 0, 1)
            rows += batch.num_rows
        return row, rows

    def _readings(self, surveys: Mapping[str, ColumnSurvey]) -> dict[str, Inspected]:
        semicolons = self._files[0].layout.delimiter == ";"
        return {
            name: inspected(name, survey, self._rules, self._roles.get(name), semicolons=semicolons)
            for name, survey in surveys.items()
        }
