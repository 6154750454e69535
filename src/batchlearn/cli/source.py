"""Opening a table for a model that exists: what the model knows about its columns need not be typed again."""

from __future__ import annotations

from batchlearn.cli.options import JudgingOptions, RowOptions, column_names, null_texts
from batchlearn.data.columns import Kind
from batchlearn.data.table import Table, read
from batchlearn.models.linear import LinearModel


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
    table = read(
        data, where=rows.where, null=null_texts(rows.null), categories=categories, drop=column_names(drop)
    )
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
