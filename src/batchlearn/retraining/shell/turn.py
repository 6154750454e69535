"""One turn of the cycle for a project: what the cycle says is written to the registry, event by event.

It may be run as often as one likes. Where nothing is due it reads three columns and keeps; killed at any point it
leaves the champion as it was, and the next turn goes on: everything that follows on a registered version follows from
the version's own files and the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from batchlearn.artifacts.store import Store
from batchlearn.artifacts.strict_json import plain
from batchlearn.errors import DataError, IntegrityError
from batchlearn.formatting.notes import Code, Note, all_recorded, joined, recorded, recorded_together
from batchlearn.models.folder import ROWS
from batchlearn.progress import Progress
from batchlearn.registry.decisions import complete
from batchlearn.registry.ledger import (
    ALARM,
    CYCLE,
    OUTCOME,
    OVERRIDE_INTERIM,
    check_promotions,
    events,
    highest_version,
    latest_cycle_of,
    record_event,
    standing_alarm,
)
from batchlearn.registry.loading import rows_of
from batchlearn.registry.promotions import Reason, champion, promote, promotions
from batchlearn.registry.pruning import finish_pruning
from batchlearn.registry.records import Record
from batchlearn.registry.version import Version, register
from batchlearn.retraining.cycle.columns import columns_unfit
from batchlearn.retraining.cycle.events import (
    Alarmed,
    Bracketed,
    ChoiceJudged,
    Event,
    Halted,
    JudgedAgain,
    Noted,
    PolicyDecided,
    Promoted,
    RowsCounted,
    Settled,
    Trained,
)
from batchlearn.retraining.cycle.run import run_cycle, settle
from batchlearn.retraining.project import Project
from batchlearn.retraining.shell.files import version_files
from batchlearn.retraining.shell.records import (
    CycleContext,
    RegisteredVersions,
    as_of,
    newest_of,
    newest_version,
    recorded_alarms,
    state_of,
    unfinished,
)
from batchlearn.retraining.sources.label_times import fingerprint, shown_instant
from batchlearn.retraining.verdict import Verdict

FORMAT_VERSION = 1
ALARM_EXIT_CODE = 12


@dataclass(frozen=True)
class CycleResult:
    """What one turn of the cycle came to."""

    decision: str  # keep or retrain
    reasons: tuple[Note, ...]
    seconds: float = 0.0
    bracket: dict[str, Any] | None = None
    start: str | None = None  # what training began from
    start_asked: str | None = None  # what [policy] says
    version: int | None = None
    certificate: dict[str, Any] | None = None
    gate: Verdict | None = None
    promoted: bool = False
    asked: str | None = None  # what a person was asked about
    alarms: tuple[Note, ...] = ()  # what should not be
    rehearsed: bool = True  # whether the version, if there is one, scored its sample rows to the same bits
    rows: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    halted: bool = False  # whether an alarm ended the turn before anything was trained
    event: int | None = None  # the record of the ledger that says how it ended; None where nothing is recorded
    at: str | None = None  # of that record

    @property
    def reason(self) -> str:
        """Why, as one text."""
        return joined(self.reasons)

    @property
    def exit_code(self) -> int:
        """0 kept, promoted or waiting; 6 not rehearsed; 10 the gate rejected; 11 too little evidence; 12 an alarm."""
        if self.halted:
            return ALARM_EXIT_CODE
        if not self.rehearsed:
            return IntegrityError.exit_code
        return 0 if self.gate is None else self.gate.exit_code

    def to_json(self) -> dict[str, Any]:
        """Return what `retrain --json` prints."""
        return {
            "format_version": FORMAT_VERSION,
            "decision": self.decision,
            "reason": self.reason,
            "reason_noted": _coded(self.reasons),
            "bracket": self.bracket,
            "start": self.start,
            "start_asked": self.start_asked,
            "version": self.version,
            "certificate": self.certificate,
            "gate": None if self.gate is None else judged(self.gate),
            "promoted": self.promoted,
            "asked": self.asked,
            "alarms": list(map(str, self.alarms)),
            "alarms_noted": _coded(self.alarms),
            "rows": self.rows,
            "notes": list(map(str, self.notes)),
            "noted": _coded(self.notes),
            "seconds": self.seconds,
        }

    def recorded(self, record: Record) -> CycleResult:
        """Return the turn with the record of the ledger that says how it ended."""
        return replace(self, event=record.number, at=str(record.content["at"]))

    def after(self, event: Event) -> CycleResult:
        """Return what the turn came to by one more event, of those that are told and not kept."""
        turn = self
        match event:
            case RowsCounted(look):
                turn = replace(self, rows=look.to_json())
            case PolicyDecided(decision):
                turn = replace(self, decision="retrain" if decision.retrain else "keep", reasons=decision.reasons)
            case Bracketed(bracket):
                turn = replace(self, bracket=plain(bracket.to_json()))
            case Noted(note):
                turn = replace(self, notes=(*self.notes, note))
            case Alarmed(note):
                turn = replace(self, alarms=(*self.alarms, note))
            case Halted(note):
                reasons, alarms = (note, *self.reasons), (*self.alarms, note)
                turn = replace(self, decision="keep", reasons=reasons, alarms=alarms, halted=True)
            case JudgedAgain(number, verdict):
                turn = replace(self, version=number, gate=verdict)
        return turn


def _coded(notes: Iterable[Note]) -> list[dict[str, Any]]:
    return [note.to_json() for note in notes]


def judged(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict with its state as the registry keeps it."""
    kept: dict[str, Any] = plain({**verdict.to_json(), "state": verdict.state})
    return kept


