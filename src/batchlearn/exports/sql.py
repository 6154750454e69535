"""A model as one SELECT of plain SQL, as DuckDB and PostgreSQL read it: CASE expressions and sums, no function of ours.

A subquery reads each column as a number, a text or the clock's time; the next one sums what its values add; the last
one makes predictions. Numbers are written with an exponent: a literal such as 0.1 would be a decimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from batchlearn.data.bins import BinTerm, NumberTerm
from batchlearn.data.encoding import CalendarTerm, LevelTerm, PairTerm, SingleTerm
from batchlearn.data.target import Task, class_name
from batchlearn.errors import UsageError
from batchlearn.exports.exportable import group_coefficients, linear
from batchlearn.kernels.design import Floats
from batchlearn.models.linear import LinearModel
from batchlearn.models.links import INVERSE_LINKS, PROBABILITIES, identity
from batchlearn.models.model import Model
from batchlearn.tables.columns import Kind, floats
from batchlearn.tables.readings import ColumnReading

MOST_COEFFICIENTS = 2_000
# exp() beyond this overflows or underflows, which PostgreSQL takes for an error.
_LARGEST_EXPONENT = "7e2"
# What a model takes for a space around a text, as Arrow does, as SQL in both: TRIM alone takes off but one of them in
# PostgreSQL, and no tab or end of line in DuckDB.
_SPACES = (*range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)
_SPACES += (0x202F, 0x205F, 0x3000)
_ANY_SPACE = " || ".join(f"CHR({code})" for code in _SPACES)
# Of the names of inner columns.
_INNER = "batchlearn"
# Monday is 0 to a model, 1 to ISO; January is 0.
_PARTS = {"hour": "HOUR FROM {}", "weekday": "ISODOW FROM {}", "month": "MONTH FROM {}"}
_FIRST = {"hour": 0, "weekday": 1, "month": 1}


def to_sql(model: Model, table: str = "rows", keep: Sequence[str] = ()) -> str:
    """Return a query that predicts the rows of a table.

    Args:
        model: What `load` or `train` gave; of at most 2,000 coefficients, those of each class counted.
        table: The table to predict, as SQL names it.
        keep: Columns of the table that come with the predictions; a query has no order of rows, so name what tells
            them apart. All that the model reads unless given.

    Returns:
        A SELECT without a semicolon, of the columns kept and then those that `LinearModel.to_table` makes.

    Raises:
        UsageError: The model is too large, or has what SQL cannot say: the message says what.

    Example:
        >>> import batchlearn as bl
        >>> from batchlearn.exports import to_sql
        >>> fit = bl.train(bl.read({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 7.5]}, target="y"))
        >>> print(to_sql(fit.model, "houses").splitlines()[0])
        SELECT "x", "batchlearn response 0" AS "prediction"
    """
    known = linear(model, "SQL")
    if known.coefficients.size > MOST_COEFFICIENTS:
        raise UsageError(
            f"The model has {known.coefficients.size:,} coefficients; as SQL it may have up to {MOST_COEFFICIENTS:,}. "
            "Use --to onnx or --to mlflow.",
            code="export-too-large",
        )
    kept = ", ".join(map(_name, keep or known.columns))
    read = [f"{expression} AS {_name(f'{_INNER} {name}')}" for name, expression in _read(known)]
    # PostgreSQL takes literals with an exponent for decimals of any length; what is summed is a double.
    sums = [
        f"CAST({_balanced(t)} AS DOUBLE PRECISION) AS {_name(f'{_INNER} {k}')}" for k, t in enumerate(_terms(known))
    ]
    etas, outputs = ([_name(f"{_INNER} {what}{k}") for k in range(len(sums))] for what in ("", "response "))
    responses = [f"{expression} AS {name}" for expression, name in zip(_responses(known, etas), outputs, strict=True)]
    predictions = [f"{expression} AS {_name(name)}" for name, expression in _predictions(known, outputs)]
    body = f"SELECT *, {_lines(read)}\n  FROM {table}"
    for columns in (sums, responses):
        # OFFSET 0 keeps PostgreSQL from computing a sum again wherever it is used: of three classes 100 times.
        body = f"SELECT {kept}, {_lines(columns)}\n  FROM ({body}\n  ) AS {_INNER} OFFSET 0"
    return f"SELECT {kept}, {', '.join(predictions)}\n  FROM ({body}\n  ) AS {_INNER}"


def predicted_in_duckdb(query: str, model: Model, batch: pa.RecordBatch) -> Floats:
    """Return the responses that a query of `to_sql` over the table "rows" gives in DuckDB, (n,) or (n, classes)."""
    import duckdb  # imported here: an extra

    known = linear(model, "SQL")
    rows = as_stored(known, batch)
    with duckdb.connect(":memory:") as connection:
        connection.register("rows", rows)
        found = connection.sql(query).to_arrow_table()
    classes = known.target.classes
    if not classes:
        return floats(found.column("prediction"))
    names = (
        [f"probability_{class_name(classes[1])}"]
        if len(classes) == 2
        else [f"probability {class_name(c)}" for c in classes]
    )
    columns = [floats(found.column(name)) for name in names]
    return columns[0] if len(classes) == 2 else np.column_stack(columns)


def as_stored(model: LinearModel, batch: pa.RecordBatch) -> pa.Table:
    """Return canonical rows as a database would have them: plain texts, and moments that say that they are."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    plain = {name: one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for name, one in columns}
    moments = {name: plain[name].cast(pa.timestamp("us", "UTC")) for name in model.encoding.zones if name in plain}
    return pa.table({**plain, **moments})


