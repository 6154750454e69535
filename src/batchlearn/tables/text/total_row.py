"""The last row of a table, or the first, that holds the totals of the others, as in exports of spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.tables.columns import Kind
from batchlearn.tables.readings import ColumnReading, parse

_WORDS = frozenset(
    (
        *("total", "totals", "sum", "sums", "all", "overall", "grand total", "overall total", "in total"),
        *("gesamt", "gesamtsumme", "summe", "insgesamt", "suma", "totale", "total general", "total général"),
    )
)
_ROUNDING = 1e-9


def label_of_total(last: Mapping[str, str | None], readings: Mapping[str, ColumnReading], *, blank: bool) -> str | None:
    """Return the column of a row in which a total would say what it is, or leave that out if `blank`; else None."""
    for name, text in last.items():
        if text is not None and text.strip().strip(":").lower() in _WORDS:
            return name
    if not blank:
        return None
    texts = [name for name, reading in readings.items() if reading.kind is Kind.CATEGORY and name in last]
    first = next(iter(last))
    if not (last[first] or "").strip() or (texts and all(not (last[name] or "").strip() for name in texts)):
        return first if not (last[first] or "").strip() else texts[0]
    return None


def condition_without(label: str, text: str, reading: ColumnReading) -> str:
    """Return the condition that keeps every row but those with this label; rows without any label stay."""
    name = '"' + label.replace('"', '""') + '"'
    if reading.kind is not Kind.CATEGORY:
        # There the word is no value.
        return f"{name} IS NOT NULL"
    said = text.strip().replace("'", "''")
    return f"{name} <> '{said}' OR {name} IS NULL"


def holds_sums(
    last: Mapping[str, str | None], readings: Mapping[str, ColumnReading], batches: Iterable[pa.RecordBatch]
) -> bool:
    """Whether every number of the last row is the sum of the others, over all rows as texts: one pass.

    The last row is among them; a sum may be rounded to the digits that it is written with.
    """
    values = {
        name: value
        for name, reading in readings.items()
        if reading.kind is Kind.NUMBER and name in last and (value := _number(last[name], reading)) is not None
    }
    if not values:
        return False
    totals, sizes = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for batch in batches:
        for name in values:
            numbers, _ = parse(batch.column(name), readings[name])
            totals[name] += pc.sum(numbers).as_py() or 0.0
            sizes[name] += pc.sum(pc.abs(numbers)).as_py() or 0.0
    some = False
    for name, value in values.items():
        digits = (
            len((last[name] or "").rpartition(readings[name].decimal)[2].rstrip("%$€ "))
            if (readings[name].decimal in (last[name] or ""))
            else 0
        )
        # Twice the value, for the sum of all rows has it once more.
        if abs(totals[name] - 2.0 * value) > 0.51 * 10.0**-digits + _ROUNDING * sizes[name]:
            return False
        some = some or abs(value) > 0.0
    return some


def _number(text: str | None, reading: ColumnReading) -> Any:
    return parse(pa.array([text], pa.string()), reading)[0][0].as_py()
