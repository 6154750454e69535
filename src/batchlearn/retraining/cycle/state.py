"""What a turn of the cycle is a function of: the state of the versions, the rows, the clock and the plan.

Where they come from is nothing that the cycle can tell: a registry and files, or a history that is played again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from batchlearn.formatting.notes import Note
from batchlearn.models.encoded import EncodedModel
from batchlearn.objectives.penalties import Penalty
from batchlearn.retraining.policies import Action, Policy, Span
from batchlearn.retraining.sources.label_times import LabelTimes
from batchlearn.retraining.verdict import Gate, Verdict
from batchlearn.selection.structure import Structure
from batchlearn.selection.terms import encoding_penalty
from batchlearn.tables.conditions import And, Condition, Not, Or
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Table
from batchlearn.tables.table.roles import Fading
from batchlearn.tables.table.row_list import RowList, Standing
from batchlearn.training.recipe import Recipe
from batchlearn.updating.sufficient_statistics import SufficientStatistics


class CycleClock(NamedTuple):
    """The time of a turn by the clock of the data, on the scale of the time column, and as it is recorded.

    `at` is ISO 8601 in UTC: what the wall shows, or the time to act as at.
    """

    now: float
    at: str


@dataclass(frozen=True)
class Plan:
    """What a project wants: how to train, when, on which rows, from which start, and what may go live."""

    recipe: Recipe  # with nothing held out
    policy: Policy
    window: Span | None
    start: str  # scratch, warm, fine-tune or update
    gate: Gate
    share: float  # of the new rows, the latest, that judge
    review: tuple[str, ...] = ("promotion",)  # what a person is asked about: promotion, rejection, alarm
    budget: int | None = None  # of reviews a month
    threads: int | None = None
    fallback: bool = True  # whether a start that is refused gives way to the next dearer one
    price: float | None = None  # of a retrain, in sums of loss over rows
    structure: str = "choose"  # or keep the champion's: what terms there are, and their strengths
    half_life: Span | None = None  # at which age a row counts half
    since: float | None = None  # train on what became known after that alone

    def doing(self, action: Action | None, trained: float | None) -> Plan:
        """Return the plan with what a policy says that this retrain does, after a training as of a time or none."""
        if action is None:
            return self
        return replace(
            self,
            recipe=replace(self.recipe, batch_size=action.batch_size),
            window=action.window,
            half_life=action.half_life,
            since=trained if action.new_only else None,
            start=action.start,
            structure=action.structure,
        )


@dataclass(frozen=True)
class Champion:
    """The live model with what is needed to go on from it: as of when it was trained, and what it kept of its rows."""

    model: EncodedModel
    as_of: float
    latest: float  # the latest time at which a row that had landed by then was seen
    generation: int
    strengths: Mapping[str, float]
    recipe: Mapping[str, Any]  # as `Recipe.to_json` says it
    kept: SufficientStatistics | None
    pruned: bool = False  # whether what it kept was removed since
    columns: Mapping[str, str | None] | None = None
    """Kinds by name of those of its table; None where an older one does not say."""
    structure: Structure | None = None
    """What its data chose, where training from scratch is to keep it."""

    def penalty(self, recipe: Recipe) -> Penalty:
        """Return the penalty of what goes on from the champion by this recipe, for any number of rows."""
        return encoding_penalty(self.model.encoding, self.strengths, recipe.alpha)


@dataclass(frozen=True)
class LiveVersion:
    """Who is live, by which promotion, and the conditions of rows that were forgotten after its training."""

    number: int
    generation: int
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Newest:
    """The newest version: what was known when it was trained, and what was found about it."""

    number: int
    as_of: float
    latest: float  # as of `Champion`
    known: int | None  # rows with a known label by then; None where rows were forgotten since
    at: str  # what the wall showed when it was made, as `CycleClock.at`
    verdict: Verdict
    judged_against: int | None  # generation of a champion
    judged_at: float | None = None  # as of when it was judged last; None where that never ended
    alarms: tuple[Note, ...] = ()
    forgotten: str | None = None  # the condition of rows that had to go, where that is why it was trained
    last: float | None = None  # the latest time at which a row that it knew was seen; older versions do not say


@dataclass(frozen=True)
class Override:
    """A choice of a person against the gate, of which rows labelled since have not told whether it was right."""

    event: int
    chosen: int | None  # versions
    instead_of: int | None
    as_of: float | None  # up to when rows had been looked at
    looked: float | None = None  # as of when the choice was looked at last
    looks: Mapping[str, Any] | None = None  # what the next look needs of the earlier ones


@dataclass(frozen=True)
class CycleState:
    """What is known of the versions before a turn, as plain values."""

    newest: Newest | None = None
    live: LiveVersion | None = None
    overrides: tuple[Override, ...] = ()
    asked: tuple[str, ...] = ()  # when a person was asked, as `CycleClock.at` says it


class Rehearsed(NamedTuple):
    """Whether a version scores its sample rows to the same bits as at its training, and who is live by then."""

    same: bool
    note: Note
    live: int | None  # generation of the promotion that stands


class PastVersion(NamedTuple):
    """A version, as of when it was trained, and how many rows with a known label there were then."""

    number: int
    as_of: float
    known: int | None


class Versions(Protocol):
    """The models of versions, each read when it is asked for; what is altered or missing raises."""

    def champion(self) -> Champion:
        """Return the live model."""
        ...

    def model(self, number: int) -> EncodedModel:
        """Return the model of a version."""
        ...

    def past(self) -> Sequence[PastVersion]:
        """Return all versions, the oldest first."""
        ...

    def rows_of(self, number: int) -> RowList | None:
        """Return the rows of a version as a list; None where it has none: then its time says which they were."""
        ...

    def rehearse_newest(self) -> Rehearsed:
        """Rehearse the newest version: the one of the last `Trained` event, where there was one."""
        ...


class RowSource(Protocol):
    """Rows that can be asked for by a condition."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is worth saying of all rows."""
        ...

    def table(self, *conditions: Condition | None) -> Table:
        """Return the rows that meet all conditions, not read yet."""
        ...

    def times(self) -> LabelTimes:
        """Return which columns say when a row was seen and labelled."""
        ...

    def like(self, readings: Mapping[str, ColumnReading]) -> RowSource:
        """Return the same rows with their columns read as a model reads them."""
        ...

    def compare(self, then: RowList) -> Standing:
        """Return how the rows of a list stand now."""
        ...