# --- what is read ---------------------------------------------------------------------------------------------------


def _read(model: LinearModel) -> Iterable[tuple[str, str]]:
    """Yield each column that the model reads with the expression that reads it as it does; NULL where missing."""
    for name in model.columns:
        column = _name(name)
        match model.encoding.kinds.get(name, Kind.NUMBER):
            case Kind.NUMBER:
                double = f"CAST({column} AS DOUBLE PRECISION)"
                yield name, f"NULLIF({double}, CAST('NaN' AS DOUBLE PRECISION))"
            case Kind.BOOLEAN:
                yield name, f"CASE WHEN {column} THEN 1e0 WHEN NOT {column} THEN 0e0 END"
            case Kind.CATEGORY:
                text = f"CAST({column} AS VARCHAR)"
                yield name, text if model.outer_spaces else f"TRIM(BOTH {_ANY_SPACE} FROM {text})"
            case Kind.TIMESTAMP:
                yield name, _clock(column, model.encoding.zones.get(name), model.readings.get(name))


def _clock(column: str, zone: str | None, reading: ColumnReading | None) -> str:
    """Return what the zone's clock showed; times without a zone are of the clock that the model reads them by."""
    clock, written = f"CAST({column} AS TIMESTAMP)", f"CAST({column} AS VARCHAR)"
    if zone is None:
        return clock
    own = zone if reading is None else reading.zoneless or zone
    shown = clock if own == zone else f"({clock} AT TIME ZONE {_text(own)}) AT TIME ZONE {_text(zone)}"
    # Both write a TIMESTAMPTZ with its distance from UTC, in whatever zone the session is; only by that can one query
    # tell it from a TIMESTAMP or a DATE, which have none.
    return (
        f"CASE WHEN {written} LIKE '%+%' OR {written} LIKE '%-%-%-%' "
        f"THEN CAST({written} AS TIMESTAMPTZ) AT TIME ZONE {_text(zone)} ELSE {shown} END"
    )


# --- what it adds ---------------------------------------------------------------------------------------------------


def _terms(model: LinearModel) -> Iterable[list[str]]:
    """Yield the summands of each output."""
    groups = list(zip(model.encoding.groups, group_coefficients(model), strict=True))
    for output, coefficients in enumerate(model.coefficients):
        terms, place = [_number(coefficients[0])], 1
        for number in model.encoding.numbers:
            terms.append(_of_number(number, coefficients[place : place + number.width]))
            place += number.width
        for group, table in groups:
            added = list(map(_number, table[:, output]))
            if isinstance(group, PairTerm):
                width, none = group.second.width, added[-1]
                rows = [added[at : at + width] for at in range(0, len(added) - 1, width)]
                terms.append(_of_level(group.first, [*(_of_level(group.second, [*row, none]) for row in rows), none]))
            else:
                terms.append(_of_level(group, added))
        if model.roles.offset is not None:
            terms.append(_inner(model.roles.offset))
        if model.roles.exposure is not None:
            terms.append(f"LN({_inner(model.roles.exposure)})")
        yield terms


def _of_number(term: NumberTerm, coefficients: Floats) -> str:
    """Return what a number adds: on a line, and where it is missing what its mean adds with the indicator."""
    column = _inner(term.column)
    line = f"({column} - {_number(term.mean)}) / {_number(term.deviation)} * {_number(coefficients[0])}"
    there, missing = 0.0, 0.0
    if term.width == 2:
        there, missing = coefficients[1] * (np.array([0.0, 1.0]) - term.shift[1]) / term.scale[1]
    return f"CASE WHEN {column} IS NULL THEN {_number(missing)} ELSE {line} + {_number(there)} END"


