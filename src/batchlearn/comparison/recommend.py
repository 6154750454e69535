"""Which contender to take, with the reason, and what would change the answer: rules over measured figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from batchlearn.comparison.outcome import Outcome, Recommendation
from batchlearn.formatting.numbers import passes, rounded_down, rounded_up, size
from batchlearn.solvers import RowsAtOnce

# A proof is worth waiting for: so many times longer, or so many seconds.
_WORTH, _AT_ONCE = 3.0, 1.0


class _FirstWithin(NamedTuple):
    outcome: Outcome
    passes: float
    seconds: float


def recommend(outcomes: Sequence[Outcome], good_enough: float, certified: bool) -> Recommendation:
    """Recommend the quickest contender to an excess loss that does not matter; the full batch where it is not far off.

    The full batch alone ends at the optimum with a proof (`certified`), so it is taken where that costs little more.
    """
    usable = [outcome for outcome in outcomes if not outcome.diverged]
    reached = [
        _FirstWithin(outcome, *spent) for outcome in usable if (spent := outcome.spent_until(good_enough)) is not None
    ]
    if not reached:
        best = min(usable or outcomes, key=lambda outcome: outcome.excess(outcome.typical))
        # It counts as reached where every run is there: the run in the middle may well be.
        middle, worst = rounded_up(best.excess(best.typical)), rounded_up(best.spread[1])
        each = (
            ("", f"to {worst:g}") if len(best.runs) == 1 else (" with every seed", f"to {worst:g} with its worst one")
        )
        median = f", {middle:g} with that in the middle" if middle < worst else ""
        reason = (
            f"No contender came within {rounded_down(good_enough):g} of the optimum{each[0]} on this budget; this one "
            f"came nearest, {each[1]}{median}."
        )
        changes = ("A larger budget (--passes, --seconds): the order of the contenders may change with it.",)
        return Recommendation(best.contender.name, reason, changes)
    quickest = min(reached, key=lambda one: one.seconds)
    full = next((one for one in reached if one.outcome.contender.regime.shows is RowsAtOnce.ALL), None)
    chosen, reason = quickest, _quickest(quickest, reached, good_enough)
    if full is not None and (full.seconds <= _WORTH * quickest.seconds or full.seconds <= _AT_ONCE):
        chosen, reason = full, _full(full, quickest, certified, good_enough)
    return Recommendation(chosen.outcome.contender.name, reason, tuple(_changes(chosen, reached, outcomes)))


def _full(full: _FirstWithin, quickest: _FirstWithin, certified: bool, good_enough: float) -> str:
    end = "the optimum with a certificate" if certified else "the best known objective"
    said = (
        f"It is within {rounded_up(good_enough):g} of the optimum after {passes(full.passes)} and "
        f"{full.seconds:.2f} s, and goes on to {end}"
    )
    if quickest.outcome is full.outcome:
        return f"{said}; nothing else was quicker."
    other = quickest.outcome.contender.name
    return f"{said}; {other}, the quickest there, took {quickest.seconds:.2f} s and proves nothing."


def _quickest(quickest: _FirstWithin, reached: Sequence[_FirstWithin], good_enough: float) -> str:
    said = (
        f"It is the quickest within {rounded_up(good_enough):g} of the optimum, what the rows themselves cannot tell: "
        f"{passes(quickest.passes)} and {quickest.seconds:.2f} s"
    )
    others = [one for one in reached if one.outcome is not quickest.outcome]
    if not others:
        return f"{said}; no other contender came so near within the budget."
    second = min(others, key=lambda one: one.seconds)
    return f"{said}; next is {second.outcome.contender.name} with {second.seconds:.2f} s."


def _changes(chosen: _FirstWithin, reached: Sequence[_FirstWithin], outcomes: Sequence[Outcome]) -> list[str]:
    fewest = min(reached, key=lambda one: one.passes)
    said = []
    if fewest.outcome is chosen.outcome:
        said.append("Rows that are read from disk or over a network: no change, it needs the fewest passes too.")
    else:
        said.append(
            f"Rows that are read from disk or over a network, where a pass is what costs: "
            f"{fewest.outcome.contender.name} needs {passes(fewest.passes)}, {chosen.outcome.contender.name} "
            f"{chosen.passes:.3g}."
        )
    online = next((outcome for outcome in outcomes if outcome.contender.regime.shows is RowsAtOnce.ONE), None)
    if online is not None and online is not chosen.outcome:
        stored = "" if online.stored is None else f", {online.excess(online.stored):.2g} with the rows as stored"
        said.append(
            "Labels that come one at a time and have to count at once: online. On this budget it ended "
            f"{online.excess(online.typical):.2g} above the optimum{stored}; {chosen.outcome.contender.name}: "
            f"{chosen.outcome.excess(chosen.outcome.typical):.2g}."
        )
    memory = chosen.outcome.memory.rows
    least = min(outcomes, key=lambda outcome: outcome.memory.rows)
    if least.memory.rows < memory:
        said.append(
            f"Rows that do not fit into memory: all of them are {size(memory)} here, {least.contender.name} holds "
            f"{size(least.memory.rows)} at a time."
        )
    return said
