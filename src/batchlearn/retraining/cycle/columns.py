"""What became of the columns of a source since the champion's training: those it reads, and those it does not.

A champion whose columns are there goes on. One that is gone, or of another kind, is more often a fault of the source
than a change of the world: it is an alarm, nothing is trained, and the champion stays.
"""

from __future__ import annotations

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.retraining.cycle.state import Champion
from batchlearn.tables.table import Table

# Refusals of a source whose columns are other ones than they were.
OF_COLUMNS = frozenset(
    {
        "column-missing",
        "column-kind",
        "role-kind",
        "target-kind",
        "unsupported-type",
        "files-differ",
        "time-zones-mixed",
    }
)


def columns_unfit(live: int | None, refusal: DataError) -> Note | None:
    """Return the alarm that a refusal is: of columns, where a version is live; else None."""
    if live is None or refusal.code not in OF_COLUMNS:
        return None
    return Note(Code.COLUMNS_UNFIT, {"version": live, "refusal": refusal.message})


def check_columns(champion: Champion, table: Table, added: Table) -> tuple[Note, ...]:
    """Say which columns that the champion does not read came, went or changed their kind.

    `table` is read as the champion reads it, and so are the rows that were `added`, of which alone rows are read.
    DataError where a column that it reads is gone or of another kind, or no value of the new rows is what it was.
    """
    model = champion.model
    for name in model.lacking(table):
        files = table.source.lacking.get(name)
        if files is not None and name not in model.encoding.may_be_missing:
            lack = "1 file lacks" if files == 1 else f"{files:,} files lack"
            raise DataError(f"{lack} column {quoted(name)}, which the model reads.", code="column-missing")
    model.check(table)
    gone = sorted({column.name for column in table.absent} & set(model.columns))
    if gone:
        raise DataError(f"{table.name} has no column {quoted(gone[0])}, which the model reads.", code="column-missing")
    scan, readable = added.scan(model.columns), dict.fromkeys(model.columns, 0)
    for batch in scan:
        for name in model.columns:
            readable[name] += len(batch.column(name)) - batch.column(name).null_count
    odd = next((name for name in model.columns if scan.unreadable[name] and not readable[name]), None)
    if odd is not None:
        raise DataError(f"Of column {quoted(odd)} {scan.said_of_unreadable(odd)}, and no other.", code="column-kind")
    if champion.columns is None:
        return ()
    read = {model.target.column, *model.columns, *model.readings}
    before = {name: kind for name, kind in champion.columns.items() if name not in read}
    now = {use.name: None if use.kind is None else str(use.kind) for use in table.uses() if use.name not in read}
    came, left = [name for name in now if name not in before], [name for name in before if name not in now]
    kinds = {name: [before[name], kind] for name, kind in now.items() if before.get(name, kind) != kind}
    return (Note(Code.COLUMNS_CHANGED, {"came": came, "gone": left, "kinds": kinds}),) if came or left or kinds else ()
