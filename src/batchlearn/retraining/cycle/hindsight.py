"""Was the person right? Where someone overruled the gate, rows that were labelled later judge both choices.

That is looked at again with every training, on more and more rows. A test for one look would be wrong more and more
often, so this is the gate's sequential one (`evaluation.paired.sequential_difference`): each look adds the rows that
were seen since the last and have all their labels, and the rate of wrong outcomes holds however often one looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchlearn.artifacts.strict_json import plain
from batchlearn.errors import DataError, IntegrityError, UsageError
from batchlearn.registry.ledger import HINDSIGHT, OUTCOME, OVERRULED, choices, events, record_event
from batchlearn.registry.loading import load_version
from batchlearn.registry.records import Record
from batchlearn.registry.version import read_version
from batchlearn.retraining.cycle.candidate import Surroundings, contest
from batchlearn.retraining.feed.known import Times, settled
from batchlearn.retraining.gate import Gate, Verdict, judge_in_looks

_GATE = Gate("anytime")


def record_outcomes(around: Surroundings, times: Times) -> list[str]:
    """Look again at each override that has no outcome yet; those that later rows decide are recorded and returned.

    The person's choice is tested for superiority over the gate's, on rows that neither was trained on, each of which
    is looked at once. As long as neither is shown to be better there is no outcome. Over all looks together an outcome
    is wrong with a probability of 5 % at most.
    """
    history = events(around.project.store)
    settled = {event.content["about"] for event in history if event.content["kind"] == OUTCOME}
    decided, found = {choice.event for choice in choices(history)}, []
    for event in history:
        said = event.content
        if event.number not in decided or said["answer"] != OVERRULED or event.number in settled:
            continue
        verdict = _looked_again(around, times, said, _latest_look(history, event.number))
        if verdict is None:
            continue
        about = {"about": event.number, "why": _in_words(verdict, said)}
        outcome = _outcome(verdict)
        if outcome is None:
            content = {**about, "looked": around.now, "state": plain(verdict.state)}
            record_event(around.project.store, HINDSIGHT, around.at, content)
        else:
            record_event(around.project.store, OUTCOME, around.at, {**about, "outcome": outcome})
            found.append(outcome)
    return found


def _latest_look(history: Sequence[Record], about: int) -> Mapping[str, Any] | None:
    looks = (one.content for one in reversed(history) if one.content["kind"] == HINDSIGHT)
    return next((look for look in looks if look["about"] == about), None)


def _looked_again(
    around: Surroundings, times: Times, said: Mapping[str, Any], before: Mapping[str, Any] | None
) -> Verdict | None:
    """Compare the version that a person chose with the other one; None where there is nothing new to compare by."""
    chosen, rival = said["chosen"], said["instead_of"]
    known, state = said["as_of"], None if before is None else before["state"]
    since = known if before is None else before["looked"]
    if chosen is None or rival is None or since is None or around.now <= since:
        return None
    store, seen = around.project.store, around.feed.table(times.seen_by(around.now))
    try:
        gates, persons = (load_version(store, read_version(store, number)).model for number in (rival, chosen))
        stretch = settled(seen, times, around.now, known, None if state is None else state["until"])
        later = around.feed.table(stretch.condition)
        both = contest(gates, persons, later) if stretch.rows else None
        if both is None or both.unable is not None:
            return None
        return judge_in_looks(_GATE, *both.losses(), state)
    except (DataError, IntegrityError, UsageError):
        # A version that is damaged or cannot score these rows leaves the question open; the check names the damage.
        return None


def _outcome(verdict: Verdict) -> str | None:
    """Say on which side of 0 the interval lies: two versions that lose the same make nobody right or wrong."""
    if verdict.low is None or verdict.high is None or verdict.low <= 0.0 <= verdict.high:
        return None
    return "right" if verdict.high < 0.0 else "wrong"


def _in_words(verdict: Verdict, said: Mapping[str, Any]) -> str:
    if verdict.difference is None or verdict.low is None or verdict.high is None:
        return f"{verdict.rows:,} rows were labelled since. {verdict.sentence}"
    return (
        f"On {verdict.rows:,} rows labelled since the loss of version {said['chosen']}, which the "
        f"person chose, minus that of version {said['instead_of']}: {verdict.difference:+.4g} "
        f"({100 * (1 - verdict.alpha):g} % interval, however often one looks: {verdict.low:+.4g} to "
        f"{verdict.high:+.4g})."
    )
