"""One turn of the cycle: look, decide, train, judge, record.

It may be run as often as one likes. Where nothing is due it reads three columns and keeps; killed at any point it
leaves the champion as it was, and the next turn goes on.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from batchlearn.artifacts.strict_json import plain
from batchlearn.errors import DataError
from batchlearn.registry.decisions import complete
from batchlearn.registry.ledger import check_promotions, events, forgotten_since, highest_version, latest_turn_of
from batchlearn.registry.loading import load_champion, load_version
from batchlearn.registry.promotions import champion
from batchlearn.registry.version import Version, register
from batchlearn.retraining.cycle.candidate import (
    Candidate,
    Surroundings,
    compare,
    contest,
    parts_since,
    train_candidate,
)
from batchlearn.retraining.cycle.files import version_files
from batchlearn.retraining.cycle.finish import Turn, finish, newest_version, unfinished
from batchlearn.retraining.cycle.hindsight import record_outcomes
from batchlearn.retraining.cycle.starting import Champion, bracket_of
from batchlearn.retraining.feed.known import Look, Times, fingerprint, look, settled, shown_instant
from batchlearn.retraining.policies import Decision, Situation, Span
from batchlearn.tables.conditions import Or
from batchlearn.training.train import Progress
from batchlearn.words.notes import Code, Note, all_recorded, recorded


def turning(around: Surroundings, *, dry_run: bool = False, anyway: bool = False) -> Generator[Progress, None, Turn]:
    """Yield progress while the cycle turns once; return what it came to. `anyway` trains whatever the policy says.

    A dry run registers nothing. Raises what reading and training raise; the champion is then as it was.
    """
    began = time.perf_counter()
    store = around.project.store
    check_promotions(events(store), champion(store))
    if not dry_run:
        complete(store)
    left = unfinished(store)
    if left is not None and not dry_run:
        return _finished(around, left, began)
    yield Progress("looking for new rows")
    times = around.feed.times()
    newest = newest_version(store)
    trained = None if newest is None else as_of(newest)
    there = Or((times.seen_by(around.now), times.untimed()))
    found = look(around.feed.table(there), times, around.now, trained)
    changed = _past_changed(around, newest, found)
    decision = around.project.policy.decide(Situation(around.now, trained, found.new, times.stamped))
    if anyway and not decision.retrain:
        decision = Decision(True, f"Asked for, whatever the policy says. {decision.reason}")
    if decision.retrain:
        _refuse_empty_window(around, times, found)
    turn = Turn(
        "retrain" if decision.retrain else "keep",
        decision.reason,
        0.0,
        start=around.project.settings.policy.start,
        alarms=changed,
        rows={"seen": found.seen, "known": found.known, "new": found.new},
        notes=(*around.feed.notes, *found.notes, *_not_forgotten(around)),
    )
    live = live_model(around) if decision.retrain or dry_run else None
    if live is not None:
        # Columns go on being read as the live model reads them: their kinds do not turn with what new rows hold.
        around = replace(around, feed=replace(around.feed, readings=live.model.readings))
        yield Progress("bracketing the gain")
        turn = _bracketed(around, times, live, turn)
    if not decision.retrain or dry_run:
        looked = None if dry_run or newest is None else _look_again(around, times, newest, turn)
        return replace(looked or turn, seconds=time.perf_counter() - began)
    record_outcomes(around, times)
    candidate = yield from train_candidate(around, times, live)
    yield Progress("registering")
    version = register_candidate(around, times, found, candidate, turn)
    return _finished(around, version, began, turn)


def _refuse_empty_window(around: Surroundings, times: Times, found: Look) -> None:
    """Refuse to train on a window of time that no known row is in: DataError."""
    window = around.project.settings.policy.window
    if window is None or found.last is None:
        return
    if found.last <= around.now - Span.parse(window).on(times.stamped):
        raise DataError(
            f"No row with a known label was seen in the last {Span.parse(window)} before "
            f"{shown_instant(around.now, times.stamped)}, the window of [policy]; the latest was seen at "
            f"{shown_instant(found.last, times.stamped)}. Bring newer rows, make the window longer, or give --now "
            "the time that the rows are of.",
            code="window-empty",
        )


def _past_changed(around: Surroundings, newest: Version | None, found: Look) -> tuple[str, ...]:
    """Say where what was known at the last training is more or less by now, as rows with old times come and go."""
    if newest is None or forgotten_since(events(around.project.store), newest.number):
        return ()
    before, now = int(newest.description["rows"]["known"]), found.known - found.new
    if before == now:
        return ()
    return (
        f"Of the rows with a known label there were {before:,} at the last training, and with times up to then there "
        f"are {now:,} now: rows came late or are gone, or [source] was changed.",
    )


def _not_forgotten(around: Surroundings) -> list[Note]:
    """Say where the live version is older than a removal of rows: the command was killed, or it was rolled back."""
    stands = champion(around.project.store)
    if stands is None:
        return []
    return [
        Note(Code.NOT_FORGOTTEN, {"version": stands.version, "where": where})
        for where in forgotten_since(events(around.project.store), stands.version)
    ]


def as_of(version: Version) -> float:
    """Return the time at which the rows of a version were known."""
    return float(version.description["data"]["as_of_instant"])


def live_model(around: Surroundings) -> Champion | None:
    """Load the champion, every byte checked against its promotion; None before the first."""
    if champion(around.project.store) is None:
        return None
    return Champion.of(around.project.store, load_champion(around.project.store))


def _bracketed(around: Surroundings, times: Times, champion: Champion, turn: Turn) -> Turn:
    """Say what training again would gain, from the rows that came and went since the champion's training alone."""
    found, note = bracket_of(champion, around.recipe, parts_since(around, times, champion), around.threads)
    return replace(turn, bracket=None if found is None else plain(found.to_json()), notes=(*turn.notes, note))


