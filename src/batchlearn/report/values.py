"""Values as reports show them: texts of the data, short and showing what they hold, and figures with intervals."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from batchlearn.formatting.numbers import decimals, fixed

if TYPE_CHECKING:
    from batchlearn.evaluation.intervals import Estimate

# A name is recognised by this much of it; a page of longer ones is read by nobody.
LONGEST_NAME, LONGEST_SENTENCE = 120, 2000
# Marks that reorder the text around them: shown, they could make a page read as something else than it holds.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SPACES = frozenset("\t\n\r")
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def short(text: str, most: int = LONGEST_NAME) -> str:
    """Return at most so many characters of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clean(value: str) -> str:
    """Return a text that shows what it holds: control and reordering characters escaped."""
    return value if value.isascii() and value.isprintable() else "".join(map(_shown, value))


def _shown(character: str) -> str:
    if character in _SPACES:
        return " "
    if character in _REORDERING or unicodedata.category(character) in _ESCAPED_CATEGORIES:
        return f"\\u{ord(character):04x}"
    return character


def places_of(figure: Estimate) -> int | None:
    """Return how many decimals a figure deserves by its interval."""
    return decimals(figure.low, figure.high)


def shown(figure: Estimate) -> str:
    """Write the figure, rounded as its interval deserves."""
    return fixed(figure.value, places_of(figure))


def interval(figure: Estimate, places: int | None = None) -> str:
    """Write the interval with the decimals it deserves unless they are given, or nothing where there is none."""
    if figure.low is None or figure.high is None or not figure.low <= figure.high:
        return ""
    places = places_of(figure) if places is None else places
    return f"{fixed(figure.low, places)} to {fixed(figure.high, places)}"


def with_interval(figure: Estimate) -> str:
    """Write the figure, with its interval in brackets where there is one."""
    between = interval(figure)
    return f"{shown(figure)} ({between})" if between else shown(figure)