def run_turn(
    context: CycleContext, *, dry_run: bool = False, anyway: bool = False
) -> Generator[Progress, None, CycleResult]:
    """Yield progress while the cycle turns once; return what it came to. `anyway` trains whatever the policy says.

    A dry run registers nothing. Raises what reading and training raise; the champion is then as it was.
    """
    began, store, plan = time.perf_counter(), context.project.store, context.plan
    check_promotions(events(store), champion(store))
    if not dry_run:
        complete(store)
        finish_pruning(store, events(store))
        left = unfinished(store)
        if left is not None:
            return replace(finish(context, left), seconds=time.perf_counter() - began)
    written = EventWriter(context, newest_version(store), dry_run)
    cycle = run_cycle(
        state_of(store), context.source, written.versions, context.clock, plan, dry_run=dry_run, anyway=anyway
    )
    for event in cycle:
        if isinstance(event, Progress):
            yield event
        else:
            written.write(event)
    return replace(written.turn, seconds=time.perf_counter() - began)


class EventWriter:
    """Writes the events of a turn to the registry, in their order; `turn` is what they came to so far.

    The order is such that a turn that is killed in between is finished by the next one: first the version, then how it
    ended, then the promotion.
    """

    def __init__(self, context: CycleContext, newest: Version | None, dry_run: bool = False) -> None:
        self.context, self.dry_run = context, dry_run
        self.versions = RegisteredVersions(context, newest)
        self.turn = CycleResult("keep", (), start=context.plan.start, start_asked=context.plan.start)
        self.counted: RowsCounted | None = None

    def write(self, event: Event) -> None:
        """Write an event down, if it is one to be kept."""
        turn, store, at = self.turn, self.context.project.store, self.context.at
        match event:
            case ChoiceJudged(about, verdict, outcome, note):
                content = {"about": about, "why": str(note), "why_noted": note.to_json()}
                if outcome is None:
                    content |= {"looked": self.context.now, "state": plain(verdict.state)}
                    record_event(store, OVERRIDE_INTERIM, at, content)
                else:
                    record_event(store, OUTCOME, at, {**content, "outcome": outcome})
            case Trained():
                assert self.counted is not None
                turn = replace(turn, start=event.start, alarms=event.alarms, notes=(*turn.notes, *event.notes))
                version = register_trained(self.context, self.counted, event, turn)
                self.versions.newest, self.turn = version, turn_of(version, event.verdict)
            case Settled(alarms=alarms, note=note, asked=asked, rehearsed=rehearsed):
                assert self.versions.newest is not None
                told = record_cycle(self.context, self.versions.newest, event)
                notes = turn.notes if note is None else (*turn.notes, note)
                turn = replace(turn, alarms=alarms, asked=asked, rehearsed=rehearsed, notes=notes)
                self.turn = turn.recorded(told)
            case Promoted(verdict):
                stands, newest = self.versions.stands, self.versions.newest
                assert newest is not None
                why = str(Note(Code.FIRST_GOES_LIVE)) if stands is None else verdict.sentence
                reason = Reason(why, self.context.by, at, False, judged(verdict), None)
                promote(store, newest.number, reason, stands)
                self.turn = replace(turn, promoted=True)
            case _:
                self.counted = event if isinstance(event, RowsCounted) else self.counted
                self.turn = turn.after(event)
                if self.turn.halted and not self.dry_run:
                    self.turn = self.turn.recorded(record_alarm(store, at, self.context.by, self.turn))


def turn_of(version: Version, verdict: Verdict) -> CycleResult:
    """Return the turn that a registered version came of, as far as the version itself says it."""
    said = version.description
    return CycleResult(
        decision="retrain",
        reasons=recorded_together(said["reason"], said.get("reason_noted")),
        bracket=said["bracket"],
        start=said["start"],
        start_asked=said.get("start_asked"),
        version=version.number,
        certificate=said["certificate"],
        gate=verdict,
        alarms=recorded_alarms(said),
        rows=said["rows"],
        notes=all_recorded(said),
    )


def finish(context: CycleContext, version: Version) -> CycleResult:
    """Finish the turn of a version that was registered, and then killed: it is rehearsed, recorded and promoted."""
    past = events(context.project.store)
    newest, turn = newest_of(version, past), latest_cycle_of(past, version.number)
    written = EventWriter(context, version)
    written.turn = turn_of(version, newest.verdict)
    written.write(Noted(Note(Code.EARLIER_RUN_ENDED, {"version": version.number})))
    if turn is None:
        asked = state_of(context.project.store).asked
        for event in settle(context.plan, context.clock, asked, newest, written.versions.rehearse_newest()):
            written.write(event)
        return written.turn
    told = turn.content
    if told["note"]:
        written.write(Noted(recorded(told["note"])))
    written.turn = replace(written.turn, asked=told["review"], rehearsed=bool(told["rehearsed"])).recorded(turn)
    written.versions.stands = champion(context.project.store)
    written.write(Promoted(newest.verdict))
    return written.turn


