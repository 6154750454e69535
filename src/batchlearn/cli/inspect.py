"""`batchlearn inspect`: how each column of a table would be read, without training."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import CommandResult
from batchlearn.cli.options import (
    AS_STORED,
    NO_ROLES,
    WHOLE,
    PartFlags,
    ReadingFlags,
    RoleFlags,
    files_of,
    rules_of,
)
from batchlearn.report.document import Document
from batchlearn.report.terms.columns import show_columns, show_inspection
from batchlearn.tables.table import Roles, open_by

FORMAT_VERSION = 1


def inspect(
    data: Annotated[str, Parameter(help='A table: a file, a folder, or a pattern such as "data/*.parquet".')],
    /,
    *,
    target: Annotated[str | None, Parameter(help="Column to predict.")] = None,
    roles: RoleFlags = NO_ROLES,
    reading: ReadingFlags = AS_STORED,
    part: PartFlags = WHOLE,
) -> CommandResult:
    """Show how each column of a table would be read, and which would be left out.

    Text is read once to see what it holds; of other files the types alone are looked at. What only the rows can tell,
    such as that a column is constant, `train` says.
    """
    table = open_by(files_of(data, part), Roles(target, **vars(roles)), rules_of(reading))
    columns = table.uses()
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "data": data,
        "lines_passed_over": dict(table.lines_passed_over),
        "columns": [column.to_json() for column in columns],
    }
    document = Document()
    document.title(f"{table.name}: {len(columns):,} columns")
    show_inspection(document, columns, table.roles)
    show_columns(document, columns, table.lines_passed_over)

    return CommandResult(record, document)
