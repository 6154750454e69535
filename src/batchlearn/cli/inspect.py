"""`batchlearn inspect`: how each column of a table would be read, without training."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.cli.arguments import Answer
from batchlearn.cli.options import AS_STORED, NO_ROLES, Json, ReadingFlags, RoleFlags, rules_of
from batchlearn.report.document import Document
from batchlearn.report.training.columns import show_columns, show_inspection
from batchlearn.tables.table import Roles, open_by

FORMAT_VERSION = 1


def inspect(
    data: Annotated[str, Parameter(help='Parquet, CSV or TSV: a file, a folder, or a pattern: "data/*.parquet".')],
    /,
    *,
    target: Annotated[str | None, Parameter(help="Column to predict.")] = None,
    roles: RoleFlags = NO_ROLES,
    reading: ReadingFlags = AS_STORED,
    json: Json = False,  # noqa: ARG001 - shown by --help; main reads the flag itself
) -> Answer:
    """Show how each column of a table would be read, and which would be left out.

    Text is read once to see what it holds; of other files the types alone are looked at. What only the rows can tell,
    such as that a column is constant, `train` says.
    """
    table = open_by(data, Roles(target, **vars(roles)), rules_of(reading))
    columns = table.uses()
    record: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "data": data,
        "lines_passed_over": dict(table.lines_passed_over),
        "columns": [column.to_json() for column in columns],
    }
    page = Document()
    page.title(f"{table.name}: {len(columns):,} columns")
    show_inspection(page, columns, table.roles)
    show_columns(page, columns, table.lines_passed_over)

    return Answer(record, page)