def last_on_record(store: Store) -> tuple[CycleResult, str] | None:
    """Return the last turn that the ledger says the end of, as far as it and its version do, and who asked for it."""
    past, version = events(store), newest_version(store)
    told = None if version is None else latest_cycle_of(past, version.number)
    if version is None or told is None:
        return None
    turn = turn_of(version, newest_of(version, past).verdict).recorded(told)
    said = told.content
    notes = (*turn.notes, recorded(said["note"])) if said["note"] else turn.notes
    live = any(one.version == version.number for one in promotions(store))
    asked, rehearsed = said["review"], bool(said["rehearsed"])
    return replace(turn, notes=notes, asked=asked, rehearsed=rehearsed, promoted=live), said["by"]


def turn_without_source(project: Project, refusal: DataError, at: str, by: str, dry_run: bool) -> CycleResult:
    """Return the turn of a project whose source does not open, where that is an alarm; else raises the refusal."""
    stands = champion(project.store)
    alarm = columns_unfit(None if stands is None else stands.version, refusal)
    if alarm is None:
        raise refusal
    turn = CycleResult("keep", ()).after(Halted(alarm))
    return turn if dry_run else turn.recorded(record_alarm(project.store, at, by, turn))


def record_alarm(store: Store, at: str, by: str, turn: CycleResult) -> Record:
    """Write down that an alarm ended a turn, once for as long as each turn ends by the same one; return the record."""
    noted = plain(_coded(turn.alarms))
    stands = standing_alarm(events(store))
    if stands is None or stands.content["alarms_noted"][-1] != noted[-1]:
        content = {"by": by, "alarms": list(map(str, turn.alarms)), "alarms_noted": noted}
        stands = record_event(store, ALARM, at, content)
    return stands


def record_cycle(context: CycleContext, version: Version, settled: Settled) -> Record:
    """Write down how the turn ended that made or judged a version."""
    description = version.description
    content = {
        "decision": "retrain",
        "reason": description["reason"],
        "version": version.number,
        "as_of": as_of(version),
        "looked": context.now,
        "gate": judged(settled.verdict),
        "judged_against": description["judged_against"],
        "by": context.by,
        "rehearsed": settled.rehearsed,
        "rehearsal": str(settled.rehearsal),
        "alarms": list(map(str, settled.alarms)),
        "alarms_noted": _coded(settled.alarms),
        "promote": settled.goes_live,
        "review": settled.asked,
        "note": "" if settled.note is None else str(settled.note),
    }
    return record_event(context.project.store, CYCLE, context.at, plain(content))


def register_trained(context: CycleContext, counted: RowsCounted, trained: Trained, turn: CycleResult) -> Version:
    """Write a candidate as a new version, with its verdict and all that is known of its rows."""
    store, fit, look = context.project.store, trained.fit, counted.look

    def shown(instant: float | None) -> str | None:
        return None if instant is None else shown_instant(instant, counted.stamped)

    files, responses = version_files(trained, context.project.text, context.plan.recipe.seed)
    model, newest = fit.model, newest_version(store)
    before = None if newest is None else rows_of(store, newest)
    names = [*(model.readings or model.encoding.kinds)]  # the oldest models do not say how they read columns
    listed = context.source.list_rows(trained.table.like(model.readings), names, before)
    description = {
        "created_at": context.at,
        "created_by": context.by,
        "data": {
            "as_of": shown(context.now),
            "as_of_instant": context.now,
            "first": shown(look.first),
            "last": shown(look.last),
            "last_instant": look.last,
            "latest": shown(look.latest),
            "latest_instant": look.latest,
            "rows": fit.rows.to_json(),
            "fingerprint": fingerprint(trained.table),
            "condition": None if trained.table.condition is None else str(trained.table.condition),
            "origin": context.source.origin,
        },
        "rows": turn.rows,
        "reason": turn.reason,
        "reason_noted": _coded(turn.reasons),
        "start": turn.start,
        "start_asked": turn.start_asked,
        "bracket": turn.bracket,
        "certificate": fit.certificate.to_json(),
        "recipe": fit.recipe.to_json(),
        "evaluation": trained.evaluation,
        "gate": judged(trained.verdict),
        "judged_against": trained.judged_against,
        "sample": {"shape": list(responses)},
        "notes": list(map(str, turn.notes)),
        "noted": _coded(turn.notes),
        "alarms": list(map(str, turn.alarms)),
        "alarms_noted": _coded(turn.alarms),
        "forgotten": trained.forgotten,
    }
    # A number that was given is not given again, though its folder be gone: records speak of it.
    whole = {**files, ROWS: listed.dump()}
    return register(store, plain(description), whole, beyond=highest_version(events(store)))
