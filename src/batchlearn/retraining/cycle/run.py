"""One turn of the cycle: look, decide, train, judge, and say what becomes of the version.

A function of the state of the versions, the rows, the clock and the plan, which returns events. Nothing is locked, read
from a folder or written here: `retraining.shell` does that around it, and whoever plays history again does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from batchlearn.errors import DataError
from batchlearn.formatting.notes import Code, Note
from batchlearn.progress import Progress
from batchlearn.retraining.cycle.arrived import ArrivedEvidence
from batchlearn.retraining.cycle.candidate import Judged, judge_later, train_candidate
from batchlearn.retraining.cycle.columns import check_columns, columns_unfit
from batchlearn.retraining.cycle.events import (
    Alarmed,
    Bracketed,
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
from batchlearn.retraining.cycle.override_outcomes import judge_choices
from batchlearn.retraining.cycle.state import (
    CycleClock,
    CycleState,
    KnownRows,
    Newest,
    Plan,
    Rehearsed,
    RowSource,
    Versions,
)
from batchlearn.retraining.policies import Decision, Situation
from batchlearn.retraining.sources.label_times import (
    Landed,
    NewRows,
    count_new_rows,
    parse_instant,
    shown_instant,
)
from batchlearn.retraining.verdict import Verdict
from batchlearn.tables.conditions import Or
from batchlearn.tables.table.row_list import Standing


def run_cycle(
    state: CycleState,
    rows: RowSource,
    versions: Versions,
    clock: CycleClock,
    plan: Plan,
    *,
    dry_run: bool = False,
    anyway: bool = False,
) -> Iterator[Event | Progress]:
    """Yield what one turn of the cycle finds and decides, in order, with progress in between.

    A dry run ends where training would begin. `anyway` trains whatever the policy says. Each event is to be written
    down, if at all, before the next one is asked for: after `Trained` the cycle has that version rehearsed. Raises
    what reading and training raise; but where a version is live and columns of the source are not what it reads, that
    is an alarm and the end of the turn, unless `anyway`.
    """
    try:
        yield from _turn(state, rows, versions, clock, plan, dry_run, anyway)
    except DataError as problem:
        alarm = None if anyway or state.live is None else columns_unfit(state.live.number, problem)
        if alarm is None:
            raise
        yield Halted(alarm)


def _turn(
    state: CycleState,
    rows: RowSource,
    versions: Versions,
    clock: CycleClock,
    plan: Plan,
    dry_run: bool,
    anyway: bool,
) -> Iterator[Event | Progress]:
    yield Progress("looking for new rows")
    times, newest, live = rows.times(), state.newest, state.live
    trained = None if newest is None else newest.as_of
    there = Or((times.seen_by(clock.now), times.untimed()))
    lists = {number: versions.rows_of(number) for number in {one.number for one in (newest, live) if one is not None}}
    standings = {number: None if one is None else rows.compare(one) for number, one in lists.items()}
    standing = None if newest is None else standings[newest.number]
    then = None if standing is None or newest is None else Landed(standing, newest.latest)
    found = count_new_rows(rows.table(there), times, clock.now, trained, then)
    known = KnownRows(rows, times, clock.now, plan, None if live is None else standings[live.number])
    evidence = ArrivedEvidence(known, versions, state)
    decision = _decide(evidence, clock, found, anyway)
    if decision.action is not None:
        plan = plan.doing(decision.action, trained)
        evidence = ArrivedEvidence(replace(known, plan=plan), versions, state)
    if decision.retrain:
        _refuse_empty_window(plan, clock, found, times.stamped)
    yield RowsCounted(found, times.stamped)
    yield PolicyDecided(decision)
    yield from map(Noted, (*rows.notes, *found.notes))
    alarms = _alarms_of_past(newest, standing, found)
    yield from map(Alarmed, alarms)
    if live is not None:
        yield from (Noted(Note(Code.NOT_FORGOTTEN, {"version": live.number, "where": one})) for one in live.forgotten)
    champion = evidence.champion if live is not None and (decision.retrain or dry_run) else None
    if champion is not None and plan.structure == "choose":
        champion = replace(champion, structure=None)
    # Columns go on being read as the live model reads them: their kinds do not turn with what new rows hold.
    rows = rows.like({} if champion is None else champion.model.readings)
    known = replace(evidence.known, source=rows)
    if champion is not None:
        parts = known.parts(champion)
        yield from map(Noted, () if anyway else check_columns(champion, rows.table(), parts.added))
        yield Progress("bracketing the gain")
        bracket, note = evidence.bracketed
        if bracket is not None:
            yield Bracketed(bracket)
        yield Noted(note)
    if dry_run:
        return
    if decision.retrain:
        yield from judge_choices(state.overrides, rows, times, versions, clock.now)
        candidate = yield from train_candidate(known, champion)
        candidate = replace(candidate, alarms=(*alarms, *candidate.alarms))
        yield Progress("registering")
        yield candidate
        yield from settle(plan, clock, state.asked, candidate, versions.rehearse_newest())
    elif newest is not None and live is not None:
        newest = replace(newest, alarms=(*newest.alarms, *alarms))
        yield from _judge_again(state, newest, known, versions, clock)


def _alarms_of_past(newest: Newest | None, standing: Standing | None, found: NewRows) -> tuple[Note, ...]:
    """Return the alarm that rows of the last training are other ones or gone."""
    if standing is not None and standing.lost:
        counts = {"changed": found.changed, "gone": found.gone, "files": list(standing.lost)}
        return (Note(Code.ROWS_REPLACED, counts),)
    if standing is None and newest is not None and newest.known not in (None, found.known - found.unlearned):
        # What was known at the last training is more or less by now, as rows with old times come and go.
        return (Note(Code.PAST_CHANGED, {"before": newest.known, "now": found.known - found.unlearned}),)
    return ()


def _decide(evidence: ArrivedEvidence, clock: CycleClock, found: NewRows, anyway: bool) -> Decision:
    """Ask the policy; a wall's clock is no clock of times that are numbers. What is wanted anyway needs no evidence."""
    newest, stamped, plan = evidence.state.newest, evidence.known.times.stamped, evidence.known.plan
    situation = Situation(clock.now, None, found.unlearned, stamped, price=plan.price)
    if newest is not None:
        wall = (parse_instant(newest.at, stamped=True), parse_instant(clock.at, stamped=True)) if stamped else None
        situation = situation._replace(trained=newest.as_of, wall=wall, learned=newest.known, evidence=evidence)
    try:
        decision = plan.policy.decide(situation)
    except DataError as problem:
        if not anyway:
            raise
        decision = Decision(False, (Note(Code.POLICY_CANNOT_SEE, {"refusal": problem.message}),))
    if anyway and not decision.retrain:
        return decision._replace(retrain=True, reasons=(Note(Code.ASKED_FOR), *decision.reasons))
    return decision


