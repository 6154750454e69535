"""The tables of a comparison: the contenders, the gradient noise, and what the result is sensitive to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchlearn.comparison.contenders import Budget, passes_each
from batchlearn.comparison.critical import NoiseAt, NoisePlace
from batchlearn.comparison.outcome import Comparison, Outcome, Rates
from batchlearn.formatting.numbers import NOTHING, at_most, duration, passes, plain, size
from batchlearn.report.document import TextTable
from batchlearn.report.values import shown
from batchlearn.statistics.noise import Noise
from batchlearn.training.regimes import FullBatch, Online


def excess_of(one: Outcome) -> float | None:
    """Return how far a contender ended above the optimum; None where it overflowed."""
    excess = one.excess(one.typical)
    return excess if math.isfinite(excess) else None


def excess_said(one: Outcome) -> str:
    """Write the excess loss: an interval where the certificate leaves one, a bound where it is all of it."""
    excess = excess_of(one)
    if excess is None:
        return "overflowed" if one.diverged else "not known"
    if one.loss_bound is None:
        return f"{plain(excess, 2)} above the best known"
    high = excess + one.loss_bound
    return f"at most {at_most(high)}" if high > 1.5 * excess else plain(excess, 2)


def contenders(found: Sequence[Outcome]) -> TextTable:
    """Return what each contender spent, what it left, and what it needs."""
    header = ("contender", "passes", "time", "read", "loss above the optimum", "on held-out rows", "memory")
    return TextTable(header, tuple(_contender(one) for one in found))


def _contender(one: Outcome) -> tuple[str, ...]:
    run, name = one.typical, one.contender.name
    return (
        f"{name} ({run.solver.replace('-', ' ')})" if run.solver else name,
        plain(run.last.passes),
        duration(run.last.seconds),
        size(one.bytes_read(run.last)),
        excess_said(one),
        shown(one.held_out.score) if one.held_out is not None and one.held_out.score.value is not None else NOTHING,
        f"{size(one.memory.rows)} of rows, {size(one.memory.working)} beside",
    )


def passes_allowed(budget: Budget) -> str:
    """Say how many passes a run may make."""
    allowed = passes(passes_each(budget, Online()))
    return allowed if budget.passes is not None else f"{allowed} (full batch as many as it needs)"


def noise(result: Comparison) -> TextTable | None:
    """Return the gradient noise at the start, on the way and at the optimum."""
    if not result.noise:
        return None
    header = (
        "where",
        "loss above the optimum",
        "noise, tr(Sigma)",
        "critical batch, plain steps",
        "critical batch, Newton-like steps",
        "what it says",
    )
    rows = len(result.benchmark.rows)
    return TextTable(header, tuple(_noise(one, rows) for one in result.noise))


def _noise(one: NoiseAt, rows: int) -> tuple[str, ...]:
    return (
        one.where.value,
        plain(one.excess_loss, 2),
        plain(one.plain.trace, 2),
        batch(_finite_batch(one.plain), rows),
        batch(_finite_batch(one.preconditioned), rows),
        _meaning(one, rows),
    )


def _meaning(one: NoiseAt, rows: int) -> str:
    critical = critical_batch(one)
    if critical is None:
        return "all rows: what is left is smaller than any noise" if one.excess_loss == 0.0 else ""
    if critical >= rows:
        return "no batch is too large for a plain step"
    return f"{batch(critical, rows)} rows say as much about the direction as they add noise"


def at_place(where: NoisePlace) -> str:
    """Say where the noise is taken, within a sentence."""
    return where.value if where is NoisePlace.ON_THE_WAY else f"at the {where.value}"


def critical_batch(one: NoiseAt) -> float | None:
    """Return the predicted critical batch size: for Newton-like steps where there is a factor, else for plain ones."""
    fitting = _finite_batch(one.preconditioned)
    return _finite_batch(one.plain) if fitting is None else fitting


def _finite_batch(noise: Noise | None) -> float | None:
    return noise.critical_batch if noise is not None and math.isfinite(noise.critical_batch) else None


def batch(critical: float | None, rows: int) -> str:
    """Write a critical batch size: all rows where it is beyond them."""
    if critical is None:
        return NOTHING
    return "all rows" if critical >= rows else f"{max(critical, 1.0):,.0f}"


def sensitivity(found: Sequence[Outcome]) -> TextTable | None:
    """Return how the excess loss changes with the seed and with the order of the rows."""
    random = [
        one
        for one in found
        if one.stored is not None or (one.diverged and not isinstance(one.contender.regime, FullBatch))
    ]
    if not random:
        return None
    header = ("contender", "median seed", "lowest seed", "highest seed", "rows as stored", "what it says")
    return TextTable(header, tuple((one.contender.name, *_lefts(one), _order(one)) for one in random))


def _lefts(one: Outcome) -> tuple[str, ...]:
    stored = None if one.stored is None else one.excess(one.stored)
    known = (one.excess(one.typical), *one.spread, stored)
    found = (None if excess is None or math.isinf(excess) else excess for excess in known)
    return tuple("overflowed" if excess is None and one.diverged else plain(excess, 2) for excess in found)


def is_misled(one: Outcome) -> bool:
    """Whether rows in the order in which they are stored left a contender no better than it began."""
    return one.stored is not None and not one.stored.last.value < one.stored.points[0].value


def _order(one: Outcome) -> str:
    highest = one.spread[1]
    if one.stored is None or math.isinf(highest) or math.isinf(one.excess(one.stored)):
        return ""
    if is_misled(one):
        return "the order decides: worse than the mean alone, because what came last is not what all rows say"
    stored = one.excess(one.stored)
    if stored <= 2.0 * highest:
        return "the order matters no more than the seed"
    times = f"{plain(stored / highest, 2)} times what" if highest > 0.0 else "more than"
    return f"the order matters: {times} the worst seed leaves"


def rates(tried: Rates | None) -> TextTable | None:
    """Return what plain stochastic gradients leave at each learning rate."""
    if tried is None:
        return None
    rows = ((plain(rate, 2), plain(excess, 2) if math.isfinite(excess) else "diverged") for rate, excess in tried.tried)
    return TextTable(("learning rate", "loss above the optimum"), tuple(rows), figures_only=True, compact=True)
