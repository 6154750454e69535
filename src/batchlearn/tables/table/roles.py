"""What the columns of a table are for, and whether they can be that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Column, Kind, name_advice, unsupported, without_kind

if TYPE_CHECKING:
    from batchlearn.tables.table import Table

WeightKind = Literal["importance", "frequency"]
_MOST_HALF_LIVES = 40.0
ROLES = ("target", "time", "group", "weight", "offset", "exposure")


# What kinds the columns of some roles need to be of, and in words.
_NEEDED = {
    "time": ((Kind.TIMESTAMP, Kind.NUMBER), "timestamps or numbers: write times as 2008-01-31 23:59:00"),
    **dict.fromkeys(("weight", "offset", "exposure"), ((Kind.NUMBER,), "numbers: name another column")),
}


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
    weight_kind: WeightKind | None = field(
        default=None,
        metadata={
            "help": "importance, where only ratios of weights matter (unless given), or frequency: rows repeated.",
            "example": "frequency",
        },
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
    text: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Columns of free text, used by their words and word pairs: a,b. Repeatable.",
            "example": ("description",),
        },
    )

    @property
    def apart(self) -> frozenset[str]:
        """The columns that are no features."""
        named = (self.target, self.weight, self.offset, self.exposure)
        return frozenset([*(name for name in named if name is not None), *self.drop])

    @property
    def frequency(self) -> str | None:
        """The column that says how often each row occurs; None where weights are none or of importance."""
        return self.weight if self.weight_kind == "frequency" else None


@dataclass(frozen=True)
class Fading:
    """A row counts half as much for every half-life that lies between when it was seen and `as_of`.

    Both are on the scale of the time column. Rows that are older than 40 half-lives count as those of 40, 1e-12, so
    that products of weights do not vanish.
    """

    as_of: float
    half_life: float

    def faded(self, weight: Floats | None, time: Floats | None) -> Floats:
        """Return weights, (rows,), 1 unless given, by the times at which rows were seen; NaN where that is missing."""
        if time is None:
            raise UsageError(
                "Rows are to fade with time, and the table has no time column; name it with time= (--time).",
                code="no-time",
            )
        age = np.clip((self.as_of - time) / self.half_life, 0.0, _MOST_HALF_LIVES)
        return np.exp2(-age) if weight is None else weight * np.exp2(-age)


def check_roles(table: Table, stored: Sequence[str]) -> None:
    """Refuse roles whose column is missing, of the wrong kind or already has another role."""
    _check_weight_kind(table.roles)
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
            raise _role_repeated(name, holder, role)
        if role in _NEEDED and column.kind not in _NEEDED[role][0]:
            raise _wrong_kind(column, role, _NEEDED[role][1])
    twice = next((name for name in table.roles.text if name in table.roles.drop or name in holders), None)
    if twice is not None:
        raise _role_repeated(twice, holders.get(twice, "drop"), "text")
    known = {*stored, *(column.name for column in table.columns)}
    for name in table.roles.drop:
        if name not in known:
            raise missing(name, sorted(known), table.name)


def _check_weight_kind(roles: Roles) -> None:
    kind = roles.weight_kind
    if kind is not None and (kind not in get_args(WeightKind) or roles.weight is None):
        without = "" if roles.weight else ", and no column of weights was"
        raise UsageError(
            f"the kind of weights was given as {quoted(kind)}{without}; it needs to be importance or frequency, beside "
            "the column of weights (--weight)",
            code="weight-kind",
        )


def _role_repeated(name: str, holder: str, role: str) -> UsageError:
    return UsageError(
        f"column {quoted(name)} was given as {holder} and as {role}; a column has one role: leave one out",
        code="role-repeated",
    )


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
