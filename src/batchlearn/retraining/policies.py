"""When to train again: a policy looks at what has come since the last training, and says keep or retrain, and why.

A policy sees a `Situation` and nothing else: times and counts up to now. So it cannot look ahead, and the same policy
decides the same in production and over the past.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Code, Note, joined

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


class Situation(NamedTuple):
    """What a policy may look at."""

    now: float  # by the clock of the data, on the scale of the time column
    trained: float | None  # as of when the newest version was trained; None if there is none
    new_rows: int  # to learn from since then: new, landed late, labelled since
    stamped: bool  # whether times are timestamps
    wall: tuple[float, float] | None = None  # trained and now by the clock on the wall; None where times are numbers


class Decision(NamedTuple):
    """Keep or retrain, and why."""

    retrain: bool
    reasons: tuple[Note, ...]

    @property
    def reason(self) -> str:
        """Why, as one text."""
        return joined(self.reasons)


class Policy(Protocol):
    """Decides when to train again."""

    def decide(self, situation: Situation) -> Decision:
        """Return the decision for a situation; the same situation gives the same decision."""
        ...


@dataclass(frozen=True)
class Never:
    """Train once and then never again."""

    def decide(self, situation: Situation) -> Decision:
        """Retrain only where there is no version at all."""
        if situation.trained is None:
            return _first(situation)
        return Decision(False, (Note(Code.NEVER_AGAIN),))


@dataclass(frozen=True)
class Every:
    """Train again when so much time has passed, if any labelled row has come.

    Time passes by the clock of the data, or by that on the wall.
    """

    period: Span
    clock: str = "data"

    def decide(self, situation: Situation) -> Decision:
        """Compare the time since the last training with the period."""
        self.period.on(situation.stamped)  # refused with the first training already, not with the second
        if situation.trained is None:
            return _first(situation)
        clocks = {"data": (situation.trained, situation.now), "wall": situation.wall}
        counted, beside = clocks[self.clock], clocks["wall" if self.clock == "data" else "data"]
        if counted is None:
            raise UsageError(
                "The policy counts time by the clock on the wall, and the time column holds numbers; write clock = "
                '"data" in [policy].',
                code="policy-clock",
            )
        if counted[1] < counted[0]:
            return Decision(False, (Note(Code.CLOCK_WENT_BACK),))
        passed = self.period.passed(*counted, situation.stamped)
        since = {"periods": passed, "period": str(self.period), "clock": self.clock}
        if beside is not None:
            since["other"] = self.period.passed(*beside, situation.stamped)
        if passed < 1.0:
            return Decision(False, (Note(Code.PERIOD_NOT_OVER, since),))
        if not situation.new_rows:
            return Decision(False, (Note(Code.PERIOD_WITHOUT_LABELS, since),))
        return Decision(True, (Note(Code.PERIOD_OVER, {**since, "rows": situation.new_rows}),))


@dataclass(frozen=True)
class EveryRows:
    """Train again when so many rows were labelled since the last training."""

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise UsageError(f"The policy waits for {self.rows} rows; 1 or more are needed.", code="policy-rows")

    def decide(self, situation: Situation) -> Decision:
        """Compare the number of new rows with the one waited for."""
        if situation.trained is None:
            return _first(situation)
        enough = situation.new_rows >= self.rows
        code = Code.ENOUGH_NEW_LABELS if enough else Code.FEW_NEW_LABELS
        return Decision(enough, (Note(code, {"rows": situation.new_rows, "needed": self.rows}),))


def _first(situation: Situation) -> Decision:
    if not situation.new_rows:
        return Decision(False, (Note(Code.NOTHING_TO_LEARN),))
    return Decision(True, (Note(Code.FIRST_VERSION),))