def _finished(around: Surroundings, version: Version, began: float, turn: Turn | None = None) -> Turn:
    """Finish a turn whose version is registered: this one, or without `turn` one that was killed."""
    done = finish(around, version)
    description = version.description
    resumed = () if turn is not None else (Note(Code.EARLIER_RUN_ENDED, {"version": version.number}),)
    return Turn(
        "retrain",
        description["reason"],
        time.perf_counter() - began,
        description["bracket"],
        description["start"],
        version.number,
        description["certificate"],
        description["gate"],
        done.promoted,
        done.asked,
        done.alarms,
        done.rehearsed,
        description["rows"],
        (*all_recorded(description), *resumed, *([recorded(done.note)] if done.note else [])),
    )


def register_candidate(around: Surroundings, times: Times, found: Look, candidate: Candidate, turn: Turn) -> Version:
    """Write a candidate as a new version, with its verdict and all that is known of its rows."""
    store, fit = around.project.store, candidate.fit
    files, notes = version_files(around, fit, candidate.table), (*turn.notes, *candidate.notes)
    description = {
        "created_at": around.at,
        "created_by": around.by,
        "data": {
            "as_of": shown_instant(around.now, times.stamped),
            "as_of_instant": around.now,
            "first": None if found.first is None else shown_instant(found.first, times.stamped),
            "last": None if found.last is None else shown_instant(found.last, times.stamped),
            "rows": fit.rows.to_json(),
            "fingerprint": fingerprint(candidate.table),
            "condition": None if candidate.table.condition is None else str(candidate.table.condition),
            "origin": around.feed.origin,
        },
        "rows": turn.rows,
        "reason": turn.reason,
        "start": turn.start,
        "bracket": turn.bracket,
        "certificate": fit.certificate.to_json(),
        "recipe": fit.recipe.to_json(),
        "evaluation": candidate.evaluation,
        "gate": {**candidate.verdict.to_json(), "state": candidate.verdict.state},
        "judged_against": candidate.judged_against,
        "sample": {"shape": list(files.responses)},
        "notes": list(map(str, notes)),
        "noted": [note.to_json() for note in notes],
        "alarms": [*turn.alarms, *candidate.alarms],
        "forgotten": candidate.forgotten,
    }
    # A number that was given is not given again, though its folder be gone: records speak of it.
    return register(store, plain(description), files.files, beyond=highest_version(events(store)))


def _look_again(around: Surroundings, times: Times, newest: Version, turn: Turn) -> Turn | None:
    """Judge a challenger that waits for evidence by the rows seen since the last look; None if nothing is new."""
    store, gate = around.project.store, around.project.gate
    last, stands = latest_turn_of(events(store), newest.number), champion(store)
    if gate.mode != "anytime" or last is None or stands is None:
        return None
    said = last.content["gate"]
    if said["verdict"] != "not enough evidence" or around.now <= last.content["looked"]:
        return None
    if last.content["judged_against"] != stands.generation:
        return None  # what it waited to be compared with is not live any more
    state, seen = said.get("state"), around.feed.table(times.seen_by(around.now))
    stretch = settled(seen, times, around.now, as_of(newest), None if state is None else state["until"])
    if not stretch.rows:
        return None if stretch.reason is None else replace(turn, notes=(*turn.notes, stretch.reason))
    later = around.feed.table(stretch.condition)
    live, challenger = load_champion(store), load_version(store, newest).model
    verdict = compare(gate, contest(live.stored.model, challenger, later), state)
    judged = plain({**verdict.to_json(), "state": verdict.state})
    done = finish(around, newest, judged)
    again = Note(Code.JUDGED_AGAIN, {"version": newest.number, "rows": stretch.rows})
    notes = (*turn.notes, again, *([recorded(done.note)] if done.note else []))
    looked = replace(turn, version=newest.number, gate=judged, notes=notes)
    return replace(looked, promoted=done.promoted, asked=done.asked, alarms=done.alarms, rehearsed=done.rehearsed)
