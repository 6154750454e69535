"""What one turn of the cycle found and decided, as values: whoever runs the cycle writes them down, or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchlearn.formatting.notes import Note
from batchlearn.retraining.bracket import Bracket
from batchlearn.retraining.policies import Decision
from batchlearn.retraining.sources.label_times import NewRows
from batchlearn.retraining.verdict import Verdict
from batchlearn.tables.table import Table
from batchlearn.training.fit import Fit
from batchlearn.updating.sufficient_statistics import SufficientStatistics


@dataclass(frozen=True)
class RowsCounted:
    """How many rows there are, and how many of them are known and new; whether their times are timestamps."""

    look: NewRows
    stamped: bool


@dataclass(frozen=True)
class PolicyDecided:
    """Whether it is time to train again, and why."""

    decision: Decision


@dataclass(frozen=True)
class Noted:
    """Something that is worth saying."""

    note: Note


@dataclass(frozen=True)
class Alarmed:
    """Something that should not be."""

    note: Note


@dataclass(frozen=True)
class Halted:
    """The turn ends before anything is trained, for something that should not be; the champion stays."""

    note: Note


@dataclass(frozen=True)
class Bracketed:
    """What training again would gain, at least and at most."""

    bracket: Bracket


@dataclass(frozen=True)
class ChoiceJudged:
    """What later rows say of a person's choice; `outcome` is right, wrong, or None as long as they do not tell."""

    event: int  # of the choice
    verdict: Verdict
    outcome: str | None
    note: Note


@dataclass(frozen=True)
class Trained:
    """A model of all wanted rows, and what was found out about it; `judged_against` is the champion's generation.

    `start` is the one that it was trained from, whatever was asked for.
    """

    fit: Fit
    table: Table
    kept: SufficientStatistics | None
    verdict: Verdict
    evaluation: Mapping[str, Any] | None
    notes: tuple[Note, ...]
    judged_against: int | None
    alarms: tuple[Note, ...] = ()
    forgotten: str | None = None  # the condition of rows that had to go
    start: str = "scratch"


@dataclass(frozen=True)
class JudgedAgain:
    """A version that waited for evidence was judged by rows that came since."""

    version: int
    verdict: Verdict


@dataclass(frozen=True)
class Settled:
    """What becomes of a version: whether it goes live, what a person is asked about, and why."""

    verdict: Verdict
    goes_live: bool
    asked: str | None
    rehearsed: bool
    rehearsal: Note
    alarms: tuple[Note, ...]
    note: Note | None


@dataclass(frozen=True)
class Promoted:
    """The version goes live by this verdict."""

    verdict: Verdict


Event = (
    RowsCounted
    | PolicyDecided
    | Noted
    | Alarmed
    | Halted
    | Bracketed
    | ChoiceJudged
    | Trained
    | JudgedAgain
    | Settled
    | Promoted
)
