"""A figure and its 95 % interval in words."""

from __future__ import annotations

from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.numbers import decimals, fixed


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
