"""The settings of a gate, and what it says: a decision that follows from an interval, and the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from batchlearn.errors import UsageError, quoted
from batchlearn.evaluation.paired import Difference
from batchlearn.formatting.notes import Code, Note, joined, recorded_together

Mode = Literal["superiority", "non-inferiority", "anytime"]
Promote = Literal["ask", "auto"]
GateDecision = Literal["promote", "reject", "not enough evidence"]

# An interval so many times as long as the difference says nothing of how many rows would show it.
_FAR = 1e3
EXIT_CODES: Mapping[str, int] = {"promote": 0, "reject": 10, "not enough evidence": 11}


@dataclass(frozen=True)
class Gate:
    """How a challenger is judged, and whether a person has to confirm a promotion.

    Args:
        mode: "superiority", "non-inferiority" or "anytime".
        alpha: The rate of wrong verdicts, above 0 and at most 0.5.
        margin: Of non-inferiority, the share of the champion's loss by which the challenger may be worse.
        promote: "ask" a person, or "auto".

    Raises:
        UsageError: A setting is not one of these.

    Example:
        >>> import batchlearn as bl
        >>> bl.BacktestPlan(gate=bl.Gate("non-inferiority", margin=0.01)).gate.margin
        0.01
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
class JudgedLosses:
    """Mean losses on the rows of one look, under the proper score of the challenger's target.

    The constant is fitted on what the challenger learned from, all of it before these rows; where there is none that is
    finite, or the champion cannot score the rows, its loss is None.
    """

    rows: int
    champion: float | None
    challenger: float
    constant: float | None


@dataclass(frozen=True)
class Verdict:
    """What the gate found: a decision, its reasons, and the figures behind it.

    `difference`, `low` and `high` are in units of the loss, challenger minus champion; None where nothing was compared
    or the rows are too few for an interval. `asks` says that a promotion waits for a person. `state` is what the next
    look of mode "anytime" needs; `losses` are of the rows of this one.
    """

    verdict: GateDecision
    reasons: tuple[Note, ...]
    mode: Mode
    alpha: float
    rows: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    asks: bool = False
    state: Mapping[str, Any] | None = None
    losses: JudgedLosses | None = None

    @property
    def sentence(self) -> str:
        """The decision and its reasons as one text; that of an older record as it stands."""
        text = joined(self.reasons)
        return text if self.reasons[0].code is Code.RECORDED else _beginning(self.verdict) + text

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
            "noted": [note.to_json() for note in self.reasons],
            "asks": self.asks,
            "losses": None if self.losses is None else asdict(self.losses),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """Return the verdict that a record holds, with its state if that stands there."""
        decision = value["verdict"]
        reasons = recorded_together(value["sentence"], value.get("noted"), _beginning(decision))
        figures = (value["rows"], value["difference"], value["low"], value["high"], value["asks"])
        said = value.get("losses")
        losses = None if said is None else JudgedLosses(**said)
        return cls(decision, reasons, value["mode"], value["alpha"], *figures, value.get("state"), losses)


def _beginning(decision: GateDecision) -> str:
    return f"{decision.capitalize()}: "


def answered(gate: Gate, decision: GateDecision, why: Note, rows: int, found: Difference | None = None) -> Verdict:
    """Return a verdict with its reason, and its figures where there are some."""
    value, low, high = (None, None, None) if found is None else (found.value, found.low, found.high)
    asks = decision == "promote" and gate.promote == "ask"
    return Verdict(decision, (why,), gate.mode, gate.alpha, rows, value, low, high, asks)


def conclude(
    gate: Gate, rows: int, champion: float, found: Difference, against: str = "champion", negative: bool = False
) -> Verdict:
    """Return the verdict that follows from the side of 0 on which the interval lies.

    `champion` is its mean loss over the rows, and `found` is of challenger - (1 + margin) x champion. `against` says
    who stands in the champion's place; `negative` whether some losses are below 0.
    """
    decision: GateDecision = "not enough evidence"
    needed = None
    if found.low is not None and found.high is not None:
        if found.high < 0.0:
            decision = "promote"
        elif found.low >= 0.0:
            decision = "reject"
        elif gate.mode != "anytime" and found.value < 0.0:
            times = (found.value - found.high) / found.value
            needed = rows * times**2 if times < _FAR else None
    by = (gate.margin or 0.0) * champion
    low, high = (None if bound is None else bound + by for bound in (found.low, found.high))
    shown = Difference(found.value + by, low, high)
    figures = {"rows": rows, "champion": champion, "difference": shown.value, "low": low, "high": high}
    settings = {"alpha": gate.alpha, "margin": gate.margin, "against": against, "negative": negative}
    reason = Note(Code.LOSSES_COMPARED, {**figures, **settings, "rows_needed": needed})
    return answered(gate, decision, reason, rows, shown)
