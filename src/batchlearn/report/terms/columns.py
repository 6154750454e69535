"""What became of the columns of a table, and of the lines of its files that are no rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batchlearn.formatting.notes import Code
from batchlearn.formatting.numbers import count, listed
from batchlearn.report.document import Document
from batchlearn.tables.readings import ColumnUse
from batchlearn.tables.table.roles import ROLES, Roles

_MOST_LINES, _MOST_NAMES = 12, 6


def show_columns(page: Document, columns: Sequence[ColumnUse], passed_over: Mapping[str, int]) -> None:
    """Write which columns were left out or read in a special way, with the flag that changes it; nothing if none."""
    lines = [text for use in columns if (text := remark_of(use))]
    reasons: dict[str, list[str]] = {}
    for use, reason in left_out(columns):
        reasons.setdefault(reason, []).append(use.name)
    lines += [f"Left out: {listed(names, _MOST_NAMES)} ({reason})" for reason, names in reasons.items()]
    if lines:
        page.heading("Columns left out, or read in a special way")
    for line in lines[:_MOST_LINES]:
        page.bullet(line)
    if len(lines) > _MOST_LINES:
        page.line(f"and {count(len(lines) - _MOST_LINES, 'more line')}; --json lists every column", "dim")
    if passed_over:
        page.line(lines_sentence(passed_over))


def left_out(columns: Sequence[ColumnUse]) -> list[tuple[ColumnUse, str]]:
    """Return the columns that say nothing, each with the reason, where no flag changes that."""
    return [
        (use, str(remark.note.values["reason"]))
        for use in columns
        for remark in use.remarks
        if remark.note.code is Code.LEFT_OUT and remark.change is None
    ]


def remark_of(use: ColumnUse) -> str:
    """Return what is said of one column in a sentence or more, with the flag that changes it; nothing if nothing is."""
    said = [remark for remark in use.remarks if remark.note.code is not Code.LEFT_OUT or remark.change is not None]
    change = use.change
    text = " ".join(str(remark.note) for remark in said)
    return text if change is None or change in text else f"{text.rstrip('.')}; to change it: {change}"


def lines_sentence(passed_over: Mapping[str, int]) -> str:
    """Say which lines of text files are neither header nor rows."""
    return f"Lines passed over: {', '.join(count(lines, reason) for reason, lines in passed_over.items())}"


def show_inspection(page: Document, columns: Sequence[ColumnUse], roles: Roles) -> None:
    """Write every column with what it is read as and what it is used as."""
    named = {getattr(roles, role): role for role in ROLES}
    named |= dict.fromkeys(roles.drop, "dropped")
    rows = [
        [
            use.name,
            "nothing" if use.kind is None else str(use.kind),
            named.get(use.name, "feature" if use.used else "left out"),
        ]
        for use in columns
    ]
    page.table(["column", "read as", "used as"], rows, left=3)
