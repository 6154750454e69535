"""Texts that come from data, on a page: short enough to be read, and showing what they hold."""

from __future__ import annotations

import unicodedata

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
