"""Numbers as people write them: decimal signs, thousands, currencies and percent, and what a column of them means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""What a program writes: a point, no separators, perhaps an exponent."""
_SPACES = " \u00a0\u202f"
_QUOTES = "'\u2019"
_CURRENCIES = (
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW MXN MYR NOK NZD PHP PLN RON RUB SEK SGD THB TRY "
    "TWD UAH USD ZAR"
)
_SIGNS = "$€£¥₹₽₩₺₪฿₫₴"
_PREFIX = f"(?:US|A|C|R)?[{_SIGNS}]|Rs\\.?|{_CURRENCIES.replace(' ', '|')}"
# Besides signs, currencies and these units: one in letters after a space, the same in every value.
_UNITS = "lbs?|[kmµ]g|[kcm]m|ml|cc|b?hp|kWh?|mph|[KMGT]i?B|[MG]Hz|mAh|mins?|hrs?|yrs?|pcs"
_SUFFIX = rf"[%‰°{_SIGNS}]|°[CF]|{_UNITS}|{_CURRENCIES.replace(' ', '|')}|(?:kr|zł|Kč|Ft|lei)\.?| [A-Za-zµ²³/]{{1,12}}"
WRITTEN = (
    rf"^(?P<sign>[+-]?)[{_SPACES}]?(?P<prefix>{_PREFIX})?[{_SPACES}]?(?P<minus>-?)"
    rf"(?P<core>[.,]?\d[\d.,{_QUOTES}{_SPACES}]*?)(?P<exponent>[eE][+-]?\d+)?(?P<suffix>[{_SPACES}]?(?:{_SUFFIX}))?$"
)

_MAGNITUDES = {"K": 3, "Mn?": 6, "Bn?": 9}
_MAGNITUDE = rf"^((?i:[+-]?(?:{_PREFIX})[{_SPACES}]?-?\d[\d.,]*))[{_SPACES}]?(?i:{{}})$"
"""Thousands, millions and billions of a currency: without one, 5M may be a size."""


@dataclass(frozen=True)
class NumberStyle:
    """How the numbers of a column are written; `affixes` are taken off."""

    decimal: str = "."
    thousands: str = ""
    affixes: tuple[str, ...] = ()


# What the digits of a number look like, and what that says; the first that fits.
SHAPES: Mapping[str, str] = {
    "whole": r"^\d+$",
    "point before three": r"^[1-9]\d{0,2}\.\d{3}$",
    "point": r"^\d*\.\d*$",
    "points": r"^\d{1,3}(?:\.\d{3}){2,}$",
    "points and comma": r"^[1-9]\d{0,2}(?:\.\d{3})+,\d*$",
    "either": r"^[1-9]\d{0,2},\d{3}$",
    "commas": r"^[1-9]\d{0,2}(?:,\d{3}){2,}$",
    "commas and point": r"^[1-9]\d{0,2}(?:,\d{3})+\.\d*$",
    "comma": r"^\d*,\d*$",
    "spaces": rf"^\d{{1,3}}(?:[{_SPACES}]\d{{3}})+$",
    "spaces and point": rf"^\d{{1,3}}(?:[{_SPACES}]\d{{3}})+\.\d*$",
    "spaces and comma": rf"^\d{{1,3}}(?:[{_SPACES}]\d{{3}})+,\d*$",
    "quotes": rf"^\d{{1,3}}(?:[{_QUOTES}]\d{{3}})+$",
    "quotes and point": rf"^\d{{1,3}}(?:[{_QUOTES}]\d{{3}})+\.\d*$",
    "quotes and comma": rf"^\d{{1,3}}(?:[{_QUOTES}]\d{{3}})+,\d*$",
}
_POINT_ONLY = {"point", "commas", "commas and point", "spaces and point", "quotes and point"}
_COMMA_ONLY = {"comma", "points", "points and comma", "spaces and comma", "quotes and comma"}
_SPACED = {"spaces": " ", "spaces and point": " ", "spaces and comma": " "}
_QUOTED = {"quotes": "'", "quotes and point": "'", "quotes and comma": "'"}
_GROUPED_WITH_POINT = {"either": ",", "commas": ",", "commas and point": ",", **_SPACED, **_QUOTED}
UNREAD = {".": _COMMA_ONLY, ",": _POINT_ONLY}
"""The shapes that no number has whose decimal sign is this one."""
_GROUPED_WITH_COMMA = {"point before three": ".", "points": ".", "points and comma": ".", **_SPACED, **_QUOTED}
_GROUPS = {"": "", ".": r"\.", ",": ",", " ": f"[{_SPACES}]", "'": f"[{_QUOTES}]"}


def style_of(
    shapes: Mapping[str, int], affixes: tuple[str, ...], decimal: str | None, comma: bool
) -> NumberStyle | None:
    """Return the style that reads most values, of so many in each shape; None where a comma could be either sign.

    `decimal` decides where the values do not; so does `comma`, what the delimiter says of values such as 1,234. A
    single point is the decimal sign unless other values say that a comma is.
    """
    point = Counter({shape: rows for shape, rows in shapes.items() if shape not in _COMMA_ONLY})
    other = Counter({shape: rows for shape, rows in shapes.items() if shape not in _POINT_ONLY})
    told = decimal or ("," if comma and shapes.get("either") else None)
    if point.total() != other.total():
        sign = "." if point.total() > other.total() else ","
    elif shapes.get("either") and told is None:
        return None
    else:
        sign = told or "."
    groups = _GROUPED_WITH_POINT if sign == "." else _GROUPED_WITH_COMMA
    return NumberStyle(sign, next((group for shape, group in groups.items() if shape in shapes), ""), affixes)


def rewritten(texts: pa.Array) -> pa.Array:
    """Write minus signs of print (U+2212) and amounts in brackets (of accountants) with a hyphen, $1.5M as $1.5e6."""
    texts = pc.replace_substring(texts, "\u2212", "-")
    texts = pc.replace_substring_regex(texts, r"^\(([^()+-]*\d[^()]*)\)$", r"-\1")
    if pc.any(pc.match_substring_regex(texts, _MAGNITUDE.format("[KMB]n?"))).as_py():
        for letter, exponent in _MAGNITUDES.items():
            texts = pc.replace_substring_regex(texts, _MAGNITUDE.format(letter), rf"\1e{exponent}")
    return texts


@cache
def _pattern(style: NumberStyle) -> str:
    sign, group = re.escape(style.decimal), _GROUPS[style.thousands]
    whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d+)" if group else r"\d+"
    return rf"^[+-]?(?:{whole}(?:{sign}\d*)?|{sign}\d+)(?:[eE][+-]?\d+)?$"


def numbers(texts: pa.Array, style: NumberStyle) -> pa.Array:
    """Return float64 of texts without outer spaces: null where one is not written in the style, affixes included."""
    texts = rewritten(texts)
    for affix in style.affixes:
        literal = re.escape(affix)
        given = pc.match_substring(texts, affix)
        before = rf"^([+-]?)[{_SPACES}]?{literal}[{_SPACES}]?(-?)"
        texts = pc.replace_substring_regex(texts, before, r"\1\2")
        texts = pc.replace_substring_regex(texts, rf"[{_SPACES}]?{literal}$", "")
        texts = pc.if_else(given, texts, pa.scalar(None, texts.type))
    fits = pc.match_substring_regex(texts, _pattern(style))
    texts = pc.if_else(fits, texts, pa.scalar(None, texts.type))
    if style.thousands:
        texts = pc.replace_substring_regex(texts, _GROUPS[style.thousands], "")
    if style.decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    return texts.cast(pa.float64())
