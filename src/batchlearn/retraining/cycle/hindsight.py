"""Was the person right? Where someone overruled the gate, rows that were labelled later judge both choices."""

from __future__ import annotations

from typing import Any

from batchlearn.errors import DataError, IntegrityError, UsageError
from batchlearn.registry.ledger import OUTCOME, OVERRULED, REVIEW, events, record_event
from batchlearn.registry.loading import load_version
from batchlearn.registry.version import read_version
from batchlearn.retraining.cycle.candidate import Surroundings, compare
from batchlearn.retraining.feed.known import Times
from batchlearn.retraining.gate import Gate, Verdict

# What the paired test of the person's choice against the gate's says about the person.
_OUTCOMES = {"promote": "right", "reject": "wrong"}


def record_outcomes(around: Surroundings, times: Times) -> list[str]:
    """Judge each override that has no outcome yet; those that later rows decide are recorded and returned.

    The person's choice is tested for superiority over the gate's at 5 %, on rows labelled after the decision. As long
    as neither is shown to be better there is no outcome.
    """
    history = events(around.project.store)
    settled = {event.content["about"] for event in history if event.content["kind"] == OUTCOME}
    found = []
    for event in history:
        said = event.content
        if said["kind"] != REVIEW or said["answer"] != OVERRULED or event.number in settled:
            continue
        verdict = _judged(around, times, said)
        if verdict is None or verdict.verdict not in _OUTCOMES:
            continue
        outcome = _OUTCOMES[verdict.verdict]
        content = {"about": event.number, "outcome": outcome, "why": verdict.sentence}
        record_event(around.project.store, OUTCOME, around.at, content)
        found.append(outcome)
    return found


def _judged(around: Surroundings, times: Times, said: dict[str, Any]) -> Verdict | None:
    """Compare the version that a person chose with the other one; None where there is nothing to compare by."""
    chosen, other, since = said["chosen"], said["instead_of"], said["as_of"]
    if chosen is None or other is None or since is None or around.now <= since:
        return None
    store = around.project.store
    try:
        models = [load_version(store, read_version(store, number)).model for number in (other, chosen)]
        later = around.feed.table(times.known_since(around.now, since))
        return compare(Gate(), models[0], models[1], later)
    except (DataError, IntegrityError, UsageError):
        # A version that is damaged or cannot score these rows leaves the question open; the check names the damage.
        return None
