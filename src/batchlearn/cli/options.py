"""The options that commands share, and what they say about a table; each class becomes flags of its own."""

from __future__ import annotations

import csv
import datetime
import getpass
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

from cyclopts import Parameter

from batchlearn.errors import quoted
from batchlearn.models.linear import LinearModel
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import ReadingRules, Roles, Table, read


def whole_number(_kind: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number; unlike the parser's own conversion, 1.5 is refused instead of rounded."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is no whole number.") from None


def who(given: str | None) -> str:
    """Return a name for the ledger: the one given, else that of the user, else the user's number."""
    try:
        return given or getpass.getuser()
    except (KeyError, OSError):  # in a container a user may have no name
        return f"user {os.getuid()}"


def moment(time: datetime.datetime | None = None) -> str:
    """Write a time, now unless given, for the ledger: ISO 8601 in UTC, to the second."""
    return (time or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def names(_kind: Any, tokens: Sequence[Any]) -> tuple[str, ...]:
    """Split "a,b" at its commas; a name that holds a comma is written in double quotes, as in CSV."""
    parts = csv.reader([str(token.value) for token in tokens], skipinitialspace=True)
    return tuple(dict.fromkeys(name.strip() for line in parts for name in line if name.strip()))


def typed(given: Sequence[str]) -> str:
    """Write names as they are typed: the other way round from `names`."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(given)
    return line.getvalue()


Names = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False, converter=names)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Count = Annotated[int, Parameter(converter=whole_number)]
Parts = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
# How fields are typed that hold something else.
_TYPED = {
    **dict.fromkeys(("drop", "categories", "null"), Names),
    "class_weight": Parts,
    "batch_size": str,
    "positive": str | None,
}


def flags_of(kind: type, *wanted: str) -> Any:
    """Return a class of flags: fields of a dataclass with their defaults, and the help of their metadata."""
    hints, given = get_type_hints(kind), {each.name: each for each in fields(kind)}
    flags = [
        (
            name,
            Annotated[_TYPED.get(name, hints[name]), Parameter(help=given[name].metadata["help"])],
            field(default=() if name == "class_weight" else given[name].default),
        )
        for name in wanted
    ]
    # A class of the module `types`, which is the default, is taken for a value of one word.
    home = {"__module__": __name__}
    return Parameter(name="*")(
        make_dataclass(f"{kind.__name__}Flags", flags, namespace=home, frozen=True, kw_only=True)
    )


if TYPE_CHECKING:
    RoleFlags: TypeAlias = Roles
    JudgingFlags: TypeAlias = Roles
    FeatureFlags: TypeAlias = Roles
    ReadingFlags: TypeAlias = ReadingRules
    RowFlags: TypeAlias = ReadingRules
else:
    RoleFlags = flags_of(Roles, "time", "group", "weight", "weight_kind", "drop", "offset", "exposure")
    JudgingFlags = flags_of(Roles, "time", "group", "weight", "weight_kind")
    FeatureFlags = flags_of(Roles, "group", "weight", "weight_kind", "drop", "offset", "exposure")
    ReadingFlags = flags_of(ReadingRules, "categories", "where", "null")
    RowFlags = flags_of(ReadingRules, "where", "null")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run, and where the model goes."""

    output: Annotated[
        str | None, Parameter(help="Folder of the model; models/TARGET-N, the first free number, unless given.")
    ] = None
    force: Annotated[Flag, Parameter(help="Replace the output where it exists.")] = False
    seed: Annotated[Count, Parameter(help="Seed of whatever is drawn at random.")] = 0
    threads: Annotated[Count | None, Parameter(help="Threads; the cores, up to 8, unless given.")] = None


NO_ROLES, UNJUDGED, ALL_FEATURES = RoleFlags(), JudgingFlags(), FeatureFlags()
AS_STORED, ALL_ROWS = ReadingFlags(), RowFlags()
DEFAULT_RUN = RunOptions()


def open_table(data: str, target: str, roles: RoleFlags, reading: ReadingFlags) -> Table:
    """Open the table that a model is to be trained on."""
    given = {**vars(reading), "null": ("", *reading.null)}
    return read(data, target=target, **vars(roles), **given)


def open_for(
    model: LinearModel,
    data: str,
    rows: RowFlags,
    judging: JudgingFlags | None = None,
    drop: tuple[str, ...] = (),
) -> Table:
    """Open a table whose categories are the model's, whatever they are stored as.

    With `judging` the table has time, group and weight: as given, else as in training where the table has them.
    """
    categories = [name for name, kind in model.encoding.kinds.items() if kind is Kind.CATEGORY]
    table = read(data, where=rows.where, null=("", *rows.null), categories=categories, drop=drop)
    if judging is None:
        return model.as_read(table)
    there = {column.name for column in table.columns}
    if any(isinstance(value, str) for value in model.target.classes) and model.target.column in there:
        categories.append(model.target.column)
    known = {role: name for role in ("time", "group", "weight") if (name := getattr(model.roles, role)) in there}
    opened = read(
        data,
        time=judging.time or known.get("time"),
        group=judging.group or known.get("group"),
        weight=judging.weight or known.get("weight"),
        weight_kind=judging.weight_kind or (model.roles.weight_kind if "weight" in known else None),
        where=rows.where,
        null=("", *rows.null),
        categories=categories,
        drop=drop,
    )
    return model.as_read(opened)