def _refuse_empty_window(plan: Plan, clock: CycleClock, found: NewRows, stamped: bool) -> None:
    """Refuse to train on a window of time that no known row is in: DataError."""
    if plan.window is None or found.last is None or found.last > clock.now - plan.window.on(stamped):
        return
    raise DataError(
        f"No row with a known label was seen in the last {plan.window} before {shown_instant(clock.now, stamped)}, the "
        f"window of [policy]; the latest was seen at {shown_instant(found.last, stamped)}. Bring newer rows, make the "
        "window longer, or give --now the time that the rows are of.",
        code="window-empty",
    )


def _judge_again(
    state: CycleState, newest: Newest, known: KnownRows, versions: Versions, clock: CycleClock
) -> Iterator[Event]:
    """Judge a challenger that waits for evidence by the rows seen since the last look, where there are any."""
    plan, before, live = known.plan, newest.verdict, state.live
    waits = plan.gate.mode == "anytime" and before.verdict == "not enough evidence"
    # What it waited to be compared with may not be live any more.
    if not waits or newest.judged_at is None or known.now <= newest.judged_at or live is None:
        return
    if newest.judged_against != live.generation:
        return
    found = judge_later(known, newest, lambda: (versions.champion().model, versions.model(newest.number)))
    if not isinstance(found, Judged):
        yield from () if found is None else (Noted(found),)
        return
    yield JudgedAgain(newest.number, found.verdict)
    yield from map(Noted, found.notes)
    newest = replace(newest, alarms=(*newest.alarms, *found.alarms))
    yield from settle(plan, clock, state.asked, newest, versions.rehearse_newest(), found.verdict)


def settle(
    plan: Plan,
    clock: CycleClock,
    asked: tuple[str, ...],
    version: Trained | Newest,
    rehearsed: Rehearsed,
    later: Verdict | None = None,
) -> Iterator[Settled | Promoted]:
    """Say what becomes of a version by its verdict, or a later one: whether it goes live, waits for a person, or not.

    `asked` is when a person was asked before, for the budget of a month.
    """
    verdict = later or version.verdict
    moved = rehearsed.live != version.judged_against
    alarms = version.alarms if rehearsed.same else (*version.alarms, rehearsed.note)
    held = bool(alarms) and "alarm" in plan.review
    passed = verdict.verdict == "promote" and rehearsed.same and not moved
    # The first version displaces nobody, and where rows had to go it is no contest: nobody is asked.
    no_contest = rehearsed.live is None or version.forgotten is not None
    goes_live = passed and not held and (no_contest or plan.gate.promote == "auto")
    about = None
    if passed and not goes_live:
        about = "promotion"
    elif verdict.verdict == "reject" and "rejection" in plan.review:
        about = "rejection"
    elif held and later is None:
        about = "alarm"
    note = None
    if about is not None and plan.budget is not None and sum(at[:7] == clock.at[:7] for at in asked) >= plan.budget:
        about, note = None, Note(Code.REVIEWS_SPENT, {"budget": plan.budget})
    if moved:
        note = Note(Code.OVERTAKEN, {"generation": rehearsed.live})
    elif not rehearsed.same:
        note = Note(Code.NOT_REHEARSED, {"why": str(rehearsed.note)})
    yield Settled(verdict, goes_live, about, rehearsed.same, rehearsed.note, alarms, note)
    if goes_live:
        yield Promoted(verdict)
