"""Values as reports show them: texts of the data, short and showing what they hold, and figures with intervals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from batchlearn.formatting.numbers import decimals, fixed

if TYPE_CHECKING:
    from batchlearn.evaluation.intervals import Estimate

# A name is recognised by this much of it; a page of longer ones is read by nobody.
LONGEST_NAME, LONGEST_SENTENCE = 120, 2000
# What steers: control characters, separators of lines and paragraphs, lone surrogates; and marks that reorder the text
# around them: shown, they could make a page read as something else than it holds.
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def short(text: str, most: int = LONGEST_NAME) -> str:
    """Return at most so many characters of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clean(value: str) -> str:
    """Return a text that shows what it holds: control and reordering characters escaped."""
    return _STEERING.sub(lambda found: " " if found[0] in "\t\n\r" else f"\\u{ord(found[0]):04x}", value)


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