class TrainingTables(NamedTuple):
    """The rows to train on, those of them that the champion has not seen, and those that it has and that go.

    `others` is given where rows of the champion, of the files in `lost`, cannot be read any more as they were: what is
    there now of the rows that are not added, for totals of them to be found again.
    """

    everything: Table
    added: Table
    removed: Table | None
    others: Table | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownRows:
    """The rows as they are known at a time, of which a plan wants some.

    `standing` is how the champion's rows stand now; without it they are told by their times.
    """

    source: RowSource
    times: LabelTimes
    now: float
    plan: Plan
    standing: Standing | None = None

    def wanted(self, now: float | None = None) -> tuple[Condition, ...]:
        """Return what holds for the rows that the plan trains on, now or at another time."""
        then, window = self.now if now is None else now, self.plan.window
        recent = () if window is None else (self.times.after(then - window.on(self.times.stamped)),)
        new = () if self.plan.since is None else (Not(self.times.labelled_by(self.plan.since)),)
        return (self.times.labelled_by(then), *recent, *new)

    def faded(self, table: Table, as_of: float | None = None) -> Table:
        """Return rows to learn from with what they count at their age, now or at another time."""
        half_life = self.plan.half_life
        if half_life is None:
            return table
        then = self.now if as_of is None else as_of
        return replace(table, fading=Fading(then, half_life.on(self.times.stamped)))

    def before(self, champion: Champion) -> Condition:
        """Return what holds for the rows that were known when the champion was trained, and are as they were."""
        known = self.times.labelled_by(champion.as_of)
        return known if self.standing is None else And((known, self.standing.listed))

    def since(self, champion: Champion) -> Condition:
        """Return what holds for the rows that are known and were not when the champion was trained."""
        changed = () if self.standing is None else (Not(self.standing.changed),)
        return And((self.times.labelled_by(self.now), Not(self.before(champion)), *changed))

    def judging(self, champion: Champion) -> Condition:
        """Return what holds for the rows of `since` that may judge: rows that landed late may not."""
        if self.standing is None:
            return self.since(champion)
        return And((self.since(champion), Or((self.standing.landed, self.times.after(champion.latest)))))

    def parts(self, champion: Champion, until: float | None = None) -> TrainingTables:
        """Return the rows to train on, and what came and went since the champion's training.

        Rows that were seen after `until` are none of them, be they new or old.
        """
        rows, table, times = self.wanted(), self.source.table, self.times
        seen = () if until is None else (times.seen_by(until),)
        everything, added = self.faded(table(*rows, *seen), until), table(*rows, self.since(champion), *seen)
        if self.standing is not None and self.standing.lost:
            there = Or((self.before(champion), self.standing.changed))
            return TrainingTables(everything, added, None, table(*rows, there, *seen), self.standing.lost)
        # Old rows go only where there is a window, which moves on, or where they are later than those that judge.
        going = [*map(Not, rows[1:]), *(Not(one) for one in seen)]
        old = (self.before(champion), *self.wanted(champion.as_of))
        return TrainingTables(everything, added, table(*old, Or(tuple(going))) if going else None)
