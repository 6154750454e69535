"""A figure and its interval in words."""

from __future__ import annotations

from typing import NamedTuple

from batchlearn.report.values import mapping, number
from batchlearn.words.numbers import decimals, fixed


class Estimate(NamedTuple):
    """A figure and its 95 % interval, any of which may be unknown."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def shown(self) -> str:
        """The figure, rounded as its interval deserves."""
        return fixed(self.value, decimals(self.low, self.high))

    @property
    def interval(self) -> str:
        """The interval in words, or nothing."""
        places = decimals(self.low, self.high)
        return "" if places is None else f"{fixed(self.low, places)} to {fixed(self.high, places)}"

    @property
    def both(self) -> str:
        """The figure, with its interval in brackets where there is one."""
        return f"{self.shown} ({self.interval})" if self.interval else self.shown


def estimate(value: object) -> Estimate:
    """Return an estimate from {"value", "low", "high"}, or from a bare number."""
    if isinstance(value, int | float):
        return Estimate(number(value), None, None)
    given = mapping(value)
    return Estimate(number(given.get("value")), number(given.get("low")), number(given.get("high")))
