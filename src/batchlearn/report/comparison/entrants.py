"""The contenders of a comparison as the page reads them: whatever is missing reads as nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchlearn.report.estimate import Estimate
from batchlearn.report.values import key_text, mapping, number, records, text
from batchlearn.words.numbers import at_most, plain

# As many colours as the style has.
SERIES = 6
FULL, ONLINE = "full", "1"


class Place(NamedTuple):
    """Where a run stood."""

    passes: float
    seconds: float
    megabytes: float | None
    excess: float


@dataclass(frozen=True)
class Entrant:
    """One contender; numbers that the result lacks are None."""

    name: str
    regime: str
    solver: str
    passes: float | None
    seconds: float | None
    bytes_read: float | None
    excess: float | None
    excess_high: float | None
    spread: tuple[float | None, float | None]
    seeds: int
    stored: float | None
    misled: bool  # whether rows as stored left it worse than it began
    metric: str
    score: Estimate
    difference: Estimate
    rows_memory: float | None
    working_memory: float | None
    ended: str
    diverged: bool
    curve: tuple[Place, ...]
    role: str

    @property
    def shown(self) -> str:
        """The excess loss in words: an interval where the certificate leaves one, a bound where it is all of it."""
        if self.excess is None:
            return "overflowed" if self.diverged else "not known"
        if self.excess_high is None:
            return f"{plain(self.excess, 2)} above the best known"
        if self.excess_high > 1.5 * self.excess:
            return f"at most {at_most(self.excess_high)}"
        return plain(self.excess, 2)


def entrants(result: Mapping[str, Any]) -> list[Entrant]:
    """Return the contenders in the order of the result."""
    return [_entrant(one, at) for at, one in enumerate(records(result.get("contenders")))]


def _entrant(one: Mapping[str, Any], at: int) -> Entrant:
    spread, held = mapping(one.get("spread_over_seeds")), mapping(one.get("held_out"))
    memory = mapping(one.get("memory"))
    return Entrant(
        name=key_text(one.get("name")),
        regime=text(one.get("regime")) or "",
        solver=text(one.get("solver")) or "",
        passes=number(one.get("passes")),
        seconds=number(one.get("seconds")),
        bytes_read=number(one.get("bytes_read")),
        excess=number(one.get("excess_loss")),
        excess_high=number(one.get("excess_high")),
        spread=(number(spread.get("low")), number(spread.get("high"))),
        seeds=int(number(spread.get("seeds")) or 0),
        stored=number(mapping(one.get("stored_order")).get("excess_loss")),
        misled=mapping(one.get("stored_order")).get("better_than_start") is False,
        metric=text(held.get("metric")) or "",
        score=_estimate(held),
        difference=_estimate(mapping(held.get("difference"))),
        rows_memory=number(memory.get("rows")),
        working_memory=number(memory.get("working")),
        ended=text(one.get("ended")) or "",
        diverged=one.get("diverged") is True,
        curve=_curve(one),
        role=f"series{at % SERIES + 1}",
    )


def _estimate(held: Mapping[str, Any]) -> Estimate:
    return Estimate(number(held.get("value")), number(held.get("low")), number(held.get("high")))


def _curve(one: Mapping[str, Any]) -> tuple[Place, ...]:
    places = []
    for point in records(one.get("curve")):
        passes, seconds, excess = (number(point.get(name)) for name in ("passes", "seconds", "excess_loss"))
        if passes is not None and seconds is not None and excess is not None:
            read = number(point.get("bytes"))
            places.append(Place(passes, seconds, None if read is None else read / 1e6, excess))
    return tuple(places)
