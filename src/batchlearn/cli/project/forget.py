"""`batchlearn forget`: a verified refit without some rows."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from batchlearn.artifacts.lock import one_at_a_time
from batchlearn.cli.arguments import CommandResult
from batchlearn.cli.progress import watch
from batchlearn.cli.project.retrain import DEFAULT_CYCLE, CycleOptions, cycle_context
from batchlearn.formatting.numbers import rounded_up
from batchlearn.report.document import Document
from batchlearn.retraining.project import open_project
from batchlearn.retraining.shell.forget import Forgotten, forget_rows
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within


def forget(
    *,
    where: Annotated[str, Parameter(help='Which rows, as a condition in SQL\'s words: "user_id = 42".')],
    why: Annotated[str, Parameter(help="Reason for the ledger.")] = "asked for",
    cycle: CycleOptions = DEFAULT_CYCLE,
) -> CommandResult:
    """Train again without some rows, make that version live, and list what still holds them.

    The rows are left out of every later training too. This is a verified refit: the certificate bounds how far the new
    model is from training without them. Nothing is deleted.
    """
    opened = open_project(cycle.project)
    with one_at_a_time(opened.root), within(budget_of(cycle.memory)):
        context = cycle_context(opened, cycle)
        found = watch(forget_rows(context, where, why))
    return CommandResult(found.to_json(), _show(found))


def _show(found: Forgotten) -> Document:
    document = Document()
    document.title(f"Version {found.version}, trained without the rows where {found.where}, is live")
    bound = found.certificate["loss_bound"]
    if bound is None:
        document.line("It was trained from scratch without them; its estimator has no certificate.")
    else:
        document.line(f"A verified refit: it equals training without them within {rounded_up(bound):.1e} of the loss.")
    if found.held:
        document.heading("What still holds the rows")
    for one in found.held:
        rows = "an unknown number of rows" if one.rows is None else f"{one.rows:,} rows"
        document.bullet(f"{one.what} ({rows}): {one.remedy}")
    return document
