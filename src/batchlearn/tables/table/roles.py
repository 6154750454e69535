"""What the columns of a table are for, and whether they can be that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import Column, Kind, name_advice, unsupported, without_kind

if TYPE_CHECKING:
    from batchlearn.tables.table import Table

ROLES = ("target", "time", "group", "weight", "offset", "exposure")


@dataclass(frozen=True)
class Roles:
    """What columns are for; each names a column of the table.

    Flags of the command line and keys of a project's file are made from these fields: `help` and `example` are theirs.
    """

    target: str | None = field(default=None, metadata={"help": "Column to predict.", "example": "y"})
    time: str | None = field(default=None, metadata={"help": "Column that orders the rows.", "example": "t"})
    group: str | None = field(
        default=None, metadata={"help": "Column of what rows belong to: a person, a machine.", "example": "store"}
    )
    weight: str | None = field(
        default=None, metadata={"help": "Column that says how much each row counts.", "example": "amount"}
    )
    offset: str | None = field(
        default=None, metadata={"help": "Column added to the linear predictor.", "example": "known_effect"}
    )
    exposure: str | None = field(
        default=None, metadata={"help": "Column whose logarithm is added to it.", "example": "days"}
    )
    drop: tuple[str, ...] = field(
        default=(), metadata={"help": "Columns to leave out: a,b. Repeatable.", "example": ("id",)}
    )

    @property
    def apart(self) -> frozenset[str]:
        """The columns that are no features."""
        named = (self.target, self.weight, self.offset, self.exposure)
        return frozenset([*(name for name in named if name is not None), *self.drop])


def check_roles(table: Table, stored: Sequence[str]) -> None:
    """Refuse roles whose column is missing, of the wrong kind or already has another role."""
    holders: dict[str, str] = {}
    for role in ROLES:
        name = getattr(table.roles, role)
        if name is None:
            continue
        if name in table.source.lacking:
            raise DataError(
                f"the {role} column {quoted(name)} is not in all files of {quoted(table.name)}; add it to each, or "
                "leave the files out that lack it",
                code="files-differ",
            )
        if (stored_as := without_kind(table.source.schema).get(name)) is not None:
            raise unsupported(name, stored_as, quoted(table.name))
        column = table.column(name)
        holder = "drop" if name in table.roles.drop else holders.setdefault(name, role)
        if holder != role:
            raise UsageError(
                f"column {quoted(name)} was given as {holder} and as {role}; a column has one role: leave one out",
                code="role-repeated",
            )
        if role == "time" and column.kind not in (Kind.TIMESTAMP, Kind.NUMBER):
            raise _wrong_kind(column, role, "timestamps or numbers: write times as 2008-01-31 23:59:00")
        if role in ("weight", "offset", "exposure") and column.kind is not Kind.NUMBER:
            raise _wrong_kind(column, role, "numbers: name another column")
    known = {*stored, *(column.name for column in table.columns)}
    for name in table.roles.drop:
        if name not in known:
            raise missing(name, sorted(known), table.name)


def _wrong_kind(column: Column, role: str, needed: str) -> DataError:
    return DataError(
        f"the {role} column {quoted(column.name)} is a {column.kind} (stored as {column.stored_as}); it must hold "
        f"{needed}",
        code="role-kind",
    )


def missing(name: str, names: list[str], table: str) -> DataError:
    """Make the error for a column that is not in the table."""
    what = f"there is no column {quoted(name)} in {quoted(table)}; {name_advice(name, names)}"
    return DataError(what, code="column-missing")
