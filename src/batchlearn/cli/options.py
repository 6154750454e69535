"""The options that commands share, and what they say about a table; each class becomes flags of its own."""

from __future__ import annotations

import csv
import datetime
import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from batchlearn.data.target import Class
from batchlearn.errors import UsageError, quoted
from batchlearn.models.decision import Costs
from batchlearn.models.linear import LinearModel
from batchlearn.objectives.class_weights import BALANCED
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import Table, read


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


def column_names(given: Sequence[str]) -> tuple[str, ...]:
    """Split "a,b" at its commas; a name that holds a comma is written in double quotes, as in CSV."""
    names = [name.strip() for parts in csv.reader(given, skipinitialspace=True) for name in parts]
    return tuple(dict.fromkeys(name for name in names if name))


def null_texts(given: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that mean a missing value: the empty one, and those given."""
    return ("", *column_names(given))


def class_weight_rule(given: Sequence[str]) -> str | dict[Class, float] | None:
    """Read "balanced" or "yes=5,no=1"; a label that holds a comma is written in double quotes with its weight."""
    parts = [part.strip() for line in csv.reader(given, skipinitialspace=True) for part in line if part.strip()]
    if not parts or parts == [BALANCED]:
        return BALANCED if parts else None
    rule: dict[Class, float] = {}
    for part in parts:
        label, sign, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            sign = ""
        if not sign or label in rule:
            raise UsageError(
                f"--class-weight came with {quoted(part)}; it takes {BALANCED}, or each label once with its weight: "
                "yes=5,no=1.",
                code="class-weight-rule",
            )
        rule[label.strip()] = weight
    return rule


Names = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Json = Annotated[Flag, Parameter(help="Print one JSON object instead of text.")]
Count = Annotated[int, Parameter(converter=whole_number)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """Which rows are read, and how missing values are written in CSV files."""

    where: Annotated[str | None, Parameter(help="Keep the rows that meet a condition in SQL's words.")] = None
    null: Annotated[Names, Parameter(help="Texts that mean a missing value in CSV files, besides nothing: NA,.")] = ()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """The columns by which an evaluation orders, groups and weighs rows."""

    time: Annotated[str | None, Parameter(help="Column that orders the rows.")] = None
    group: Annotated[str | None, Parameter(help="Column of what rows belong to: a person, a machine.")] = None
    weight: Annotated[str | None, Parameter(help="Column that says how much each row counts.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """What the other columns are."""

    drop: Annotated[Names, Parameter(help="Columns to leave out: a,b. Repeatable.")] = ()
    categories: Annotated[Names, Parameter(help="Columns of numbers that name categories: a,b. Repeatable.")] = ()
    offset: Annotated[str | None, Parameter(help="Column added to the linear predictor.")] = None
    exposure: Annotated[str | None, Parameter(help="Column whose logarithm is added to it.")] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """How to train; the defaults need no tuning."""

    loss: Annotated[
        str | None,
        Parameter(help="logistic, softmax, squared, poisson, gamma, tweedie or huber; follows from the target."),
    ] = None
    power: Annotated[
        float | None, Parameter(help="Of the Tweedie loss, above 1 and below 2; chosen by the data unless given.")
    ] = None
    threshold: Annotated[
        float | None, Parameter(help="Of the Huber loss, in units of the target; chosen by the data unless given.")
    ] = None
    alpha: Annotated[
        float | None,
        Parameter(help="Strength of the penalty, of a plain linear model then; chosen by the data unless given."),
    ] = None
    tolerance: Annotated[
        float | None, Parameter(help="Bound to reach, times the loss of the mean; exit code 7 if it is not.")
    ] = None
    batch_size: Annotated[str, Parameter(help="Rows an update sees: full for all, 1 for online, or 32 to 512.")] = (
        "full"
    )
    holdout: Annotated[float, Parameter(help="Share of the latest rows to evaluate on.")] = 0.2
    split: Annotated[
        str | None, Parameter(help="Hold out by time, group or random; time, else group, unless given.")
    ] = None
    class_weight: Annotated[Names, Parameter(help="What classes count in training: balanced, or LABEL=W,LABEL=W.")] = ()

    cost_false_positive: Annotated[
        float | None, Parameter(help="Cost of deciding for the second class where the first is true.")
    ] = None
    cost_false_negative: Annotated[
        float | None, Parameter(help="Cost of deciding for the first class where the second is true.")
    ] = None

    fee: Annotated[
        float | None,
        Parameter(help="Cost of a person's look at a row; rows more uncertain than that are left to people."),
    ] = None

    @property
    def costs(self) -> Costs | None:
        """The costs of wrong decisions; UsageError where one of them is missing."""
        if self.cost_false_positive is None and self.cost_false_negative is None:
            if self.fee is not None:
                raise UsageError(
                    "A --fee for a person's look at a row was given without the costs it is weighed against; add "
                    "--cost-false-positive and --cost-false-negative, in the same units.",
                    code="cost-missing",
                )
            return None
        if self.cost_false_positive is None or self.cost_false_negative is None:
            missing = "negative" if self.cost_false_negative is None else "positive"
            raise UsageError(
                f"One cost was given and --cost-false-{missing} is missing; both are needed, because only their ratio "
                "decides.",
                code="cost-missing",
            )
        return Costs(self.cost_false_positive, self.cost_false_negative, self.fee)


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
    json: Annotated[Flag, Parameter(help="Print one JSON object instead of text.")] = False


ALL_ROWS = RowOptions()
UNJUDGED = JudgingOptions()
ALL_FEATURES = FeatureOptions()
DEFAULT_RECIPE = RecipeOptions()
DEFAULT_RUN = RunOptions()


def open_for(
    model: LinearModel,
    data: str,
    rows: RowOptions,
    judging: JudgingOptions | None = None,
    drop: tuple[str, ...] = (),
) -> Table:
    """Open a table whose categories are the model's, whatever they are stored as.

    With `judging` the table has time, group and weight: as given, else as in training where the table has them.
    """
    categories = [name for name, kind in model.encoding.kinds.items() if kind is Kind.CATEGORY]
    table = read(data, where=rows.where, null=null_texts(rows.null), categories=categories, drop=column_names(drop))
    if judging is None:
        return table
    there = {column.name for column in table.columns}
    if any(isinstance(value, str) for value in model.target.classes) and model.target.column in there:
        categories.append(model.target.column)
    known = {role: name for role in ("time", "group", "weight") if (name := getattr(model.roles, role)) in there}
    return read(
        data,
        time=judging.time or known.get("time"),
        group=judging.group or known.get("group"),
        weight=judging.weight or known.get("weight"),
        where=rows.where,
        null=null_texts(rows.null),
        categories=categories,
        drop=column_names(drop),
    )
