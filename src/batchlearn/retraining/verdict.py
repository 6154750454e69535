"""The settings of a gate, and what it says: a decision that follows from an interval, and the sentence for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from batchlearn.errors import UsageError, quoted
from batchlearn.evaluation.paired import Difference

Mode = Literal["superiority", "non-inferiority", "anytime"]
Promote = Literal["ask", "auto"]
Decision = Literal["promote", "reject", "not enough evidence"]

# An interval so many times as long as the difference says nothing of how many rows would show it.
_FAR = 1e3
EXIT_CODES: Mapping[str, int] = {"promote": 0, "reject": 10, "not enough evidence": 11}


@dataclass(frozen=True)
class Gate:
    """How a challenger is judged, and whether a person has to confirm a promotion.

    `margin`, for non-inferiority only, is the share of the champion's loss by which the challenger may be worse.
    UsageError where a setting is not one of these.
    """

    mode: Mode = "superiority"
    alpha: float = 0.05
    margin: float | None = None
    promote: Promote = "ask"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("mode", self.mode, ("superiority", "non-inferiority", "anytime")),
            ("promote", self.promote, ("ask", "auto")),
        ):
            if value not in known:
                raise UsageError(
                    f"The gate's {name} is {quoted(value)}; it needs to be one of {', '.join(known)}.",
                    code="gate-setting",
                )
        if not 0.0 < self.alpha <= 0.5:
            raise UsageError(
                f"The gate's alpha is {self.alpha:g}; the rate of wrong verdicts needs to be above 0 and at most 0.5, "
                "such as 0.05.",
                code="gate-alpha",
            )
        if (self.margin is not None) != (self.mode == "non-inferiority"):
            raise UsageError(
                f"The gate's mode is {self.mode} and its margin is {self.margin}; a margin belongs to non-inferiority, "
                'and it needs one. Give mode = "non-inferiority" with a margin such as 0.01, or no margin.',
                code="gate-margin",
            )
        if self.margin is not None and not 0.0 < self.margin < 1.0:
            raise UsageError(
                f"The gate's margin is {self.margin:g}; it needs to be a share of the champion's loss above 0 and "
                "below 1, such as 0.01.",
                code="gate-margin",
            )


@dataclass(frozen=True)
class Verdict:
    """What the gate found: a decision, a sentence that gives the reason, and the figures behind it.

    `difference`, `low` and `high` are in units of the loss, challenger minus champion; None where nothing was compared
    or the rows are too few for an interval. `asks` says that a promotion waits for a person. `state` is what the next
    look of mode "anytime" needs.
    """

    verdict: Decision
    sentence: str
    mode: Mode
    alpha: float
    rows: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    asks: bool = False
    state: Mapping[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """0 promote, 10 reject, 11 not enough evidence."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, without the state."""
        return {
            "verdict": self.verdict,
            "mode": self.mode,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "alpha": self.alpha,
            "rows": self.rows,
            "sentence": self.sentence,
            "asks": self.asks,
        }


@dataclass(frozen=True)
class Tested:
    """A paired comparison: the champion's mean loss and the interval of challenger - (1 + margin) x champion."""

    rows: int
    champion: float
    difference: Difference
    against: str = "champion"
    """Who stands in the champion's place, in the sentence."""
    negative: bool = False
    """Whether some losses are below 0; where none is, no loss can fall by more than 100 %."""


def answered(gate: Gate, decision: Decision, reason: str, rows: int, found: Difference | None = None) -> Verdict:
    """Return a verdict with its sentence, and its figures where there are some."""
    value, low, high = (None, None, None) if found is None else (found.value, found.low, found.high)
    asks = decision == "promote" and gate.promote == "ask"
    return Verdict(decision, f"{decision.capitalize()}: {reason}", gate.mode, gate.alpha, rows, value, low, high, asks)


def conclude(gate: Gate, tested: Tested) -> Verdict:
    """Return the verdict that follows from the side of 0 on which the interval lies."""
    found, level, rows = tested.difference, tested.champion, tested.rows
    decision: Decision = "not enough evidence"
    if found.low is not None and found.high is not None:
        if found.high < 0.0:
            decision = "promote"
        elif found.low >= 0.0:
            decision = "reject"
    shown = _moved(found, (gate.margin or 0.0) * level)
    losses = f"the challenger's loss is {level + shown.value:.5g}, the {tested.against}'s {level:.5g}"
    words = f"On {rows:,} later rows {losses}: {_in_words(shown, tested, gate.alpha)}"
    words += f", with a margin of {gate.margin:.4g} of the {tested.against}'s loss." if gate.margin else "."
    if decision == "not enough evidence" and gate.mode != "anytime" and found.high is not None and found.value < 0.0:
        times = (found.value - found.high) / found.value
        if times < _FAR:
            words += f" If it stays so, about {_rounded_up(rows * times**2)} rows would show it."
    return answered(gate, decision, words, rows, shown)


def _moved(found: Difference, by: float) -> Difference:
    low, high = (None if bound is None else bound + by for bound in (found.low, found.high))
    return Difference(found.value + by, low, high)


def _in_words(found: Difference, tested: Tested, alpha: float) -> str:
    level = tested.champion
    value = _change(found.value, level)
    if found.low is None or found.high is None:
        return f"{value}, without an interval yet"
    low, high = found.low if tested.negative else max(found.low, -level), found.high
    if low * high > 0.0:
        nearer, farther = sorted((abs(low), abs(high)))
        interval = f"{_size(nearer, level)} to {_change(math.copysign(farther, found.value), level)}"
    else:
        interval = f"{_change(low, level)} to {_change(high, level)}"
    return f"{value} ({100 * (1 - alpha):g} % interval: {interval})"


def _change(difference: float, level: float) -> str:
    if difference == 0.0:
        return "no difference"
    return f"{_size(abs(difference), level)} {'lower' if difference < 0.0 else 'higher'}"


def _size(difference: float, level: float) -> str:
    return f"{100 * difference / level:.3g} %" if level > 0.0 else f"{difference:.3g}"


def _rounded_up(rows: float) -> str:
    step = 10 ** max(len(str(int(rows))) - 2, 0)
    return f"{math.ceil(rows / step) * step:,}"
