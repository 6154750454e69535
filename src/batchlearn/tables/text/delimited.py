"""CSV and TSV files (RFC 4180, and what people make of it): what their columns are, and their rows as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa

from batchlearn.errors import DataError, quoted
from batchlearn.tables.columns import refuse_equal_names
from batchlearn.tables.files import Files
from batchlearn.tables.readings import ColumnReading, ColumnRemark
from batchlearn.tables.text.inspection import Inspected, TextRules, flag, inspected
from batchlearn.tables.text.rows import TextFile, is_padded_note
from batchlearn.tables.text.survey import ColumnSurvey
from batchlearn.tables.text.total_row import condition_without, holds_sums, label_of_total
from batchlearn.words.notes import Code, Note


class DelimitedSource:
    """The rows of CSV or TSV files, one file after the other, each value as its text.

    How the texts are read is found over all rows when the files are opened, unless `like` says it: then only columns
    that it does not name are looked at, in the first block.
    """

    untyped: ClassVar[bool] = True

    def __init__(
        self,
        files: Files,
        rules: TextRules,
        roles: Sequence[tuple[str, str]],
        like: Mapping[str, ColumnReading] | None = None,
    ) -> None:
        self._rules = rules
        self._roles = dict(roles)
        self._files = [TextFile(path, rules.encoding, header=rules.header) for path in files.paths]
        first = self._files[0]
        self._names = tuple(name for name in first.layout.names if name)
        refuse_equal_names(self._names, first.place)
        for file in self._files:
            if (
                sorted(file.layout.names) != sorted(first.layout.names)
                or file.layout.delimiter != first.layout.delimiter
            ):
                different = sorted({*file.layout.names} ^ {*first.layout.names})
                raise DataError(
                    f"{file.place} does not have the header of the first file ({quoted(different)} differ); all files "
                    "of one table need the same columns and delimiter: write it again, or leave it out",
                    code="files-differ",
                )
        found, totals = ({}, ()) if like is not None and {*self._names} <= {*like} else self._inspected(like)
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
        """The columns, all of them text."""
        return pa.schema([(name, pa.string()) for name in self._names])

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

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read file after file; DataError where a row has more or fewer values than the header has names."""
        for file in self._files:
            yield from file.batches(columns)

    def _inspected(
        self, like: Mapping[str, ColumnReading] | None
    ) -> tuple[dict[str, Inspected], tuple[ColumnRemark, ...]]:
        """Look at the texts of the columns that `like` does not name; at all columns of all rows where it is None."""
        rules, roles = self._rules, self._roles
        known = like or {}
        surveys = {
            name: ColumnSurvey(frozenset(rules.null), rules.date_format, is_time=roles.get(name) == "time")
            for name in self._names
            if name not in known
        }
        lasts: dict[TextFile, dict[str, str | None]] = {}
        rows: Counter[TextFile] = Counter()
        for file in self._files:
            for batch in file.batches([*surveys, *file.unnamed]):
                file.refuse_unnamed(batch, rows[file] + 1)
                for name, survey in surveys.items():
                    survey.add(batch.column(name))
                rows[file] += batch.num_rows
                if like is not None:
                    return self._readings(surveys), ()
                lasts[file] = {name: batch.column(name)[-1].as_py() for name in self._names}
        if like is None and not lasts:
            raise DataError(
                f"{self._files[0].place} has a header and 0 rows; at least one row is needed: check how it was written",
                code="no-rows",
            )
        found = self._readings(surveys)
        readings = {name: each.reading for name, each in found.items()}
        remarks: list[ColumnRemark] = []
        for file, last in lasts.items():
            label = label_of_total(last, readings) if rows[file] > 2 else None
            note = is_padded_note(last)
            if note or (label is not None and holds_sums(last, readings, file.batches(self._names))):
                file.rows, file.last = rows[file] - 1, "footnote" if note else "total row"
                for name, text in last.items():
                    surveys[name].take_out(text)
            elif label is not None and (text := last[label]):
                said = Note(Code.TOTAL_ROW, {"column": label, "text": text})
                condition = condition_without(label, text, readings[label])
                remarks.append(ColumnRemark(label, True, said, flag("--where", condition)))
        return self._readings(surveys) if any(file.rows for file in self._files) else found, tuple(remarks)

    def _readings(self, surveys: Mapping[str, ColumnSurvey]) -> dict[str, Inspected]:
        semicolons = self._files[0].layout.delimiter == ";"
        return {
            name: inspected(name, survey, self._rules, self._roles.get(name), semicolons=semicolons)
            for name, survey in surveys.items()
        }
