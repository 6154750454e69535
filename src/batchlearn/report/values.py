"""Reading a result that may lack any part: what is absent, None or of another type reads as nothing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# A name is recognised by this much of it; a page of longer ones is read by nobody.
LONGEST_NAME, LONGEST_SENTENCE = 120, 2000
# Marks that reorder the text around them: shown, they could make a page read as something else than it holds.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SPACES = frozenset("\t\n\r")
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def mapping(value: object) -> Mapping[str, Any]:
    """Return the value where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[Any]:
    """Return the value where it is a list or a tuple, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def records(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings of a list."""
    return [one for one in sequence(value) if isinstance(one, Mapping)]


def number(value: object) -> float | None:
    """Return a finite number as a float, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        as_float = float(value)
    except OverflowError:  # an integer that no float can hold
        return None
    return as_float if math.isfinite(as_float) else None


def numbers(value: object) -> list[float]:
    """Return the finite numbers of a list, or nothing where one entry is none: positions must keep their meaning."""
    found = [number(one) for one in sequence(value)]
    kept = [one for one in found if one is not None]
    return kept if len(kept) == len(found) else []


def whole(value: object) -> int | None:
    """Return a finite number as an integer, else None."""
    found = number(value)
    return None if found is None else int(found)


def text(value: object, most: int = LONGEST_NAME) -> str | None:
    """Return a name as text of at most so many characters: 1 and not 1.0, nothing where there is nothing."""
    if value is None or isinstance(value, Mapping | list | tuple):
        return None
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else None
    shown = str(value)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def key_text(key: object) -> str:
    """Return the name of an entry as text."""
    return text(key) or "(no name)"


def texts(value: object, most: int = LONGEST_NAME) -> list[str]:
    """Return the entries of a list as texts of at most so many characters."""
    return [one for one in (text(entry, most) for entry in sequence(value)) if one is not None]


def clean(value: str) -> str:
    """Return a text that shows what it holds: control and reordering characters escaped."""
    return value if value.isascii() and value.isprintable() else "".join(map(_shown, value))


def _shown(character: str) -> str:
    if character in _SPACES:
        return " "
    if character in _REORDERING or unicodedata.category(character) in _ESCAPED_CATEGORIES:
        return f"\\u{ord(character):04x}"
    return character
