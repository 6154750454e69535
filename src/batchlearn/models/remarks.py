"""What is worth saying of a table that a model reads: which of its values count as missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.readings import ColumnRemark
from batchlearn.tables.table import Table

if TYPE_CHECKING:
    from batchlearn.models.linear import LinearModel


def scoring_remarks(model: LinearModel, table: Table, unreadable: Mapping[str, int]) -> tuple[ColumnRemark, ...]:
    """Return a remark on each column that the table lacks, or of which so many values could not be read."""
    absent = {column.name for column in table.absent}
    notes = [Note(Code.TAKEN_AS_MISSING, {"column": name}) for name in model.lacking(table) if name in absent]
    for name, rows in unreadable.items():
        values = {"column": name, "kind": str(table.readings[name].kind), "rows": rows}
        notes.append(Note(Code.UNREADABLE_VALUES, values))
    return tuple(ColumnRemark(note.values["column"], True, note, None) for note in notes)
