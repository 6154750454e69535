"""The sentences of notes on how columns are read, by the value of their code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchlearn.errors import quoted
from batchlearn.formatting.names import in_short
from batchlearn.formatting.numbers import in_ascii, listed, plain, rounded_down

_MOST_TEXTS = 5


def _texts(texts: Mapping[str, int]) -> str:
    """Show texts with how often each occurs, the most frequent first."""
    shown = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(shown) - _MOST_TEXTS:,} more" if len(shown) > _MOST_TEXTS else ""
    return ", ".join(f"{quoted(text, 40)} ({rows:,})" for text, rows in shown[:_MOST_TEXTS]) + more


def called(kind: str) -> str:
    """Return what sentences call a kind of column."""
    return "time" if kind == "timestamp" else kind


def _rows(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _listed(texts: Sequence[str]) -> str:
    more = ", ..." if len(texts) > _MOST_TEXTS else ""
    return ", ".join(quoted(text, 40) for text in texts[:_MOST_TEXTS]) + more


def _order_of_date(column: str, example: str, forms: Sequence[str]) -> str:
    choices = " or ".join(f'--date-format "{form}"' for form in forms)
    return f"'{column}' was left out: it holds dates such as {quoted(example)}, which may be {choices}."


def _leak(target: str, levels: Sequence[Mapping[str, Any]], change: str) -> str:
    named = [
        f"{one['level']} ({one['rows']:,} rows, {one['share']:.1%} of them {target} = {one['class']})" for one in levels
    ]
    return (
        f"Levels that nearly give the label away: {listed(named, 3)}. Leave out what is filled in after the answer is "
        f"known ({change})."
    )


def _too_good(metric: str, value: float, column: str | None, change: str | None) -> str:
    which = "no column is" if column is None else f"'{column}', which makes up most of it, is not"
    remedy = "" if change is None else f", or leave it out ({change})"
    return (
        f"The {in_short(metric)} of {rounded_down(value, 4):g} on held-out rows is nearly perfect, which real columns "
        f"seldom allow: check that {which} filled in after the answer is known{remedy}."
    )


COLUMN_SENTENCES: Mapping[str, str | Callable[..., str]] = {
    "missing_texts": lambda column, kind, texts, rows: (
        f"'{column}' is read as a {kind}; missing in {_rows(rows)}, written as {_texts(texts)}."
    ),
    "stray_texts": lambda column, kind, texts, rows: (
        f"'{column}' is read as a {kind}; other texts in {_rows(rows)} count as missing: {_texts(texts)}."
    ),
    "unreadable_texts": lambda column, kind, texts, rows, of: (
        f"'{column}' was left out: {of - rows:,} of its {of:,} values can be read as a {kind}, but not "
        f"{_listed(texts)}."
    ),
    "written_numbers": lambda column, example, value: (
        f"'{column}' is read as a number: {quoted(example)} is {value:g}."
    ),
    "some_numbers": lambda column, numbers, of, texts: (
        f"'{column}' is read as a category: {numbers:,} of its {of:,} values are numbers, and others are "
        f"{_listed(texts)}."
    ),
    "comma_before_three": lambda column, example, point, comma: (
        f"'{column}' was left out: {quoted(example)} may be {point:g} (--decimal=.) or {comma:g} (--decimal=,), and no "
        "value decides."
    ),
    "written_times": lambda column, example, form: (
        f"'{column}' is read as a time: {quoted(example)} is of the form {form}."
    ),
    "times_of_day": lambda column, example, seconds: (
        f"'{column}' is read as a number: {quoted(example)} is {seconds:,.7g} seconds since midnight."
    ),
    "forms_of_times": lambda column, examples: (
        f"'{column}' is read as a category: its texts look like dates or times, such as {_listed(examples)}, and no "
        "one form reads them all."
    ),
    "order_of_date": _order_of_date,
    "zones_mixed": "'{column}' was left out: {zoned:,} of its times have a zone and {zoneless:,} have none.",
    "offsets_mixed": lambda column, offsets: (
        f"No calendar parts are taken of '{column}': its times are {_listed(offsets)} from UTC, and whose clock they "
        "are of is not said (--zone Europe/Berlin). They order rows as they should."
    ),
    "spike": lambda column, value, rows, of, low, high, change: (
        f"'{column}' is {value:.15g} in {_rows(rows)} ({rows / of:.1%}), far from all other values "
        f"({in_ascii(plain(low))} to {in_ascii(plain(high))}), and is used as it is: if it stands for a missing value, "
        f"say so ({change})."
    ),
    "time_spike": lambda column, value, rows, low, high, change: (
        f"'{column}' is {value} in {_rows(rows)}, far from all other times ({low} to {high}), and is used as it is: if "
        f"it stands for a missing time, leave those rows out ({change})."
    ),
    "leak": _leak,
    "too_good": _too_good,
    "leading_zeros": lambda column, example: (
        f"'{column}' is read as a category: it holds codes with leading zeros, such as {quoted(example)}."
    ),
    "mixed_codes": lambda column, examples: (
        f"'{column}' is read as a category: it holds codes such as {_listed(examples)}."
    ),
    "long_integers": lambda column, example: (
        f"'{column}' was left out: whole numbers such as {example} are beyond 2^53, where float64 rounds them; "
        "texts are exact (--categories)."
    ),
    "unnamed_index": "The first column has no name and numbers the rows: it was left out.",
    "unnamed_column": "Column {number} has no name and is called '{column}'.",
    "trailing_delimiters": "Column {number} has neither a name nor values: delimiters end the lines.",
    "repeated_name": "The header has '{name}' more than once: column {number} is called '{column}'.",
    "delimiter_in_text": lambda column, delimiter, example: (
        f"In '{column}' {quoted(delimiter)} before a space is part of the text, as in {quoted(example, 40)}: only so "
        "has each row a value for each name."
    ),
    "unsupported_type": lambda column, stored: f"'{column}' was left out: it is stored as {quoted(stored)}.",
    "not_in_all_files": lambda column, files: (
        f"'{column}' is not in {files:,} of the files: it counts as missing in their rows."
    ),
    "taken_as_missing": "'{column}' is not in the table: it counts as missing in every row, as it was in some of the "
    "training.",
    "unreadable_values": lambda column, kind, rows: (
        f"'{column}' has values in {_rows(rows)} that cannot be read as a {called(kind)}: they count as missing."
    ),
    "total_row": lambda column, text, place: (
        f"The {place} row has {quoted(text)} in '{column}' and may be a total of the others: a condition leaves it out."
    ),
}
