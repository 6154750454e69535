"""The sentences of notes on how the columns of a text file are read, by the value of their code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from batchlearn.errors import quoted

_MOST_TEXTS = 5


def _texts(texts: Mapping[str, int]) -> str:
    """Show texts with how often each occurs, the most frequent first."""
    shown = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(shown) - _MOST_TEXTS:,} more" if len(shown) > _MOST_TEXTS else ""
    return ", ".join(f"{quoted(text, 40)} ({rows:,})" for text, rows in shown[:_MOST_TEXTS]) + more


def _rows(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _listed(texts: Sequence[str]) -> str:
    more = ", ..." if len(texts) > _MOST_TEXTS else ""
    return ", ".join(quoted(text, 40) for text in texts[:_MOST_TEXTS]) + more


def _missing_texts(column: str, kind: str, texts: Mapping[str, int], rows: int) -> str:
    return f"'{column}' is read as a {kind}; missing in {_rows(rows)}, written as {_texts(texts)}."


def _stray_texts(column: str, kind: str, texts: Mapping[str, int], rows: int) -> str:
    return f"'{column}' is read as a {kind}; other texts in {_rows(rows)} count as missing: {_texts(texts)}."


def _unreadable_texts(column: str, kind: str, texts: Sequence[str], rows: int, of: int) -> str:
    return (
        f"'{column}' is left out: {of - rows:,} of its {of:,} values can be read as a {kind}, but not {_listed(texts)}."
    )


def _written_numbers(column: str, example: str, value: float) -> str:
    return f"'{column}' is read as a number: {quoted(example)} is {value:g}."


def _comma_before_three(column: str, example: str, point: float, comma: float) -> str:
    return (
        f"'{column}' is left out: {quoted(example)} may be {point:g} (--decimal=.) or {comma:g} (--decimal=,), and no "
        "value decides."
    )


def _order_of_date(column: str, example: str, forms: Sequence[str]) -> str:
    choices = " or ".join(f'--date-format "{form}"' for form in forms)
    return f"'{column}' is left out: it holds dates such as {quoted(example)}, which may be {choices}."


COLUMN_SENTENCES: Mapping[str, str | Callable[..., str]] = {
    "missing_texts": _missing_texts,
    "stray_texts": _stray_texts,
    "unreadable_texts": _unreadable_texts,
    "written_numbers": _written_numbers,
    "some_numbers": lambda column, numbers, of, texts: (
        f"'{column}' is read as a category: {numbers:,} of its {of:,} values are numbers, and others are "
        f"{_listed(texts)}."
    ),
    "comma_before_three": _comma_before_three,
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
    "zones_mixed": "'{column}' is left out: {zoned:,} of its times have a zone and {zoneless:,} have none.",
    "leading_zeros": lambda column, example: (
        f"'{column}' is read as a category: it holds codes with leading zeros, such as {quoted(example)}."
    ),
    "mixed_codes": lambda column, examples: (
        f"'{column}' is read as a category: it holds codes such as {_listed(examples)}."
    ),
    "long_integers": lambda column, example: (
        f"'{column}' is left out: whole numbers such as {example} are beyond 2^53, where float64 rounds them; "
        "texts are exact (--categories)."
    ),
    "unnamed_index": "The first column has no name and numbers the rows: it is left out.",
    "unnamed_column": "Column {number} has no name and is called '{column}'.",
    "trailing_delimiters": "Column {number} has neither a name nor values: delimiters end the lines.",
    "repeated_name": "The header has '{name}' more than once: column {number} is called '{column}'.",
    "delimiter_in_text": lambda column, delimiter, example: (
        f"In '{column}' {quoted(delimiter)} before a space is part of the text, as in {quoted(example, 40)}: only so "
        "has each row a value for each name."
    ),
    "total_row": lambda column, text: (
        f"The last row has {quoted(text)} in '{column}' and may be a total of the others; it is used as they are."
    ),
}
