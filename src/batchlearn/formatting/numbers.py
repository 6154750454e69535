"""Numbers as people read them."""

from __future__ import annotations

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

_MOST_DECIMALS = 8
# Signs that look like others in code and are right in print.
MINUS, TIMES, NOTHING = "\u2212", "\u00d7", "\u2013"
# A space at which no line is broken.
KEPT_SPACE = "\u00a0"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN_SCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_MINUS = re.compile(rf"(?<!\w){MINUS}(?=\d)")
_POWER = re.compile(f" {TIMES} 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")


def in_ascii(shown: str) -> str:
    """Write the numbers of a text in signs that every terminal has: 3.6e-12, -0.5, - for nothing; leave the rest."""
    shown = _POWER.sub(lambda power: f"e{power[1].translate(_PLAIN_SCRIPTS)}", shown)
    shown = _MINUS.sub("-", shown).replace(f"{KEPT_SPACE}%", " %")
    return "-" if shown == NOTHING else shown


def count(amount: float, thing: str) -> str:
    """Write "1 row", "1,234 rows"."""
    return f"{amount:,.0f} {thing}{'' if amount == 1 else 's'}"


def plain(value: float | None, digits: int = 3) -> str:
    """Write a number with so many digits that count: 1,235, 0.0123, 3.6 times 10⁻¹²."""
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0.0:
        return "0"
    if not math.isfinite(value):
        return f"beyond {MINUS if value < 0.0 else ''}{power_of_ten(308)}"
    exponent = math.floor(math.log10(abs(value)))
    if not -5 < exponent < 9:
        mantissa, _, power = f"{value:.{max(digits - 2, 0)}e}".partition("e")
        return f"{mantissa} {TIMES} {power_of_ten(int(power))}".replace("-", MINUS, 1 if value < 0 else 0)
    shown = f"{value:,.{max(digits - 1 - exponent, 0)}f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return shown.replace("-", MINUS)


def size_said(value: float) -> str:
    """Write the size of a term with two digits, a last 0 among them: 2.0, 0.61."""
    return f"{value:.1f}" if 1.0 <= value < 10.0 else plain(value, 2)


def rounded_up(bound: float, digits: int = 2) -> float:
    """Return the least number of so many decimal digits that is not below an upper bound: what is shown holds too."""
    return float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(float(bound))))


def rounded_down(bound: float, digits: int = 2) -> float:
    """Return the largest number of so many decimal digits that is not above a lower bound."""
    return float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(repr(float(bound))))


def at_most(value: float | None) -> str:
    """Write a bound with two digits, rounded up: what is said to be at most may not be less than what is proved."""
    if value is None:
        return plain(value)
    shown = rounded_up(value)
    return plain(shown, 3 if shown >= 1e9 or shown < 1e-4 else 2)


def power_of_ten(exponent: int) -> str:
    """Write a power of ten: 1, 10, 10⁻⁶."""
    return {0: "1", 1: "10"}.get(exponent, f"10{str(exponent).translate(_SUPERSCRIPTS)}")


def decimals(low: float | None, high: float | None) -> int | None:
    """Return how many decimals a figure deserves: two digits of half its interval; None where there is no interval."""
    if low is None or high is None or not high > low or not math.isfinite(high - low):
        return None
    wanted = 1 - math.floor(math.log10((high - low) / 2.0))
    return max(wanted, 0) if wanted <= _MOST_DECIMALS else None


def fixed(value: float | None, places: int | None) -> str:
    """Write a number with so many decimals; with four digits that count where that is not said."""
    if value is None or math.isnan(value):
        return NOTHING
    if places is None or abs(value) >= 1e9:
        return plain(value, 4)
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", MINUS)


def telling_places(values: list[float]) -> int | None:
    """Return how many decimals tell figures apart: two digits of their range, and more where two would look equal."""
    places = decimals(min(values, default=None), max(values, default=None))
    if places is None:
        return None
    different = len(set(values))
    while places < _MOST_DECIMALS and len({fixed(value, places) for value in values}) < different:
        places += 1
    return places


def percent(share: float) -> str:
    """Write a share: 41 %, 0.3 %, less than 0.1 %, 99.8 %, more than 99.9 %."""
    size = abs(share) * 100.0
    if size >= 1e6 or math.isnan(size):
        return f"{plain(size)}{KEPT_SPACE}%"
    if 0.0 < size < 0.1:
        return f"less than 0.1{KEPT_SPACE}%"
    if 99.9 < size < 100.0:
        return f"more than 99.9{KEPT_SPACE}%"
    whole = 10.0 <= size <= 99.0 or size >= 100.0 or size == 0.0
    return f"{size:,.0f}{KEPT_SPACE}%" if whole else f"{size:.1f}{KEPT_SPACE}%"


def small_share(share: float) -> str:
    """Say how small a share is, rounded up to a word: less than a millionth."""
    words = ((1e-12, "trillionth"), (1e-9, "billionth"), (1e-6, "millionth"), (1e-3, "thousandth"))
    for size, word in words:
        if share <= size:
            return f"less than a {word}"
    if not math.isfinite(share):
        return "an unknown share"
    return f"up to {percent(math.ceil(share * 1000.0) / 1000.0 if share < 1e6 else share)}"


def duration(seconds: float) -> str:
    """Write a time: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def passes(amount: float) -> str:
    """Write how often all rows were read: 1 pass, 2.31 passes."""
    shown = f"{amount:.3g}" if math.isfinite(amount) else NOTHING
    return f"{shown} {'pass' if amount == 1.0 else 'passes'}"


def size(number_of_bytes: float) -> str:
    """Write an amount of memory: 12.3 MB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number_of_bytes >= unit:
            return f"{number_of_bytes / unit:.3g} {name}"
    return f"{number_of_bytes:.0f} bytes"


def listed(items: list[str], most: int = 5) -> str:
    """Join items as a sentence does: a, b and c; say how many more there are."""
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most:,} more"
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