def _of_level(term: SingleTerm, values: list[str]) -> str:
    """Return a CASE over the codes of a term; `values` has one expression a code, the last one for "no level"."""
    column, none = _inner(term.column), values[-1]
    missing = values[-2] if term.missing else none
    match term:
        case BinTerm():
            arms = [
                f"{column} <= {_number(edge)} THEN {value}" for edge, value in zip(term.edges, values, strict=False)
            ]
            last = values[len(term.edges)]
            return f"CASE WHEN {column} IS NULL THEN {missing} WHEN {' WHEN '.join(arms)} ELSE {last} END"
        case LevelTerm():
            arms = [f"WHEN {_text(level)} THEN {value}" for level, value in zip(term.levels, values, strict=False)]
            if term.reference is not None:
                arms.append(f"WHEN {_text(term.reference)} THEN {none}")
            other, read = values[len(term.levels)] if term.rare else none, column
        case CalendarTerm():
            first = _FIRST[term.part]
            arms = [f"WHEN {value + first} THEN {added}" for value, added in zip(term.values, values, strict=False)]
            other, read = none, f"EXTRACT({_PARTS[term.part].format(column)})"
    known = f"CASE {read} {' '.join(arms)} ELSE {other} END" if arms else other
    return f"CASE WHEN {column} IS NULL THEN {missing} ELSE {known} END"


def _balanced(terms: Sequence[str]) -> str:
    """Return the sum of the terms, nested no deeper than the logarithm of their number: parsers have limits."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_balanced(terms[:half])}\n    + {_balanced(terms[half:])})"


# --- what is said ---------------------------------------------------------------------------------------------------


def _responses(model: LinearModel, etas: list[str]) -> list[str]:
    link = INVERSE_LINKS[model.loss]
    if len(etas) > 1:
        largest = f"GREATEST({', '.join(etas)})"
        exponentials = [f"EXP(GREATEST({eta} - {largest}, -{_LARGEST_EXPONENT}))" for eta in etas]
        return [f"{one} / ({' + '.join(exponentials)})" for one in exponentials]
    (eta,) = etas
    if link is identity:
        return [eta]
    if model.loss in PROBABILITIES:
        return [f"1e0 / (1e0 + EXP(-GREATEST(LEAST({eta}, {_LARGEST_EXPONENT}), -{_LARGEST_EXPONENT})))"]
    return [f"EXP(GREATEST({eta}, -{_LARGEST_EXPONENT}))"]


def _predictions(model: LinearModel, responses: list[str]) -> Iterable[tuple[str, str]]:
    """Yield the columns of `LinearModel.to_table` with their expressions."""
    classes, (response, *_) = model.target.classes, responses
    literals = [_literal(value) for value in classes]
    if len(classes) > 2:
        largest = f"GREATEST({', '.join(responses)})"
        pairs = zip(responses, literals, strict=True)
        yield "prediction", f"CASE {' '.join(f'WHEN {one} = {largest} THEN {value}' for one, value in pairs)} END"
        yield "probability", largest
        for one, value in zip(responses, classes, strict=True):
            yield f"probability {class_name(value)}", one
    elif model.target.task is Task.CLASSES:
        decided = f"CASE WHEN {response} > {_number(model.threshold)} THEN {literals[1]} ELSE {literals[0]} END"
        costs = model.costs
        if costs is None or costs.fee is None:
            yield "prediction", decided
            yield f"probability_{class_name(classes[1])}", response
            return
        wrong = f"(1e0 - {response}) * {_number(costs.false_positive)}, {response} * {_number(costs.false_negative)}"
        left = f"LEAST({wrong}) > {_number(costs.fee)}"
        yield "prediction", f"CASE WHEN NOT {left} THEN {decided} END"
        yield f"probability_{class_name(classes[1])}", response
        yield "left_to_people", left
    else:
        yield "prediction", response


# --- how it is written ----------------------------------------------------------------------------------------------


def _lines(columns: Sequence[str]) -> str:
    return ",\n  ".join(columns)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _inner(column: str) -> str:
    return _name(f"{_INNER} {column}")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _number(value: float) -> str:
    written = repr(float(value))
    return written if "e" in written else f"{written}e0"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    return _text(value) if isinstance(value, str) else _number(float(str(value)))
