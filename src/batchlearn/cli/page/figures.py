"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchlearn.evaluation.intervals import Estimate

_MOST_DECIMALS = 8


def count(number: int, thing: str) -> str:
    """Write "1 row", "1,234 rows"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def named(word: str) -> str:
    """Write the name of a metric or baseline as words."""
    return {"auc": "AUC", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "r2": "R2", "d2": "D2"}.get(
        word, word.replace("_", " ")
    )


def figure(value: float | None, decimals: int | None = None) -> str:
    """Write a number with so many decimals, or with four digits that count."""
    if value is None:
        return "-"
    if decimals is None or abs(value) >= 1e15:
        return f"{value:.4g}"
    # Adding zero turns what would be written -0.000 into 0.000.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"


def decimals(estimate: Estimate) -> int | None:
    """Return how many decimals a figure deserves: two digits of half its interval; None where there is no interval."""
    if estimate.low is None or estimate.high is None or not estimate.high > estimate.low:
        return None
    wanted = 1 - math.floor(math.log10((estimate.high - estimate.low) / 2.0))
    return max(wanted, 0) if wanted <= _MOST_DECIMALS else None


def interval(low: float | None, high: float | None, places: int | None) -> str:
    """Write an interval, or nothing where there is none."""
    return "" if low is None or high is None else f"{figure(low, places)} to {figure(high, places)}"


def listed(items: Sequence[str], most: int) -> str:
    """Join items with commas; say how many more there are."""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
