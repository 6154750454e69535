"""Lengths of time, as a person writes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from batchlearn.errors import UsageError, quoted

_UNITS = {"w": 7 * 86_400, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_NAMES = {"w": "week", "d": "day", "h": "hour", "m": "minute", "s": "second"}
_MICROSECONDS = 1_000_000
_LONGEST = 1_000 * 366 * 86_400


@dataclass(frozen=True)
class Span:
    """A length of time: with a unit (w, d, h, m, s) where times are timestamps, a plain number where they are numbers.

    UsageError where it is not above 0, or longer than any history.
    """

    amount: float
    unit: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.amount) and self.amount > 0.0):
            raise UsageError(
                f'The length of time {quoted(self)} needs to be above 0, such as "7d".', code="span-not-valid"
            )
        if self.unit is not None and self.amount * _UNITS[self.unit] > _LONGEST:
            raise UsageError(
                f'The length of time {quoted(self)} is more than 1,000 years; write one such as "7d" or "365d".',
                code="span-not-valid",
            )

    @classmethod
    def parse(cls, text: str | float) -> Span:
        """Read "7d", "12h" or, where the time column holds numbers, 1000."""
        match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*([wdhms]?)\s*", str(text))
        if match is None:
            raise UsageError(
                f'{quoted(text)} is no length of time; write "2w", "7d", "12h", "30m" or "45s", or a plain number '
                "where the time column holds numbers.",
                code="span-not-valid",
            )
        return cls(float(match.group(1)), match.group(2) or None)

    def __str__(self) -> str:
        """Write the span as a person would: 7 days."""
        if self.unit is None:
            return f"{self.amount:g}"
        return f"{self.amount:g} {_NAMES[self.unit]}{'' if self.amount == 1 else 's'}"

    @property
    def written(self) -> str:
        """The span as `parse` reads it: 7d."""
        return f"{self.amount:.12g}{self.unit or ''}"

    def on(self, stamped: bool) -> float:
        """Return the span on the scale of the time column: microseconds for timestamps, else the number itself."""
        if stamped != (self.unit is not None):
            needed = "timestamps, so a unit is needed" if stamped else "numbers, so no unit can be used"
            raise UsageError(
                f'The length of time is {self} and the time column holds {needed}. Write "7d" for timestamps and 1000 '
                "for numbers.",
                code="span-unit",
            )
        return self.amount * _UNITS[self.unit] * _MICROSECONDS if self.unit else self.amount

    def passed(self, since: float, until: float, stamped: bool) -> float:
        """Return how often the span fits between two times, on their scale.

        Timestamps are counted by their dates, hours, minutes or seconds, whichever the span has: what was trained on a
        Monday is a day old on Tuesday, so that a scheduler's seconds, or when a day's last row was seen, do not matter.
        """
        length = self.on(stamped)
        if self.unit is None:
            return (until - since) / length
        step = min(_UNITS[self.unit], _UNITS["d"]) * _MICROSECONDS
        return (until // step - since // step) * step / length
