"""The tables of a comparison: the contenders, the gradient noise, and what the result is sensitive to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batchlearn.report.comparison.entrants import FULL, Entrant
from batchlearn.report.values import mapping, number, records, text
from batchlearn.words.numbers import NOTHING, duration, plain, size


class Table(NamedTuple):
    """A table of texts; the first cell of a row names it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def contenders(found: Sequence[Entrant]) -> Table:
    """Return what each contender spent, what it left, and what it needs."""
    header = ("contender", "passes", "time", "read", "loss above the optimum", "on held-out rows", "memory")
    return Table(header, tuple(_contender(one) for one in found))


def _contender(one: Entrant) -> tuple[str, ...]:
    working = NOTHING if one.working_memory is None else size(one.working_memory)
    rows = NOTHING if one.rows_memory is None else size(one.rows_memory)
    return (
        f"{one.name} ({one.solver.replace('-', ' ')})" if one.solver else one.name,
        plain(one.passes),
        NOTHING if one.seconds is None else duration(one.seconds),
        NOTHING if one.bytes_read is None else size(one.bytes_read),
        one.shown,
        one.score.shown if one.score.value is not None else NOTHING,
        f"{rows} of rows, {working} beside",
    )


def noise(result: Mapping[str, Any]) -> Table | None:
    """Return the gradient noise at the start, on the way and at the optimum."""
    rows = number(result.get("rows"))
    found = [_noise(one, rows) for one in records(mapping(result.get("critical_batch")).get("noise"))]
    if not found:
        return None
    header = (
        "where",
        "loss above the optimum",
        "noise, tr(Sigma)",
        "critical batch, plain steps",
        "critical batch, Newton-like steps",
        "what it says",
    )
    return Table(header, tuple(found))


def _noise(one: Mapping[str, Any], rows: float | None) -> tuple[str, ...]:
    excess = number(one.get("excess_loss"))
    return (
        text(one.get("where")) or NOTHING,
        "0" if excess == 0.0 else plain(excess, 2),
        plain(number(one.get("trace")), 2),
        batch(number(one.get("critical_batch_plain")), rows),
        batch(number(one.get("critical_batch_preconditioned")), rows),
        _meaning(one, rows),
    )


def _meaning(one: Mapping[str, Any], rows: float | None) -> str:
    critical = critical_batch(one)
    if critical is None:
        return "all rows: what is left is smaller than any noise" if excess_is_zero(one) else ""
    if rows is not None and critical >= rows:
        return "no batch is too large for a plain step"
    return f"{batch(critical, rows)} rows say as much about the direction as they add noise"


def excess_is_zero(one: Mapping[str, Any]) -> bool:
    """Whether this is the optimum."""
    return number(one.get("excess_loss")) == 0.0


def critical_batch(one: Mapping[str, Any]) -> float | None:
    """Return the predicted critical batch size: for Newton-like steps where there is a factor, else for plain ones."""
    fitting = number(one.get("critical_batch_preconditioned"))
    return number(one.get("critical_batch_plain")) if fitting is None else fitting


def batch(critical: float | None, rows: float | None) -> str:
    """Write a critical batch size: all rows where it is beyond them."""
    if critical is None:
        return NOTHING
    if rows is not None and critical >= rows:
        return "all rows"
    return f"{max(critical, 1.0):,.0f}"


def sensitivity(found: Sequence[Entrant]) -> Table | None:
    """Return how the excess loss changes with the seed and with the order of the rows."""
    random = [one for one in found if one.stored is not None or (one.diverged and one.regime != FULL)]
    if not random:
        return None
    header = ("contender", "median seed", "lowest seed", "highest seed", "rows as stored", "what it says")
    rows = tuple(
        (one.name, *(_left(one, value) for value in (one.excess, *one.spread, one.stored)), _order(one))
        for one in random
    )
    return Table(header, rows)


def _left(one: Entrant, excess: float | None) -> str:
    return "overflowed" if excess is None and one.diverged else plain(excess, 2)


def _order(one: Entrant) -> str:
    highest = one.spread[1]
    if one.stored is None or highest is None:
        return ""
    if one.misled:
        return "the order decides: worse than the mean alone, because what came last is not what all rows say"
    if one.stored <= 2.0 * highest:
        return "the order matters no more than the seed"
    times = f"{plain(one.stored / highest, 2)} times what" if highest > 0.0 else "more than"
    return f"the order matters: {times} the worst seed leaves"


def rates(result: Mapping[str, Any]) -> Table | None:
    """Return what plain stochastic gradients leave at each learning rate."""
    tried = records(mapping(result.get("learning_rate")).get("tried"))
    if not tried:
        return None
    return Table(("learning rate", "loss above the optimum"), tuple(_rate(one) for one in tried))


def _rate(one: Mapping[str, Any]) -> tuple[str, str]:
    excess = number(one.get("excess_loss"))
    return plain(number(one.get("rate")), 2), "diverged" if excess is None else plain(excess, 2)
